"""The system's ssh: its command line, and real logins with it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import stratuslab
from stratuslab.errors import SSHError, UsageError
from stratuslab.ssh.known_hosts import KnownHosts
from stratuslab.ssh.login_target import Target
from stratuslab.ssh.openssh import command_line, find_ssh, run
from stratuslab.ssh.user_public_key import make_key_pair

SSH = shutil.which("ssh") or ""
needs_ssh = pytest.mark.skipif(not SSH, reason="there is no ssh on this computer")
ROOT = str(Path(stratuslab.__file__).parent.parent)


def test_find_ssh(tmp_path: Path) -> None:
    assert find_ssh({"PATH": str(tmp_path)}) is None
    assert find_ssh({"PATH": ""}) is None
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\n")
    assert find_ssh({"PATH": str(tmp_path)}) is None
    program.chmod(0o755)
    assert find_ssh({"PATH": f"/nowhere:{tmp_path}"}) == str(program)


def test_the_command_line_of_a_session() -> None:
    target = Target("192.0.2.7", 22, "165.cloud", Path("/home/ann/.stratuslab/known_hosts"))
    assert command_line("/usr/bin/ssh", target) == [
        "/usr/bin/ssh",
        *("-p", "22"),
        *("-l", "root"),
        *("-o", "HostKeyAlias=165.cloud"),
        *("-o", "UserKnownHostsFile=/home/ann/.stratuslab/known_hosts"),
        *("-o", "CheckHostIP=no"),
        *("-o", "StrictHostKeyChecking=accept-new"),
        *("-o", "HashKnownHosts=no"),
        *("-o", "ConnectTimeout=10"),
        *("--", "192.0.2.7"),
    ]


def test_keys_on_the_command_line() -> None:
    plain = Target("h", 22, "a", Path("/k"), key=Path("/keys/my key"))
    assert command_line("ssh", plain)[-4:] == ["-i", "/keys/my key", "--", "h"]
    only = Target("h", 22, "a", Path("/k"), key=Path("/keys/id"), only_key=True)
    assert command_line("ssh", only)[-6:] == ["-i", "/keys/id", "-o", "IdentitiesOnly=yes", "--", "h"]


def test_the_user_s_options_come_first() -> None:
    target = Target("h", 22, "a", Path("/k"))
    assert command_line("ssh", target, ["ls"], ["-A", "-J", "gate"])[:4] == ["ssh", "-A", "-J", "gate"]


@pytest.mark.parametrize("host", ["", "-oProxyCommand=touch x", "a b", "ann@host", "ssh://host", "h\n", "a'b", "a;b", "%eth0"])
def test_no_host(host: str) -> None:
    with pytest.raises(UsageError, match="invalid host name"):
        Target(host, 22, "a", Path("/k"))


@pytest.mark.parametrize("user", ["", "-l", "a b", "a;b", "$(id)", "a\n"])
def test_no_user(user: str) -> None:
    with pytest.raises(UsageError, match="invalid user name"):
        Target("h", 22, "a", Path("/k"), user=user)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_no_port(port: int) -> None:
    with pytest.raises(UsageError, match="invalid port"):
        Target("h", port, "a", Path("/k"))


@pytest.mark.parametrize(
    "host", ["192.0.2.7", "2001:db8::7", "fe80::1%eth0", "vm-201.lal.stratuslab.eu", "localhost", "a_b", "vm."]
)
def test_hosts(host: str) -> None:
    assert Target(host, 22, "a", Path("/k")).host == host


@needs_ssh
@pytest.mark.parametrize(
    "name", ["plain", "with blank", "100%done", 'quo"te', "it's", "back\\slash", "#hash", " #x", "\u00fcber"]
)
def test_paths_stand_for_themselves(tmp_path: Path, name: str) -> None:
    file, key = tmp_path / name / "known_hosts", tmp_path / name / "id"
    key.parent.mkdir()
    key.write_text("")
    argv = command_line(SSH, Target("h", 22, "a", file, key=key))
    shown = subprocess.run([SSH, "-F", "none", "-T", "-G", *argv[1:]], capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    settings = dict(line.partition(" ")[::2] for line in shown.stdout.splitlines())
    # ssh -G shows the values before it replaces %% by %.
    assert settings["userknownhostsfile"].replace("%%", "%") == str(file)
    assert settings["identityfile"].replace("%%", "%") == str(key)
    assert settings["hostkeyalias"] == "a"


@pytest.fixture
def target(server, home: Path) -> Target:
    return Target("127.0.0.1", server.port, "7.cloud", home / "100% my files" / "known_hosts", key=home / ".ssh/id_ed25519")


def login(target: Target, *command: str, **settings) -> subprocess.CompletedProcess:
    KnownHosts(target.known_hosts).prepare()
    argv = command_line(SSH, target, command, ["-F", "none", "-o", "BatchMode=yes"])
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, **settings)


@needs_ssh
def test_a_login_and_its_status(server, target: Target) -> None:
    done = login(target, "echo", "$((6*7));", "exit 3")
    assert (done.returncode, done.stdout) == (3, "42\n")
    assert set(server.logins) == {"root"}
    assert KnownHosts(target.known_hosts).keys(target.alias) == [("ecdsa-sha2-nistp256", server.host_key.get_base64())]
    assert target.known_hosts.stat().st_mode & 0o777 == 0o600
    assert login(target, "true").stderr == ""


@needs_ssh
def test_words_that_look_like_options_are_the_command_s(target: Target) -> None:
    assert login(target, "-v").returncode == 127
    assert login(target, "--", "-oProxyCommand=false").returncode == 127


@needs_ssh
def test_both_clients_share_the_known_hosts(server, target: Target) -> None:
    import io

    import paramiko

    from stratuslab.ssh.paramiko_session import session

    assert session(target, ["true"], None, io.BytesIO(), io.BytesIO()) == 0
    known = target.known_hosts.read_text()
    assert login(target, "true").returncode == 0
    assert target.known_hosts.read_text() == known
    server.host_key = paramiko.ECDSAKey.generate()
    assert login(target, "true").returncode == 255
    with pytest.raises(SSHError, match="host key has changed"):
        session(target, ["true"], None, io.BytesIO(), io.BytesIO())
    assert KnownHosts(target.known_hosts).forget(target.alias)
    assert login(target, "true").returncode == 0
    assert session(target, ["true"], None, io.BytesIO(), io.BytesIO()) == 0


@needs_ssh
def test_a_key_of_the_agent_alone(server, home: Path) -> None:
    """The public file says which key, the agent has it: no private key is on this computer's disk."""
    if not (shutil.which("ssh-agent") and shutil.which("ssh-add")):
        pytest.skip("there is no ssh-agent on this computer")
    import io

    from stratuslab.ssh.paramiko_session import session

    public = make_key_pair(home / ".ssh")
    private = public.with_suffix("")
    # A short path: a socket's name has a hundred characters at most.
    import tempfile

    with tempfile.TemporaryDirectory() as short:
        address = f"{short}/agent"
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL)
        try:
            for _ in range(200):
                if Path(address).exists():
                    break
                signal.sigtimedwait([], 0.02)
            environment = {**os.environ, "SSH_AUTH_SOCK": address}
            subprocess.run(["ssh-add", "-q", private], env=environment, check=True, timeout=10)
            private.unlink()
            named = Target("127.0.0.1", server.port, "a", home / "k", key=public, only_key=True)
            unnamed = Target("127.0.0.1", server.port, "a", home / "k")
            for target in (named, unnamed):
                assert login(target, "true", env=environment).returncode == 0
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("SSH_AUTH_SOCK", address)
                    assert session(target, ["true"], None, io.BytesIO(), io.BytesIO()) == 0
        finally:
            agent.terminate()
            agent.wait(10)


def test_run_gives_the_status() -> None:
    assert run(["/bin/sh", "-c", "exit 7"]) == 7
    assert run(["/bin/sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM


def test_run_without_a_program() -> None:
    with pytest.raises(SSHError, match="cannot start /nowhere/ssh: No such file"):
        run(["/nowhere/ssh"])


def test_ctrl_c_is_the_child_s() -> None:
    """The whole foreground group gets the signal: the child ends by it, and this process tells the child's status."""
    code = (
        "import signal; from stratuslab.ssh.openssh import run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print(run(['/bin/sh', '-c', 'kill -INT 0; sleep 5']))\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True, timeout=20, cwd=ROOT, check=False
    )
    assert (done.stdout, done.stderr) == ("130\nTrue\n", "")


def test_exec_becomes_the_program() -> None:
    code = (
        "import sys; from stratuslab.ssh.openssh import exec_ssh; print('before')\n"
        "exec_ssh(['/bin/sh', '-c', 'grep SigIgn /proc/self/status 2>/dev/null; exit 9'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
    assert done.returncode == 9
    assert done.stdout.startswith("before\n")
    if "SigIgn" in done.stdout:
        ignored = int(done.stdout.split()[-1], 16)
        assert not ignored & 1 << (signal.SIGPIPE - 1)


def test_exec_without_a_program() -> None:
    code = "from stratuslab.ssh.openssh import exec_ssh; exec_ssh(['/nowhere/ssh'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
    assert "cannot start /nowhere/ssh: No such file or directory" in done.stderr
