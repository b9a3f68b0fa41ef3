"""The simulated guest's shell and commands, as they answer over SSH."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import paramiko
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratuslab.local.machines.simulated.simulated_machine import SimulatedMachine
from stratuslab.ssh.user_public_key import make_key_pair
from tests.local.machines.simulated.booted_machine import Booted, disks, specified


class Said(NamedTuple):
    out: str
    err: str
    status: int


class Asked:
    """A machine's client: runs a command and gives what came of it."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self.client = client

    def __call__(self, text: str | bytes, given: bytes = b"") -> Said:
        transport = self.client.get_transport()
        assert transport is not None
        with transport.open_session() as channel:
            channel.settimeout(20)
            channel.exec_command(text)
            with contextlib.suppress(OSError):  # a command may end before it has read everything
                channel.sendall(given)
                channel.shutdown_write()
            out, err = channel.makefile("rb").read(), channel.makefile_stderr("rb").read()
            return Said(out.decode(errors="surrogateescape"), err.decode(errors="surrogateescape"), channel.recv_exit_status())


def started(directory: Path, **changes: object) -> Iterator[Asked]:
    key = make_key_pair(directory / "keys")
    changes = {"authorized_keys": key.read_text(), "addresses": ("127.0.0.1",), **changes}
    machine = SimulatedMachine(specified(directory, **changes), 0)
    client = Booted(machine, directory, key.with_suffix("")).client()
    yield Asked(client)
    client.close()
    machine.halt()


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    yield from started(tmp_path_factory.mktemp("machine"))


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("echo $USER", "root\n"),
        ("echo $USER $HOME $HOSTNAME $?", "root /root one-165 0\n"),
        ("echo '$USER' \"$USER\" \\$USER ${USER}s", "$USER root $USER roots\n"),
        ("echo a  b 'c  d'\"e f\"g ''h", "a b c  de fg h\n"),
        ("echo [$NOPE] $NOPE x '' y", "[] x  y\n"),
        ('echo "a\\"b\\$c\\d" \'it is\' "it\'s"', "a\"b$c\\d it is it's\n"),
        ("echo one; echo two", "one\ntwo\n"),
        ("echo one\n\necho two # a comment\n", "one\ntwo\n"),
        ("false && echo no; true && echo yes; false || echo or", "yes\nor\n"),
        ("false || true && echo both", "both\n"),
        ("false; echo $?; true; echo $?", "1\n0\n"),
        ("echo -n hi", "hi"),
        ("echo a#b; # c", "a#b\n"),
        ("echo a \\\nb", "a b\n"),
        ("echo hello | cat | cat -", "hello\n"),
        ("echo x | true; echo $?", "0\n"),
        ("exit 3 | true; echo still here", "still here\n"),
        ("echo no > /dev/null; echo $?", "0\n"),
        ("echo ~ ~/x '~'", "/root /root/x ~\n"),
        ("/bin/echo a; /usr/bin/whoami; id -un", "a\nroot\nroot\n"),
        ("uname -sm", "Linux x86_64\n"),
        ("hostname; nproc; id -u", "one-165\n2\n0\n"),
        ("cat /etc/hostname; ls /etc", "one-165\nhostname\nos-release\n"),
        ("echo é", "é\n"),
        ("exit", ""),
    ],
)
def test_what_the_shell_does(ask: Asked, text: str, out: str) -> None:
    assert ask(text).out == out


@pytest.mark.parametrize(
    ("text", "status", "err"),
    [
        ("exit 7", 7, ""),
        ("exit 7; echo never", 7, ""),
        ("false; exit", 1, ""),
        ("false", 1, ""),
        ("false | true", 0, ""),
        ("exit abc", 2, "exit: invalid number: abc\n"),
        ("cat /nope", 1, "cat: /nope: No such file or directory\n"),
        ("cat /etc", 1, "cat: /etc: Is a directory\n"),
        ("ls /nope", 1, "ls: /nope: No such file or directory\n"),
        ("echo x > /etc", 1, "echo: /etc: Is a directory\n"),
        ("echo x > /nope/x", 1, "echo: /nope: No such file or directory\n"),
        ("echo 'open", 2, "sh: syntax error: a quote is not closed\n"),
        ("echo a |", 2, "sh: syntax error: a word is missing at the end\n"),
        ("echo a >", 2, "sh: syntax error: a word is missing at the end\n"),
        ("echo a && && b", 2, 'sh: syntax error: unexpected "&&"\n'),
        (" ;", 2, 'sh: syntax error: unexpected ";"\n'),
        ("", 0, ""),
        ("sleep x", 1, "sleep: usage: sleep N[smhd]\n"),
    ],
)
def test_statuses_and_complaints(ask: Asked, text: str, status: int, err: str) -> None:
    ran = ask(text)
    assert (ran.status, ran.err) == (status, err)


@pytest.mark.parametrize(
    "text",
    [
        "apt-get -q update",
        "/opt/nope",
        "rsync --server . x",
        "scp -t /root",
        "for i in 1; do halt; done",
        "if true; then halt; fi",
        "(halt)",
        "echo $((1+1))",
        'echo "$(halt)"',
        "A=b",
        "LANG=C halt",
        "halt 2>/dev/null",
        "halt >&2",
        "true; nope; halt",
        "echo `halt`",
        "echo ${USER:-x}",
        "sleep 1 &",
        "cat <<EOF",
        "cat < /etc/hostname",
        "! true",
    ],
)
def test_everything_else_is_refused_with_one_line(ask: Asked, text: str) -> None:
    ran = ask(text)
    assert (ran.status, ran.out) == (127, "")
    assert ran.err.count("\n") == 1
    assert "this machine is simulated" in ran.err


def test_nothing_is_done_of_what_is_refused(ask: Asked) -> None:
    assert ask("echo done > /root/done; echo $((1))").status == 127
    assert ask("ls").out == ""


def test_options_that_are_not_supported_are_refused(ask: Asked) -> None:
    assert ask("uname -Z") == Said("", "uname: -Z is not supported: this machine is simulated\n", 2)
    assert ask("ip route").status == ask("shutdown -h +5").status == 1


def test_help_names_the_commands(ask: Asked) -> None:
    assert "cat df echo exit false free halt help" in ask("help").out


def test_it_knows_the_instance(tmp_path: Path) -> None:
    addresses = ("127.0.0.1", "127.102.0.9")
    for ask in started(tmp_path, vcpu=4, memory_mib=256, disks=disks(512, 3072), addresses=addresses):
        assert ask("nproc; hostname; whoami; id -u").out == "4\none-165\nroot\n0\n"
        assert [line.split() for line in ask("free -m").out.splitlines()] == [
            ["total", "used", "free", "shared", "buff/cache", "available"],
            ["Mem:", "256", "8", "248", "0", "0", "248"],
            ["Swap:", "512", "0", "512"],
        ]
        assert ask("free").out.splitlines()[1].split()[1] == str(256 * 1024)
        assert [line.split() for line in ask("df -h").out.splitlines()[1:]] == [
            ["/dev/vda", "32.0M", "0.0K", "32.0M", "0%", "/"],
            ["/dev/vdc", "3.0G", "0.0K", "3.0G", "0%", "/mnt"],
        ]
        assert "inet 127.102.0.9/24 scope global eth1" in ask("ip addr").out
        assert 'IMAGE_ID="BN1EEkPiBx87_uLj2-sdybSI-Xb"\n' in ask("cat /etc/os-release").out
        assert " up  0:00,  1 user,  load average: 0.00" in ask("uptime").out
        assert ask("uname -a").out == "Linux one-165 6.1.0-simulated #1 SMP x86_64 GNU/Linux\n"


def test_what_the_instance_has_not(tmp_path: Path) -> None:
    for ask in started(tmp_path, disks=disks(), image='x"; rm $(y)\nz'):
        assert ask("free -m").out.splitlines()[2].split() == ["Swap:", "0", "0", "0"]
        assert len(ask("df").out.splitlines()) == 2
        assert 'IMAGE_ID="x__ rm __y__z"\n' in ask("cat /etc/os-release").out


def test_the_host_name_is_the_one_that_a_real_machine_gets(tmp_path: Path) -> None:
    for ask in started(tmp_path, context={"HOSTNAME": "db", "SET_HOSTNAME": "Web.example.org"}):
        assert ask("hostname; echo $HOSTNAME; uname -n; cat /etc/hostname").out == "web\n" * 4


def test_nothing_of_this_computer_shows(ask: Asked) -> None:
    shown = "".join(
        ask(text).out for text in ("uname -a", "cat /etc/hostname /etc/os-release", "ls -la / /etc", "df", "ip a", "help")
    )
    facts = {socket.gethostname(), platform.release(), platform.version(), os.getcwd()}  # noqa: PTH109
    user = getpass.getuser()
    facts |= set() if user == "root" else {user}
    assert not [fact for fact in facts if len(fact) > 3 and fact in shown]
    assert ask(f"cat {shlex.quote(__file__)}").status == 1


def test_files_are_written_and_listed(ask: Asked) -> None:
    assert ask("echo one > /tmp/x; echo two >> /tmp/x; cat /tmp/x; ls /tmp") == Said("one\ntwo\nx\n", "", 0)
    assert ask("cat > /etc/motd; cat /etc/motd", given=b"hello\n").out == "hello\n"
    assert ask("ls -l /tmp/x").out.startswith("-rw-r--r--   1 0        0               8 ")
    assert ask("ls -a; ls").out == ".ssh\n"
    assert ask("ls /tmp /etc/motd").out == "/tmp:\nx\n/etc/motd\n"
    ask("echo -n > /tmp/x")
    assert ask("cat /tmp/x").out == ""


def test_the_disk_is_bounded(tmp_path: Path) -> None:
    for ask in started(tmp_path):
        ran = ask("cat > /tmp/big", given=bytes(33 << 20))
        assert (ran.status, ran.err) == (1, "cat: /tmp/big: No space left on device\n")
        assert ask("df -m").out.splitlines()[1].split()[1:4] == ["32", "32", "1"]
        assert ask("cat /tmp/big /tmp/big > /tmp/big").status == 0


def test_the_disk_is_no_larger_than_the_memory(tmp_path: Path) -> None:
    for ask in started(tmp_path, memory_mib=16):
        assert ask("cat > /tmp/big", given=bytes(9 << 20)).err == "cat: /tmp/big: No space left on device\n"
        assert ask("df -m").out.splitlines()[1].split()[1:4] == ["8", "8", "1"]


def test_what_is_run_at_once_is_bounded(ask: Asked) -> None:
    for text, why in (
        ("echo " + "a " * 20_000, "the command is too long"),
        ("true;" * 2000, "too many commands"),
        ("cat" + "|cat" * 5000, "too many commands"),
    ):
        ran = ask(text)
        assert (ran.status, ran.err) == (2, f"sh: {why} for a simulated machine\n")


def test_long_pipes_and_lines(ask: Asked) -> None:
    assert ask("echo x" + "|cat" * 99).out == "x\n"
    assert ask("echo " + "a " * 15_000).out == "a " * 14_999 + "a\n"


def test_streams_are_binary(ask: Asked) -> None:
    data = bytes(range(256)) * 300
    assert ask("cat", data).out.encode(errors="surrogateescape") == data
    assert ask("cat > /tmp/data", data).status == 0
    assert ask("cat /tmp/data | cat").out.encode(errors="surrogateescape") == data


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab |&;<>()$`'\"\\{}~*?[]#!=\n2/-é")), max_size=40))
def test_no_text_breaks_the_shell(ask: Asked, text: str) -> None:
    assert 0 <= ask(text).status <= 255


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_any_bytes_are_a_command(ask: Asked, data: bytes) -> None:
    assert (
        ask(b"echo '" + data.replace(b"'", b"") + b"'").out.encode(errors="surrogateescape")
        == data.replace(b"'", b"").replace(b"\0", b"").replace(b"\\\n", b"") + b"\n"
    )
