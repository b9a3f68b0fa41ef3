"""stratus-connect-instance with the agents, configurations, keys and homes that people have, and a real OpenSSH server."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.openssh_keys import take_string
from stratuslab.ssh import known_hosts
from stratuslab.ssh.key_inspection import public_blob
from stratuslab.ssh.user_public_key import make_key_pair
from tests.commands.conftest import SCRIPT, Machine
from tests.commands.test_connect_sshd import FIRST_CONTACT, clients
from tests.fakes import sshd
from tests.fakes.scripted_server import Conversation, Scripted
from tests.harness import TTYLINUX, eventually, lives

pytestmark = [
    pytest.mark.skipif(bool(sshd.why_not()), reason=sshd.why_not() or "there is one"),
    pytest.mark.skipif(not shutil.which("ssh-agent"), reason="this system has no OpenSSH client"),
]


@contextmanager
def agent(keys: Sequence[Path]) -> Iterator[str]:
    """The socket of an agent that has these private keys, in this order."""
    with tempfile.TemporaryDirectory() as short:  # a socket's name has a hundred characters at most
        address = f"{short}/agent"
        process = subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL)
        try:
            eventually(Path(address).exists)
            environ = {**os.environ, "SSH_AUTH_SOCK": address}
            subprocess.run(["ssh-add", "-q", *map(str, keys)], env=environ, check=True, timeout=20)
            yield address
        finally:
            process.terminate()
            process.wait(10)


def configured(machine: Machine, text: str) -> list[str]:
    """The options with which ssh reads this configuration in place of the user's."""
    file = machine.shell.home / "ssh_config"
    file.write_text(text)
    return [*machine.options("openssh"), "--ssh-option=-F", f"--ssh-option={file}"]


# Agents


@clients
@pytest.mark.parametrize("place", ["file", "agent", "named"])
def test_a_full_agent_does_not_lock_out(machine: Machine, client: str, place: str, tmp_path: Path) -> None:
    machine.server.settings = "MaxAuthTries 3\n"
    machine.server.start()
    key = machine.shell.home / ".ssh" / "id_ed25519"
    others = [make_key_pair(tmp_path / str(number)).with_suffix("") for number in range(6)]
    with agent([*others, *([key] if place == "agent" else [])]) as address:
        machine.shell.environ["SSH_AUTH_SOCK"] = address
        given = ["-k", str(key)] if place == "named" else []
        if place == "agent":
            # Its files are on another computer: the agent was forwarded.
            key.unlink()
            key.with_suffix(".pub").unlink()
        ran = machine.shell.script(SCRIPT, *machine.options(client), *given, "1", "--", "echo in")
        assert (ran.status, ran.out, FIRST_CONTACT.sub("", ran.err)) == (0, "in\n", "")
        if client == "openssh":
            block = machine.shell.home / "block"
            block.write_text(machine.shell("connect", "-l", machine.server.user, *given, "--ssh-config").out)
            environ = {**os.environ, "SSH_AUTH_SOCK": address}
            argv = ["ssh", "-F", str(block), "-o", "BatchMode=yes", "worker", "echo in"]
            done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=20, check=False)
            assert done.stdout == "in\n", done.stderr


def test_the_agent_that_the_configuration_names(machine: Machine) -> None:
    key = machine.shell.home / ".ssh" / "id_ed25519"
    with agent([key]) as address:
        key.unlink()
        key.with_suffix(".pub").unlink()
        ran = machine.shell.script(SCRIPT, *configured(machine, f"Host *\n IdentityAgent {address}\n"), "1", "--", "echo in")
        assert (ran.status, ran.out, FIRST_CONTACT.sub("", ran.err)) == (0, "in\n", "")


# Configurations


EVERYTHING = """
Host *
  RemoteCommand tmux new -A
  RequestTTY force
  LocalForward 127.0.0.1:{port} localhost:80
  RemoteForward 127.0.0.1:{port} localhost:80
  DynamicForward 127.0.0.1:{port}
  ExitOnForwardFailure yes
  PermitLocalCommand yes
  LocalCommand echo local
  ControlMaster auto
  ControlPath {directory}/master-%r@%h:%p
  ControlPersist 60
  BatchMode yes
  StrictHostKeyChecking ask
  UserKnownHostsFile {directory}/hosts
  SendEnv LANG LC_*
  PubkeyAuthentication no
  PreferredAuthentications password
  User nobody
  Port 1
"""
NEWER = "  SessionType none\n  ForkAfterAuthentication yes\n  StdinNull yes\n"  # OpenSSH 8.7


def test_a_configuration_does_not_change_a_command(machine: Machine, tmp_path: Path) -> None:
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as short:
        text = EVERYTHING.format(port=taken.getsockname()[1], directory=short)
        newer = tmp_path / "newer"
        newer.write_text("Host *\n" + NEWER)
        if subprocess.run(["ssh", "-F", str(newer), "-G", "h"], capture_output=True, check=False).returncode == 0:
            text += NEWER
        options = configured(machine, text)
        ran = machine.shell.script(SCRIPT, *options, "1", "--", "cat; exit 3", stdin="a\n\0b")
        assert (ran.status, ran.out, FIRST_CONTACT.sub("", ran.err)) == (3, "a\n\0b", "")
        ran = machine.shell.script(SCRIPT, *options, "1", "2", "--", "echo in")
        assert (ran.status, sorted(ran.out.splitlines())) == (0, ["1: in", "2: in"])
        assert list(Path(short).iterdir()) == []
        shown = machine.shell("connect", *options, "--print", "1").out
        assert "RemoteCommand" not in shown, "a session is the user's own"
        assert "-o ControlPath=none" in shown


def test_a_configuration_with_a_jump_host(machine: Machine) -> None:
    key = machine.shell.home / ".ssh" / "id_ed25519"
    with tempfile.TemporaryDirectory() as short:
        text = EVERYTHING.format(port=1, directory=short).replace("StrictHostKeyChecking ask", "StrictHostKeyChecking accept-new")
        login = f"  IdentityFile {key}\n  PubkeyAuthentication yes\n  PreferredAuthentications publickey\n"
        jump = f"{machine.server.user}@127.0.0.1:{machine.server.port}"
        options = configured(machine, f"Host 127.0.0.1\n{login}Host localhost\n  ProxyJump {jump}\n{text}")
        master = Path(short) / f"master-{machine.server.user}@127.0.0.1:{machine.server.port}"
        try:
            for given in ([], ["-J", jump]):
                ran = machine.shell.script(SCRIPT, *options, *given, "1", "--", "echo in")
                assert (ran.status, ran.out, FIRST_CONTACT.sub("", ran.err)) == (0, "in\n", "")
        finally:
            # The jump host's connection is shared, as configured.
            subprocess.run(["ssh", "-F", "none", "-S", str(master), "-O", "exit", "x"], capture_output=True, check=True)


def test_forwardings_that_the_user_asks_for_are_made(machine: Machine) -> None:
    options = configured(machine, "Host *\n  LocalForward 8080 localhost:80\n")
    assert "ClearAllForwardings" in machine.shell("connect", *options, "--print", "1", "--", "true").out
    for words in (["-L", "8081:localhost:80"], ["-oRemoteForward=8081 localhost:80"], ["-o", "dynamicforward=8081"]):
        shown = machine.shell("connect", *options, "--print", "1", *(f"--ssh-option={word}" for word in words), "--", "true")
        assert "ClearAllForwardings" not in shown.out


def test_a_configuration_without_surprises_adds_nothing(machine: Machine) -> None:
    shown = machine.shell("connect", *configured(machine, ""), "--print", "1", "--", "true").out
    assert shown.split(" -o ConnectTimeout=10 ")[1].split(" -i ")[0] == "-o ServerAliveInterval=20 -o ServerAliveCountMax=3"
    of_debian = configured(machine, "BatchMode yes\n")
    assert "ServerAliveInterval=20 " in machine.shell("connect", *of_debian, "--print", "1", "--", "true").out
    own = configured(machine, "ServerAliveInterval 7\n")
    assert "ServerAlive" not in machine.shell("connect", *own, "--print", "1").out
    assert "ServerAliveInterval=3 " in machine.shell("connect", *own, "--timeout", "9", "--print", "1").out


# Keys


def test_fido_keys_are_among_the_usual_ones(machine: Machine) -> None:
    """There is no token here: how far the key comes shows in what ssh says of it."""
    plain = machine.shell.home / ".ssh" / "id_ed25519"
    point = take_string(take_string(public_blob(plain.with_suffix(".pub")))[1])[0]
    kind = "sk-ssh-ed25519@openssh.com"
    key = fido_key(machine.shell.home / ".ssh" / "id_ed25519_sk", kind, point)
    plain.unlink()
    plain.with_suffix(".pub").unlink()
    (machine.server.directory / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    ran = machine.shell.script(SCRIPT, *machine.options("openssh"), "--ssh-option=-v", "2", "--", "true")
    assert f"Server accepts key: {key} ED25519-SK" in ran.err
    ran = machine.shell.script(SCRIPT, *machine.options("paramiko"), "2", "--", "true")
    assert (ran.status, "only OpenSSH's client can use a FIDO key" in ran.err) == (ExitStatus.SSH, True)


def fido_key(path: Path, kind: str, point: bytes) -> Path:
    """The two files of a key on a FIDO token, as ssh-keygen writes them (PROTOCOL.u2f, PROTOCOL.key)."""
    from base64 import b64encode

    def string(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    public = string(kind.encode()) + string(point) + string(b"ssh:")
    private = b"\0\0\0\7" * 2 + public + b"\1" + string(b"handle") + string(b"") + string(b"comment")
    private += bytes(range(1, -len(private) % 8 + 1))
    whole = b"openssh-key-v1\0" + string(b"none") * 2 + string(b"") + b"\0\0\0\1" + string(public) + string(private)
    path.write_text(
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{b64encode(whole).decode()}\n-----END OPENSSH PRIVATE KEY-----\n", encoding="ascii"
    )
    path.chmod(0o600)
    path.with_suffix(".pub").write_text(f"{kind} {b64encode(public).decode()}\n")
    return path


def certificate(machine: Machine) -> Path:
    """A certificate for the user's key; the server trusts the authority, and no keys."""
    assert sshd.KEYGEN is not None
    key = machine.shell.home / ".ssh" / "id_ed25519"
    authority = make_key_pair(machine.server.directory / "authority")
    signed = [sshd.KEYGEN, "-q", "-s", str(authority.with_suffix("")), "-I", "jane", "-n", machine.server.user]
    subprocess.run([*signed, f"{key}.pub"], check=True)
    machine.server.settings = f"TrustedUserCAKeys {authority}\nMaxAuthTries 3\n"
    (machine.server.directory / "authorized_keys").write_text("")
    machine.server.start()
    return key.with_name(f"{key.name}-cert.pub")


@clients
def test_a_certificate_beside_the_key_is_used(machine: Machine, client: str) -> None:
    certificate(machine)
    ran = machine.shell.script(SCRIPT, *machine.options(client), "1", "--", "echo in")
    assert (ran.status, ran.out) == (0, "in\n"), ran.err


def test_a_certificate_is_not_a_key(machine: Machine) -> None:
    signed = certificate(machine)
    right = signed.with_name("id_ed25519.pub")
    for command in (["connect", "-k", str(signed), "1"], ["run", "--key", str(signed), TTYLINUX]):
        ran = machine.shell(*command)
        assert (ran.status, ran.out, ran.err.count("\n")) == (ExitStatus.USAGE, "", 1)
        assert f"{signed} is a certificate, not a key (name the key, {right};" in ran.err
    machine.shell.environ["STRATUSLAB_KEY"] = str(signed)
    ran = machine.shell("connect", "--print", "1")
    assert f"{signed} is a certificate, not a key (name the key, {right};" in ran.err


# Servers and machines that do not answer


def keeps_silent(conversation: Conversation) -> None:
    conversation.send(b"SSH-2.0-Strange\r\n")
    conversation.closing.wait()


@clients
def test_a_banner_and_not_a_word_more(machine: Machine, client: str, scripted: Scripted) -> None:
    silent = scripted(keeps_silent)
    options = [*machine.options(client), "--timeout", "2"]
    ran = machine.shell.script(SCRIPT, *options, "--address", "127.0.0.1", "-p", str(silent.port), "1", "--", "true", timeout=30)
    assert (ran.status, ran.err.count("\n")) == (ExitStatus.SSH, 1)
    assert "127.0.0.1" in ran.err
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", silent.port)
    ran = machine.shell.script(SCRIPT, *options, "1", "2", "--", "echo in", timeout=30)
    assert (ran.status, ran.out) == (ExitStatus.PARTIAL, "1: in\n")
    assert f"{SCRIPT}: machine 2: " in ran.err


@clients
def test_a_machine_that_dies_during_a_command(machine: Machine, client: str) -> None:
    """A stopped server: nothing comes from it any more, not even the end of the connection."""
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    once = machine.shell.home / "once"
    line = f"mkdir '{once}' 2>/dev/null && echo $PPID > '{once}/server' && kill -STOP $PPID && sleep 60; echo done"
    argv = machine.argv(*machine.options(client), "--timeout", "3", "1", "2", "--", line)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=machine.environment())
    try:
        out, err = process.communicate(timeout=40)
        assert process.returncode == ExitStatus.PARTIAL
        assert out.count("done\n") == 1
        (dead,) = {"1", "2"} - {text[0] for text in out.splitlines() if text.endswith("done")}
        assert f"{SCRIPT}: machine {dead}: the connection to localhost was lost" in err
    finally:
        os.kill(int((once / "server").read_text()), signal.SIGKILL)


# The end of the terminal


def children(process: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[1]) == process:
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("ignored", [False, True])
def test_sighup_ends_the_children(machine: Machine, ignored: bool) -> None:
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    go_on = machine.shell.home / "go_on"
    line = f"echo ready; while [ ! -e '{go_on}' ]; do sleep 0.1; done; echo over"
    argv = machine.argv(*machine.options("openssh"), "1", "2", "--", line)
    if ignored:
        argv = ["nohup", *argv]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=machine.environment()
    )
    assert process.stdout is not None
    assert {process.stdout.readline(), process.stdout.readline()} == {"1: ready\n", "2: ready\n"}
    begun = children(process.pid)
    assert len(begun) == 2
    process.send_signal(signal.SIGHUP)
    if ignored:
        go_on.touch()
        assert sorted(process.communicate(timeout=30)[0].splitlines()) == ["1: over", "2: over"]
        assert process.returncode == 0
    else:
        assert process.wait(30) == ExitStatus.HUNG_UP
        eventually(lambda: not any(map(lives, begun)))
        process.communicate()
        go_on.touch()


# Homes


@clients
def test_host_keys_that_cannot_be_recorded(machine: Machine, client: str) -> None:
    (machine.shell.home / ".stratuslab" / "known_hosts").mkdir(parents=True)
    assert machine.shell("run", TTYLINUX).status == 0
    machine.stage.runs(2)
    machine.stage.engine.machine_listens(2, "127.0.0.1", machine.server.port)
    for numbers in (["1"], ["1", "2"], ["1", "--forget-host-key"]):
        ran = machine.shell.script(SCRIPT, *machine.options(client), *numbers, "--", "echo in")
        assert (ran.status, ran.out.count("in\n")) == (0, len([number for number in numbers if number.isdigit()]))
        assert ran.err.count("going on without recording host keys") == 1
        assert ran.err.count("\n") == (2 if len(numbers) == 2 and numbers[1] == "2" else 1), ran.err


@clients
def test_a_home_that_is_read_only(machine: Machine, client: str) -> None:
    home = machine.shell.home
    if os.geteuid() == 0:
        mounts = f"mount --bind '{home}' '{home}' && mount -o remount,ro,bind '{home}' && exec"
        before = ["unshare", "-m", "/bin/sh", "-c", f'{mounts} "$@"', "sh"]
        if not shutil.which("unshare") or subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no mounts of its own here")
    else:
        before = []
        home.chmod(0o500)
    argv = [*before, *machine.argv(*machine.options(client), "1", "--", "echo in")]
    done = subprocess.run(argv, capture_output=True, text=True, env=machine.environment(), timeout=30, check=False)
    home.chmod(0o700)
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr
    assert done.stderr.count("\n") == 1
    assert "going on without recording host keys" in done.stderr


def test_a_lock_that_nobody_lets_go(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system, after the computer that held it has died."""
    monkeypatch.setattr(known_hosts, "LOCK_SECONDS", 0.2)
    directory = machine.shell.home / ".stratuslab"
    directory.mkdir(mode=0o700, exist_ok=True)
    assert machine.shell("run", "-n", "2", TTYLINUX).status == 0
    for number in (2, 3):
        machine.stage.runs(number)
        machine.stage.engine.machine_listens(number, "127.0.0.1", machine.server.port)
    with (directory / ".known_hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = machine.shell("connect", *machine.options("paramiko"), "1", "2", "3", "--", "echo in")
        assert (ran.status, ran.out.count(": in\n")) == (0, 3)
        assert ran.err.count("locked by another process; going on without recording host keys") == 1
        assert ran.err.count("\n") == 2
        assert machine.shell("kill", "1").status == 0
    assert machine.shell("connect", *machine.options("paramiko"), "2", "3", "--", "echo in").err.count("\n") == 1
    assert machine.known_hosts().count("\n") == 2
