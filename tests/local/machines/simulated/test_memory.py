"""A simulated machine takes little of this computer's memory, whatever its users and strangers send, and lives on."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko import common

from stratuslab.local.images.initialized_store import open_store
from stratuslab.ssh.user_public_key import make_key_pair
from tests.harness import TTYLINUX, Shell
from tests.local.machines.simulated.booted_machine import Booted

MOST_MB = 64
"""By how much a machine's process may grow: it can hold 32 MB of files."""


class Victim(Booted):
    """A machine in a process of its own, whose memory is measured."""

    def __init__(self, shell: Shell) -> None:
        ran = shell("run", TTYLINUX, "--wait-for", "ssh", "--key", str(shell.home / ".ssh" / "id_ed25519.pub"))
        assert ran.status == 0, ran.err
        with contextlib.closing(open_store(shell.home / "cloud", 0)) as store:
            record = store.instance(1)
        assert record is not None
        self.address, self.port = record.ssh_address, record.ssh_port
        self.private_key = shell.home / ".ssh" / "id_ed25519"
        self.directory = shell.home
        self.process = int((shell.home / "cloud" / "instances" / "1" / "lock").read_text())

    def peak(self) -> int:
        """The most memory that it has used, in MB."""
        status = Path("/proc", str(self.process), "status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) >> 10

    def connection(self) -> socket.socket:
        return socket.create_connection((self.address, self.port), timeout=30)


@pytest.fixture
def victim(shell: Shell) -> Iterator[Victim]:
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not say how much memory a process used")
    for name in ("id_ed25519", "id_ed25519.pub"):
        (shell.home / ".ssh" / name).unlink(missing_ok=True)
    make_key_pair(shell.home / ".ssh")
    try:
        yield Victim(shell)
    finally:
        shell("local_cloud", "reset", "--yes")


def flood(connection: socket.socket, piece: bytes, most: int = 400 << 20) -> None:
    """Send a piece again and again, until the other side hangs up or does not read on."""
    connection.settimeout(2)
    with contextlib.suppress(OSError):
        for _ in range(most // len(piece)):
            connection.sendall(piece)


def endless_greeting(victim: Victim) -> None:
    with victim.connection() as connection:
        flood(connection, b"x" * (1 << 20))


def huge_packet(victim: Victim) -> None:
    with victim.connection() as connection:
        connection.sendall(b"SSH-2.0-attack\r\n" + struct.pack(">I", 0xFFFFFFF4) + b"\4")
        flood(connection, b"x" * (1 << 20))


def no_window(victim: Victim, extended: bool = False) -> None:
    """Input that nobody reads, from a client that ignores how much may be sent."""
    with contextlib.closing(victim.client()) as client:
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session()
        channel.exec_command("sleep 60")
        with contextlib.suppress(Exception):
            for _ in range((300 << 20) // 30000):
                message = paramiko.Message()
                message.add_byte(common.cMSG_CHANNEL_EXTENDED_DATA if extended else common.cMSG_CHANNEL_DATA)
                message.add_int(channel.remote_chanid)
                if extended:
                    message.add_int(1)
                message.add_string(b"x" * 30000)
                transport._send_user_message(message)  # type: ignore[attr-defined]


def errors_nobody_reads(victim: Victim) -> None:
    no_window(victim, extended=True)


def ask(victim: Victim, *commands: str, copies: int = 1) -> None:
    """Run commands in as many sessions as there can be, at once."""

    def several() -> None:
        with contextlib.suppress(Exception), contextlib.closing(victim.client()) as client:
            transport = client.get_transport()
            assert transport is not None
            sessions = []
            for command in commands:
                with contextlib.suppress(paramiko.SSHException):
                    sessions.append(transport.open_session(timeout=10))
                    sessions[-1].exec_command(command)
            for session in sessions:
                session.settimeout(3)
                with contextlib.suppress(OSError):
                    for _ in range(100):
                        session.recv(65536)

    threads = [threading.Thread(target=several) for _ in range(copies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def long_listings(victim: Victim) -> None:
    with contextlib.closing(victim.client()) as client, client.open_sftp() as files:
        for number in range(300):
            files.open(f"/tmp/{number:04}{'x' * 900}", "w").close()
    ask(victim, "ls " + "/tmp " * 30000)


def many_commands(victim: Victim) -> None:
    ask(victim, *["sleep 5;" + "true;" * 50000] * 10, copies=10)


def many_words(victim: Victim) -> None:
    ask(victim, *["sleep 5 || echo " + "x " * 120000] * 10, copies=10)


def copies_of_a_file(victim: Victim) -> None:
    with (
        contextlib.closing(victim.client()) as client,
        contextlib.suppress(OSError),
        client.open_sftp().open("/tmp/a", "w") as file,
    ):
        for _ in range(40):
            file.write(b"x" * (1 << 20))
    ask(victim, "cat /tmp/a /tmp/a /tmp/a | cat | cat > /tmp/b", *["cat /tmp/a | cat | cat"] * 9, copies=5)


def open_folders(victim: Victim) -> None:
    with contextlib.closing(victim.client()) as client, contextlib.suppress(OSError), client.open_sftp() as files:
        for number in range(4000):
            files.open(f"/tmp/{number}", "w").close()
        for _ in range(200):
            message = paramiko.Message()
            message.add_int(_)
            message.add_string("/tmp")
            files._send_packet(11, message)  # type: ignore[attr-defined]
        for _ in range(200):
            files._read_packet()  # type: ignore[attr-defined]


ATTACKS = (
    *(endless_greeting, huge_packet, no_window, errors_nobody_reads),
    *(long_listings, many_commands, many_words, copies_of_a_file, open_folders),
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_memory_is_bounded(victim: Victim, attack: Callable[[Victim], None]) -> None:
    before = victim.peak()
    attack(victim)
    grown = victim.peak() - before
    assert grown < MOST_MB
    assert victim.ssh("echo lives").stdout == b"lives\n"
