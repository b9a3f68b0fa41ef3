"""The simulated hypervisor's machines over SSH: with the system's OpenSSH on a terminal, and with paramiko."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import paramiko
import pexpect
import pytest
from paramiko.common import DEFAULT_WINDOW_SIZE

from stratuslab.local.machines.driver import MachineError
from stratuslab.local.machines.simulated import simulated_machine, ssh_server
from stratuslab.local.machines.simulated.ssh_server import authorized
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.ssh.user_public_key import make_key_pair
from tests.harness import eventually
from tests.local.machines.simulated.booted_machine import Booted, needs_openssh


def bindable(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


needs_loopback_net = pytest.mark.skipif(not bindable("127.77.0.1"), reason="the system has no address but 127.0.0.1")


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


# Where it listens


@needs_loopback_net
def test_the_ssh_server_is_on_the_own_address(boot: Callable[..., Booted]) -> None:
    port = free_port("127.77.0.1")
    booted = boot(port, addresses=("127.77.0.1", "127.77.0.2"))
    assert (booted.address, booted.port) == ("127.77.0.1", port)
    with socket.create_connection((booted.address, booted.port), 5) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")


@needs_loopback_net
def test_a_port_that_is_taken_is_left_to_its_owner(boot: Callable[..., Booted]) -> None:
    with socket.create_server(("127.77.0.3", 0)) as owner:
        booted = boot(owner.getsockname()[1], addresses=("127.77.0.3",))
        assert booted.address == "127.0.0.1"
        assert booted.port not in (0, owner.getsockname()[1])
        booted.client().close()


def test_an_address_that_the_system_has_not(boot: Callable[..., Booted]) -> None:
    # TEST-NET-1 is no computer's.
    booted = boot(22, addresses=("192.0.2.1",))
    assert booted.address == "127.0.0.1"
    booted.client().close()


def test_port_22_where_it_may_be_bound(boot: Callable[..., Booted]) -> None:
    booted = boot(SSH_PORT, addresses=("127.77.0.4",))
    assert (booted.address, booted.port) == ("127.77.0.4", 22) or booted.address == "127.0.0.1"
    booted.client().close()


# Who gets in


def test_only_root_with_the_key(booted: Booted) -> None:
    booted.client().close()
    with pytest.raises(paramiko.AuthenticationException):
        booted.client(user="alice")
    with pytest.raises(paramiko.AuthenticationException):
        booted.client(key=paramiko.ECDSAKey.generate())
    transport = paramiko.Transport((booted.address, booted.port))
    transport.start_client(timeout=10)
    with pytest.raises(paramiko.BadAuthenticationType) as refused:
        transport.auth_password("root", "root")
    assert refused.value.allowed_types == ["publickey"]
    transport.close()


@needs_openssh
def test_openssh_is_refused_with_another_key(booted: Booted, tmp_path: Path) -> None:
    make_key_pair(tmp_path / "other")
    booted.private_key = tmp_path / "other" / "id_ed25519"
    refused = booted.ssh("true")
    assert refused.returncode == 255
    assert b"Permission denied (publickey)" in refused.stderr


def test_every_kind_of_key_and_line(boot: Callable[..., Booted]) -> None:
    rsa, ecdsa = paramiko.RSAKey.generate(2048), paramiko.ECDSAKey.generate(bits=384)
    lines = [
        "# a comment",
        "garbage",
        "ssh-ed25519 notbase64!",
        "ssh-ed25519",
        'command="echo \\"x y\\"",no-pty ssh-rsa ' + rsa.get_base64() + " a comment with ssh-ed25519 in it",
        "",
        f"  ecdsa-sha2-nistp384\t{ecdsa.get_base64()}",
        "\x00\xff binary",
    ]
    booted = boot(authorized_keys="\r\n".join(lines))
    booted.client(rsa).close()
    booted.client(ecdsa).close()


def test_keys_that_are_none() -> None:
    key = paramiko.ECDSAKey.generate()
    line = f"{key.get_name()} {key.get_base64()}"
    assert authorized(line) == {key.asbytes()}
    assert authorized(f"{line} me\n{line}\n") == {key.asbytes()}
    for text in (f"#{line}", f"cert-authority {line}", f"ssh-rsa {key.get_base64()}", "ssh-dss AAAAB3NzaC1kc3M=", "", "a b c"):
        assert authorized(text) == frozenset()


def test_without_a_key_nobody_gets_in(boot: Callable[..., Booted]) -> None:
    booted = boot(authorized_keys="")
    with pytest.raises(paramiko.AuthenticationException):
        booted.client()
    assert "nobody can log in" in (booted.directory / "console.log").read_text()


class StrangeKey(paramiko.PKey):
    """A key of a type that the server's library does not know, as on a FIDO token."""

    name = "sk-ssh-ed25519@openssh.com"
    public_blob = None

    def get_name(self) -> str:
        return self.name

    def asbytes(self) -> bytes:
        return len(self.name).to_bytes(4, "big") + self.name.encode()

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        message = paramiko.Message()
        message.add_string(self.name)
        message.add_string(b"signature")
        return message


def test_a_strange_key_is_refused_and_the_next_one_tried(booted: Booted) -> None:
    transport = paramiko.Transport((booted.address, booted.port))
    transport.start_client(timeout=10)
    with pytest.raises(paramiko.AuthenticationException):
        transport.auth_publickey("root", StrangeKey())
    transport.auth_publickey("root", paramiko.Ed25519Key.from_private_key_file(str(booted.private_key)))
    assert transport.is_authenticated()
    transport.close()


@pytest.mark.parametrize(("kind", "algorithm"), [("ciphers", "aes128-cbc"), ("digests", "hmac-sha1"), ("digests", "hmac-md5")])
def test_weak_algorithms_are_not_offered(booted: Booted, kind: str, algorithm: str) -> None:
    transport = paramiko.Transport((booted.address, booted.port))
    options = transport.get_security_options()
    try:
        setattr(options, kind, (algorithm,))
    except ValueError:
        pytest.skip(f"this paramiko has no {algorithm} to offer")
    with pytest.raises(paramiko.SSHException):
        transport.start_client(timeout=10)
    transport.close()


# Commands


@needs_openssh
@pytest.mark.parametrize(
    ("command", "given", "status", "out", "err"),
    [
        ("uname; exit 3", b"", 3, b"Linux\n", b""),
        ("nope", b"", 127, b"", b"sh: nope: not found: this machine is simulated (help lists its commands)\n"),
        ("echo out; cat err", b"", 1, b"out\n", b"cat: err: No such file or directory\n"),
        ("cat | cat", b"\x00\r\n\x03\x04", 0, b"\x00\r\n\x03\x04", b""),
    ],
)
def test_commands(booted: Booted, command: str, given: bytes, status: int, out: bytes, err: bytes) -> None:
    ran = booted.ssh(command, given=given)
    assert (ran.returncode, ran.stdout) == (status, out)
    assert ran.stderr.replace(b"\r", b"").endswith(err)


@needs_openssh
def test_a_shell_without_a_terminal_reads_commands(booted: Booted) -> None:
    ran = booted.ssh(given=b"echo $USER\nexit 9\necho never\n")
    assert (ran.returncode, ran.stdout) == (9, b"root\n")
    ran = booted.ssh(given=b"cat\nthe rest is cat's")
    assert (ran.returncode, ran.stdout) == (0, b"the rest is cat's")


@needs_openssh
def test_twenty_megabytes_there_and_back(booted: Booted) -> None:
    data = os.urandom(20 * 1024 * 1024)
    ran = booted.ssh("cat", given=data)
    assert hashlib.sha256(ran.stdout).digest() == hashlib.sha256(data).digest()
    assert ran.returncode == 0


def test_a_client_that_does_not_read_is_waited_for(booted: Booted) -> None:
    client = booted.client()
    client.open_sftp().open("big", "w").write(bytes(20_000_000))
    _, out, _ = client.exec_command("cat big; echo end")
    # No more than the window is under way until it reads.
    eventually(out.channel.recv_ready)
    assert len(out.channel.in_buffer) <= DEFAULT_WINDOW_SIZE
    data = out.read()
    assert (len(data), data[-4:]) == (20_000_004, b"end\n")
    assert out.channel.recv_exit_status() == 0
    client.close()


@needs_openssh
def test_a_reader_that_stops_ends_the_command(booted: Booted) -> None:
    with (
        Path("/dev/zero").open("rb") as zeros,
        subprocess.Popen(booted.command("cat"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=zeros) as ssh,
    ):
        assert ssh.stdout is not None
        assert ssh.stdout.read(2) == b"\0\0"
        ssh.stdout.close()
        assert ssh.wait(10) == 255


@needs_openssh
def test_a_reader_that_stops_after_it_has_read_nothing_ends_the_command(booted: Booted) -> None:
    with (
        Path("/dev/zero").open("rb") as zeros,
        subprocess.Popen(booted.command("cat"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=zeros) as ssh,
    ):
        assert ssh.stdout is not None
        eventually(lambda: any(vars(streams)["channel"].out_window_size == 0 for streams in set(booted.machine._guest.sessions)))
        ssh.stdout.close()
        assert ssh.wait(10) == 255
    eventually(lambda: not booted.machine._guest.sessions)


def test_quick_commands_never_outrun_their_answer(booted: Booted) -> None:
    client = booted.client()
    for number in range(20):
        _, out, _ = client.exec_command(f"exit {number}")
        assert out.channel.recv_exit_status() == number
    client.close()


def test_sessions_side_by_side(booted: Booted) -> None:
    client = booted.client()
    channels = [client.get_transport().open_session() for _ in range(ssh_server.MAX_SESSIONS - 1)]  # type: ignore[union-attr]
    for channel in reversed(channels):
        channel.exec_command("cat")
    other = booted.client()
    given, out, _ = other.exec_command("echo > /tmp/there; uptime; cat")
    assert f"{ssh_server.MAX_SESSIONS} users" in out.readline()
    with pytest.raises(paramiko.ChannelException):
        client.get_transport().open_session()  # type: ignore[union-attr]
    given.close()
    for number, channel in enumerate(channels):
        channel.sendall(b"%d" % number)
        channel.shutdown_write()
    assert [channel.recv(10) for channel in channels] == [b"%d" % number for number in range(len(channels))]
    assert [channel.recv_exit_status() for channel in channels] == [0] * len(channels)
    _, out, _ = client.exec_command("ls /tmp")
    assert out.read() == b"there\n"
    client.close()
    other.close()


def test_channels_that_are_not_used_are_bounded(booted: Booted) -> None:
    client = booted.client()
    transport = client.get_transport()
    assert transport is not None
    opened = [transport.open_session() for _ in range(ssh_server.MAX_SESSIONS)]
    with pytest.raises(paramiko.ChannelException):
        transport.open_session()
    opened.pop().close()
    opened[0].exec_command("exit 3")
    assert opened[0].recv_exit_status() == 3
    client.close()


def test_nothing_but_sessions(booted: Booted) -> None:
    client = booted.client()
    transport = client.get_transport()
    assert transport is not None
    with pytest.raises(paramiko.ChannelException):
        transport.open_channel("direct-tcpip", ("127.0.0.1", booted.port), ("127.0.0.1", 1))
    with pytest.raises(paramiko.SSHException):
        transport.request_port_forward("", 0)
    with pytest.raises(paramiko.SSHException):
        transport.open_session().invoke_subsystem("netconf")
    with pytest.raises(paramiko.SSHException):
        transport.open_session().request_x11()
    client.close()


# Clients that misbehave


def test_clients_that_drop_leave_nothing(booted: Booted) -> None:
    for command in ("cat", "sleep 1000", "sleep 1000 | cat", "cat | cat > /dev/null"):
        client = booted.client()
        client.exec_command(command)
        transport = client.get_transport()
        assert transport is not None
        transport.sock.close()
        client.close()
    eventually(lambda: not booted.machine._guest.sessions)
    booted.client().close()


def test_a_crowd_of_silent_clients_keeps_nobody_out(booted: Booted) -> None:
    silent = [socket.create_connection((booted.address, booted.port), 5) for _ in range(ssh_server.MAX_LOGGING_IN + 5)]
    booted.client().close()
    for connection in silent:
        connection.close()


def test_silence_has_a_limit(boot: Callable[..., Booted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_server, "LOGIN_SECONDS", 0.2)
    booted = boot()
    with socket.create_connection((booted.address, booted.port), 5) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")
        assert connection.recv(100) == b""


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 5000, b"SSH-2.0-x\r\n" + b"\xff" * 100, b"SSH-1.5-old\r\n"]
)
def test_nonsense(booted: Booted, nonsense: bytes) -> None:
    with socket.create_connection((booted.address, booted.port), 5) as connection:
        connection.sendall(nonsense)
    booted.client().close()


# A person at a terminal


@needs_openssh
def test_the_guides_session(booted: Booted) -> None:
    child = booted.terminal()
    child.sendline("echo $USER")
    child.expect_exact("echo $USER\r\nroot\r\n# ")
    child.sendline("shutdown -h")
    child.expect(pexpect.EOF)
    child.close()
    closed = f"Connection to {booted.address} closed"
    assert child.before.replace("\r", "") == f"shutdown -h\n# \n{closed} by remote host.\n{closed}.\n"
    assert child.exitstatus == 255
    assert booted.machine.wait(5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((booted.address, booted.port), 5)


@pytest.mark.parametrize(
    ("keys", "shown", "out"),
    [
        (b"ecko\x7f\x7fho hi", "ecko\b \b\b \bho hi", "hi"),
        (b"\x7f\x08echo x", "echo x", "x"),
        (b"wrong\x15echo y", "wrong" + "\b \b" * 5 + "echo y", "y"),
        (b"echo a\x1b[Db\x1bOAc\x1b[1;5Cd\x1b[200~e", "echo abcde", "abcde"),
        ("echo äö\x7fü".encode(), "echo äö\b \bü", "äü"),
        (b"echo a\tb\x04c\x00", "echo abc", "abc"),
        (b"false\x03echo $?", "false^C\r\n# echo $?", "130"),
        (b"cat\rtwice\r\x04echo b", "cat\r\ntwice\r\ntwice\r\n\r\n# echo b", "b"),
    ],
)
def test_typing(booted: Booted, keys: bytes, shown: str, out: str) -> None:
    client = booted.client()
    channel = client.invoke_shell()
    channel.sendall(keys)
    channel.sendall(b"\rexit 3\r")
    assert channel.makefile("rb").read().decode() == f"# {shown}\r\n{out}\r\n# exit 3\r\n"
    assert channel.recv_exit_status() == 3
    client.close()


def test_what_is_typed_ahead_is_kept_and_a_line_has_an_end(booted: Booted) -> None:
    client = booted.client()
    channel = client.invoke_shell()
    channel.sendall(b"sleep 0.1\recho " + b"x" * 20_000 + b"\r\x04")
    assert channel.makefile("rb").read().decode().count("x") == 2 * (16 * 1024 - len("echo "))
    client.close()


@needs_openssh
def test_leaving_is_clean(booted: Booted) -> None:
    child = booted.terminal()
    child.sendline("exit 7")
    child.expect(pexpect.EOF)
    child.close()
    assert child.before.replace("\r", "") == f"exit 7\nConnection to {booted.address} closed.\n"
    assert child.exitstatus == 7
    child = booted.terminal()
    child.sendline("false")
    child.expect_exact("# ")
    child.send("\x04")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1


@needs_openssh
def test_interrupting(booted: Booted) -> None:
    child = booted.terminal()
    for command in ("sleep 1000", "cat", "cat | cat", "cat > /tmp/x"):
        child.sendline(command)
        child.expect_exact(command)
        child.send("\x03")
        child.expect_exact("^C\r\n# ")
        child.sendline("echo status $?")
        child.expect_exact("status 130\r\n# ")
    child.sendline("exit")
    child.expect(pexpect.EOF)


@needs_openssh
def test_the_window_changes(booted: Booted) -> None:
    child = booted.terminal()
    child.sendline("stty size")
    child.expect_exact("\r\n24 80\r\n# ")
    child.setwinsize(40, 120)
    child.sendline("stty size")
    while child.expect_exact(["\r\n40 120\r\n# ", "\r\n24 80\r\n# "]):  # until it has heard
        child.sendline("stty size")
    child.sendline("exit")
    child.expect(pexpect.EOF)


@needs_openssh
def test_a_command_with_a_terminal(booted: Booted) -> None:
    program, *words = booted.command("echo a; cat; exit 4")
    child = pexpect.spawn(program, ["-tt", *words], encoding="utf-8", timeout=10)
    child.expect_exact("a\r\n")
    child.sendline("word")
    child.expect_exact("word\r\nword\r\n")
    child.send("\x04")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4


# Power


@needs_openssh
def test_shutdown_as_a_command_has_a_status(booted: Booted) -> None:
    ran = booted.ssh("shutdown -h now")
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert booted.machine.wait(5)


def test_the_power_button(booted: Booted) -> None:
    assert not booted.machine.wait(0)
    client = booted.client()
    booted.machine.halt()
    booted.machine.halt()
    assert booted.machine.wait(5)
    transport = client.get_transport()
    assert transport is not None
    eventually(lambda: not transport.is_active())


def test_a_reboot_keeps_address_key_and_files(booted: Booted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_machine, "REBOOT_SECONDS", 0.05)
    client = booted.client()
    transport = client.get_transport()
    assert transport is not None
    before = transport.get_remote_server_key()
    _, out, _ = client.exec_command("echo kept > /root/kept; reboot")
    assert out.channel.recv_exit_status() == 0
    eventually(lambda: not transport.is_active())
    again = booted.client()
    after = again.get_transport()
    assert after is not None
    assert after.get_remote_server_key() == before
    _, out, _ = again.exec_command("cat kept")
    assert out.read() == b"kept\n"
    assert not booted.machine.wait(0)
    again.close()


# What it keeps, and what it says of itself


def test_a_restart_keeps_the_host_key(boot: Callable[..., Booted]) -> None:
    first = boot()
    key = first.directory / "ssh_host_ed25519_key"
    text = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    second = boot()
    assert second.directory == first.directory
    assert key.read_bytes() == text


def test_a_key_file_that_is_broken(boot: Callable[..., Booted], tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine" / "ssh_host_ed25519_key").write_text("broken")
    with pytest.raises(MachineError, match=r"cannot read the host key"):
        boot()


def test_the_console(booted: Booted) -> None:
    console = booted.directory / "console.log"
    lines = [line.partition(" ")[2] for line in console.read_text().splitlines()]
    client = booted.client()
    transport = client.get_transport()
    assert transport is not None
    assert lines == [
        "simulated machine one-165, image BN1EEkPiBx87_uLj2-sdybSI-Xb: no disk boots",
        "2 CPU, 128 MiB RAM, 1024 MiB swap",
        f"host key {transport.get_remote_server_key().fingerprint} (ED25519)",
        f"SSH server on 127.0.0.1 port {booted.port}",
        "login ready",
    ]
    assert console.stat().st_mode & 0o777 == 0o600
    client.close()


def test_usage(booted: Booted) -> None:
    before, _ = booted.machine.usage()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    seconds, memory = booted.machine.usage()
    assert seconds - before >= 0.05
    assert memory == 128 * 1024
