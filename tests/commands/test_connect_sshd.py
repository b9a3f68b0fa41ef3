"""stratus-connect-instance and a real OpenSSH server: what users meet on the machines of a cloud."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.ssh.user_public_key import make_key_pair
from tests.commands.conftest import Machine
from tests.fakes import sshd
from tests.harness import TTYLINUX

FIRST_CONTACT = re.compile(r"Warning: Permanently added .* to the list of known hosts\.\n")
SCRIPT = "stratus-connect-instance"
HUNDRED_MEGABYTES = 100_000_000

pytestmark = pytest.mark.skipif(bool(sshd.why_not()), reason=sshd.why_not() or "there is one")
with_terminals = pytest.mark.skipif(bool(sshd.why_no_terminal()), reason=sshd.why_no_terminal() or "there are some")
clients = pytest.mark.parametrize(
    "client",
    [pytest.param("openssh", marks=pytest.mark.skipif(shutil.which("ssh") is None, reason="this system has no ssh")), "paramiko"],
)


@clients
def test_a_command_with_its_streams_and_its_status(machine: Machine, client: str) -> None:
    options = machine.options(client)
    ran = machine.shell.script(SCRIPT, *options, "worker", "--", "echo out; echo err >&2; exit 42")
    assert (ran.status, ran.out, FIRST_CONTACT.sub("", ran.err)) == (42, "out\n", "err\n")
    assert machine.shell.script(SCRIPT, *options, "1", "--", "cat", stdin="a\n\nb").out == "a\n\nb"
    assert machine.known_hosts().count("\n") == 1
    assert not (machine.shell.home / ".ssh" / "known_hosts").exists()


@clients
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["echo", "'a  b'", '"$((6*7))"'], "a  b 42\n"),
        (["printf '%s|' one 'two\nthree'"], "one|two\nthree|"),
        (["echo", "Žluťoučký", "kůň"], "Žluťoučký kůň\n"),
        (["echo", "a;", "echo", "b\necho c"], "a\nb\nc\n"),
        (["echo", "-v", "--print"], "-v --print\n"),
    ],
)
def test_words_arrive_as_the_remote_shell_reads_them(machine: Machine, client: str, words: list[str], said: str) -> None:
    ran = machine.shell.script(SCRIPT, *machine.options(client), "1", "--", *words)
    assert (ran.status, ran.out, FIRST_CONTACT.sub("", ran.err)) == (0, said, "")


def checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@clients
def test_a_hundred_megabytes_both_ways(machine: Machine, client: str, tmp_path: Path) -> None:
    given, arrived, back = (tmp_path / name for name in ("given", "arrived", "back"))
    block = hashlib.sha512(b"seed").digest() * 15625
    with given.open("wb") as file:
        for _ in range(HUNDRED_MEGABYTES // len(block)):
            file.write(block)
    with given.open("rb") as stdin, back.open("wb") as stdout:
        argv = machine.argv(*machine.options(client), "1", "--", f"tee '{arrived}'")
        done = subprocess.run(argv, stdin=stdin, stdout=stdout, env=machine.environment(), timeout=110, check=False)
    assert done.returncode == 0
    assert back.stat().st_size == HUNDRED_MEGABYTES
    assert checksum(given) == checksum(arrived) == checksum(back)


@with_terminals
@clients
def test_a_session_at_a_terminal(machine: Machine, client: str) -> None:
    person = machine.person(*machine.options(client), "1")
    person.expect("[#$] ")
    person.sendline("stty size; PS1='ready''> '")
    person.expect("31 97\r\n")
    person.expect("ready> ")
    person.setwinsize(40, 120)
    person.sendline("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.05; done; echo size $(stty size)")
    person.expect("size 40 120\r\n")
    person.expect("ready> ")
    person.sendline("sh -c 'trap \"echo caught; exit\" INT; echo wai''ting; while :; do sleep 0.1; done'")
    person.expect("waiting\r\n")
    person.sendintr()
    person.expect("caught\r\n")
    person.expect("ready> ")
    person.sendline("exit 5")
    person.expect("status 5\r\nsame\r\n")


@with_terminals
@clients
def test_the_machine_is_killed_during_the_session(machine: Machine, client: str) -> None:
    person = machine.person(*machine.options(client), "1")
    person.expect("[#$] ")
    person.sendline("kill -9 $PPID")
    person.expect("closed by (the )?remote host|[Bb]roken pipe|closed")
    person.expect("status 255\r\nsame\r\n")


@clients
def test_another_host_key_is_refused_until_it_is_forgotten(machine: Machine, client: str) -> None:
    options = machine.options(client)
    assert machine.shell.script(SCRIPT, *options, "1", "--", "true").status == 0
    for kind in ("ed25519", "ecdsa"):
        before = machine.known_hosts()
        machine.server.start(kind)
        refused = machine.shell.script(SCRIPT, *options, "1", "--", "echo in")
        assert (refused.status, refused.out) == (ExitStatus.SSH, "")
        assert refused.err.count("\n") == 1
        assert "host key has changed" in refused.err
        assert "--forget-host-key" in refused.err
        assert machine.known_hosts() == before
        accepted = machine.shell.script(SCRIPT, *options, "--forget-host-key", "1", "--", "echo in")
        assert (accepted.status, accepted.out) == (0, "in\n")
        assert machine.shell.script(SCRIPT, *options, "1", "--", "echo in").out == "in\n"


@clients
def test_a_reused_address_is_no_alarm(machine: Machine, client: str) -> None:
    options = machine.options(client)
    assert machine.shell.script(SCRIPT, *options, "1", "--", "true").status == 0
    assert machine.shell("kill", "1").status == 0
    assert machine.known_hosts() == ""
    machine.server.start()
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    ran = machine.shell.script(SCRIPT, *options, "2", "--", "echo in")
    assert (ran.status, ran.out) == (0, "in\n")


@clients
def test_through_a_jump_host(machine: Machine, client: str) -> None:
    """The server is both: the jump host, and the machine behind it."""
    assert machine.shell.script(SCRIPT, *machine.options(client), "1", "--", "true").status == 0
    key = machine.shell.home / ".ssh" / "id_ed25519"
    jump = f"{machine.server.user}@127.0.0.1:{machine.server.port}"
    # What ssh asks about a jump host goes by its own configuration, which -F names for the way there, too.
    configuration = machine.shell.home / "jump_config"
    configuration.write_text(
        f"IdentityFile {key}\nUserKnownHostsFile {machine.shell.home}/jump_hosts\nStrictHostKeyChecking accept-new\n"
    )
    handed_on = ["--ssh-option=-F", f"--ssh-option={configuration}"] if client == "openssh" else []
    options = [*machine.options(client), "-J", jump, *handed_on]
    ran = machine.shell.script(SCRIPT, *options, "--timeout", "20", "1", "--", "echo in")
    assert (ran.status, ran.out) == (0, "in\n"), ran.err
    away = [*options, "--address", "127.0.0.1", "-p", "1", "--timeout", "1"]
    failed = machine.shell.script(SCRIPT, *away, "1", "--", "echo in")
    assert (failed.status, failed.out) == (ExitStatus.TIMED_OUT, "")
    assert "127.0.0.1" in failed.err


@clients
def test_several_instances_side_by_side(machine: Machine, client: str) -> None:
    assert machine.shell("run", "-n", "2", TTYLINUX).status == 0
    for number in (2, 3):
        machine.stage.runs(number)
        machine.stage.engine.machine_listens(number, "127.0.0.1", machine.server.port)
    options = machine.options(client)
    ran = machine.shell.script(SCRIPT, *options, "1", "2", "3", "--", "echo one; printf two; echo err >&2")
    assert ran.status == 0
    assert sorted(ran.out.splitlines()) == sorted(f"{number}: {word}" for number in (1, 2, 3) for word in ("one", "two"))
    assert sorted(ran.err.splitlines()) == ["1: err", "2: err", "3: err", f"{SCRIPT}: done on 3 machines"]

    machine.stage.halts(2)
    ran = machine.shell.script(SCRIPT, *options, "--parallel", "1", "3", "2", "worker", "99", "--", "exit 3")
    assert ran.status == ExitStatus.FAILED
    ran = machine.shell.script(SCRIPT, *options, "1", "2", "3", "--", "true")
    assert (ran.status, ran.out) == (ExitStatus.PARTIAL, "")
    first, last = ran.err.splitlines()
    assert first.startswith(f"{SCRIPT}: machine 2 is no longer seen by")
    assert last == f"{SCRIPT}: failed on 1 of 3 machines"
    ran = machine.shell.script(SCRIPT, *options, "1", "3", "--", "exit 3")
    assert (ran.status, ran.err.count("the command exited with status 3")) == (3, 2)


@clients
def test_lines_of_several_are_whole(machine: Machine, client: str) -> None:
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    numbered = "i=0; while [ $i -lt 300 ]; do printf aaaa; printf 'bbbb%d\\n' $i; i=$((i+1)); done"
    command = f"{numbered}; head -c 200000 /dev/zero | tr '\\0' x"
    ran = machine.shell.script(SCRIPT, *machine.options(client), "1", "2", "--", command)
    assert ran.status == 0
    for number in (1, 2):
        lines = [line.removeprefix(f"{number}: ") for line in ran.out.splitlines() if line.startswith(f"{number}: ")]
        assert lines[:300] == [f"aaaabbbb{i}" for i in range(300)]
        assert "".join(lines[300:]) == "x" * 200000
    assert all(line[:3] in ("1: ", "2: ") for line in ran.out.splitlines())


@clients
def test_a_reader_of_several_that_stops(machine: Machine, client: str) -> None:
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    argv = machine.argv(*machine.options(client), "1", "2", "--", "while :; do echo y; sleep 0.05; done")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=machine.environment())
    assert process.stdout is not None
    assert process.stdout.readline() in (b"1: y\n", b"2: y\n")
    process.stdout.close()
    assert process.wait(20) == ExitStatus.BROKEN_PIPE
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""


@clients
def test_ctrl_c_while_several_run(machine: Machine, client: str) -> None:
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    person = machine.person(*machine.options(client), "1", "2", "--", "'echo ready; sleep 60'")
    for _ in range(2):
        person.expect("[12]: ready")
    began = time.monotonic()
    person.sendintr()
    person.expect("interrupted\r\nstatus 130\r\nsame\r\n")
    assert time.monotonic() - began < 10


def test_ctrl_c_ends_a_command(machine: Machine) -> None:
    person = machine.person(*machine.options("paramiko"), "1", "--", "'echo ready; sleep 60'")
    person.expect("ready")
    person.sendintr()
    person.expect("status 130\r\nsame\r\n")


def test_ssh_config_serves_other_programs(machine: Machine) -> None:
    ran = machine.shell("connect", "-l", machine.server.user, "--ssh-config")
    assert ran.status == 0
    assert ran.out.startswith("Host stratus-1 worker\n    HostName localhost\n")
    file = machine.shell.home / "config"
    file.write_text(ran.out)
    (machine.shell.home / ".stratuslab").mkdir(exist_ok=True)
    if shutil.which("scp") is None:
        pytest.skip("this system has no scp")
    for name in ("worker", "stratus-1"):
        copied = machine.shell.home / f"copy-{name}"
        argv = ["scp", "-q", "-F", str(file), f"{name}:{file}", str(copied)]
        subprocess.run(argv, check=True, timeout=20, env=machine.environment(), stdin=subprocess.DEVNULL)
        assert copied.read_text() == ran.out
    assert len({line.split()[0] for line in machine.known_hosts().splitlines()}) == 1


def test_print_is_a_line_of_shell(machine: Machine) -> None:
    line = machine.shell("connect", "-l", machine.server.user, "--print", "1", "--", "echo", "'it is'", "$((6*7))").out
    assert line.count("\n") == 1
    (machine.shell.home / ".stratuslab").mkdir(exist_ok=True)
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, timeout=20, env=machine.environment(), check=False
    )
    assert (done.returncode, done.stdout) == (0, "it is 42\n")


def test_words_for_ssh(machine: Machine) -> None:
    handed_on = ["--ssh-option", "-o", "SendEnv=STRANGE", "-v"]
    ran = machine.shell.script(SCRIPT, *machine.options("openssh"), "1", *handed_on, "--", "echo in")
    assert (ran.status, ran.out) == (0, "in\n")
    assert "debug1: " in ran.err
    both = ["--ssh-option", "-A", "--ssh-option", "-o", "LogLevel=ERROR"]
    shown = machine.shell("connect", *machine.options("openssh"), "1", "--print", *both).out
    assert shown.split()[1:4] == ["-A", "-o", "LogLevel=ERROR"]
    with_equals = ["--ssh-option=-A", "--ssh-option=-C", "1", "--print"]
    assert machine.shell("connect", *machine.options("openssh"), *with_equals).out.split()[1:3] == ["-A", "-C"]
    refused = machine.shell("connect", "--ssh-client", "paramiko", "1", "--ssh-option", "-A")
    assert (refused.status, "--ssh-option" in refused.err) == (ExitStatus.USAGE, True)


@clients
def test_a_passphrase_is_asked_for_at_a_terminal(machine: Machine, client: str) -> None:
    assert sshd.KEYGEN is not None
    key = machine.shell.home / ".ssh" / "id_ed25519"
    subprocess.run(
        [sshd.KEYGEN, "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(key)], check=True, stdout=subprocess.DEVNULL
    )
    for given in ([], ["-k", str(key)]):
        person = machine.person(*machine.options(client), *given, "1", "--", "'echo in''side'")
        person.expect("[Pp]assphrase .*: ")
        person.sendline("open sesame")
        person.expect("inside\r\n")
        person.expect("status 0\r\nsame\r\n")
    person.close(force=True)

    argv = machine.argv(*machine.options(client), "-k", str(key), "1", "--", "true")
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=machine.environment(),
        start_new_session=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitStatus.USAGE
    assert f"{key} is protected by a passphrase, and there is no terminal to ask for it" in done.stderr
    assert done.stderr.count("\n") == 1


@clients
def test_ctrl_c_at_the_passphrase(machine: Machine, client: str) -> None:
    assert sshd.KEYGEN is not None
    key = machine.shell.home / ".ssh" / "id_ed25519"
    subprocess.run(
        [sshd.KEYGEN, "-q", "-p", "-P", "", "-N", "open sesame", "-f", str(key)], check=True, stdout=subprocess.DEVNULL
    )
    person = machine.person(*machine.options(client), "1")
    person.expect("[Pp]assphrase .*: ")
    person.sendintr()
    person.expect("status 130\r\nsame\r\n")


@clients
def test_wrong_key(machine: Machine, client: str) -> None:
    other = make_key_pair(machine.shell.home / "other").with_suffix("")
    options = [*machine.options(client), "-k", str(other)]
    ran = machine.shell.script(SCRIPT, *options, "1", "--", "true", environ={"SSH_AUTH_SOCK": ""})
    assert ran.status == ExitStatus.SSH
    assert f"{other} is not the one that machine 1 was started with" in ran.err.splitlines()[0]
    assert FIRST_CONTACT.sub("", ran.err).count("\n") == 2


def test_the_signal_that_ends_it_ends_the_session(machine: Machine) -> None:
    argv = machine.argv(*machine.options("openssh"), "1", "--", "echo ready; sleep 60")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=machine.environment())
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (255, -signal.SIGTERM)
    process.stdout.close()


@clients
def test_all_that_run_or_match_with_their_names(machine: Machine, client: str) -> None:
    assert machine.shell("run", "-n", "3", "--label", "batch", TTYLINUX).status == 0
    for number in (2, 3):
        machine.stage.runs(number)
        machine.stage.engine.machine_listens(number, "127.0.0.1", machine.server.port)
    options = machine.options(client)
    ran = machine.shell.script(SCRIPT, *options, "--all", "--", "echo up")
    assert (ran.status, sorted(ran.out.splitlines())) == (0, [" one-2: up", " one-3: up", "worker: up"])
    ran = machine.shell.script(SCRIPT, *options, "--all", "--filter", "label=batch", "--", "echo up")
    assert (ran.status, sorted(ran.out.splitlines())) == (0, ["one-2: up", "one-3: up"])
    ran = machine.shell.script(SCRIPT, *options, "worker", "3", "1", "--", "echo up")
    assert (ran.status, sorted(ran.out.splitlines())) == (0, ["     3: up", "worker: up"])
    assert machine.shell.script(SCRIPT, *options, "--all", "--filter", "name=none", "--", "true").status == 0
    for wrong in (["--all"], ["--all", "1", "--", "true"], ["1", "--filter", "id=1"], ["--include", "1"]):
        assert machine.shell.script(SCRIPT, *wrong).status == ExitStatus.USAGE
    assert machine.shell.script(SCRIPT, "--all", "--filter", "nam=x", "--", "true").status == ExitStatus.USAGE


def test_a_configuration_that_stays_true(machine: Machine) -> None:
    shell, options = machine.shell, ["-l", machine.server.user]
    assert shell("run", "--vm-name", "gone", TTYLINUX).status == 0
    machine.stage.runs(2)
    config = shell.home / ".ssh" / "config"
    config.write_text("Host mine\n    User me\n")
    ran = shell("connect", *options, "--write-ssh-config")
    assert (ran.status, ran.out) == (0, "")
    assert "is not included" in ran.err
    written = shell.home / ".stratuslab" / "ssh_config"
    assert "Host stratus-1 worker\n" in written.read_text()
    assert "Host stratus-2 gone\n" in written.read_text()
    assert shell("kill", "2").status == 0
    for _ in range(2):
        assert shell("connect", *options, "--write-ssh-config", "--include").status == 0
    assert config.read_text() == f'Include "{written}"\n\nHost mine\n    User me\n'
    assert "gone" not in written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    if shutil.which("ssh"):
        done = subprocess.run(["ssh", "-F", str(config), "worker", "echo in"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "in\n")
    before = written.read_text()
    shell.environ["STRATUSLAB_ENDPOINT"] = "local"
    assert shell("connect", "--write-ssh-config").status == 0
    assert written.read_text().startswith(before), "the other cloud's blocks stay"
    assert written.read_text().count("# cloud: ") == 2
