"""Sessions by paramiko against a real server: commands, streams, terminals, host keys, the user's keys."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import stratuslab
from stratuslab.errors import SSHError
from stratuslab.ssh.known_hosts import KnownHosts
from stratuslab.ssh.login_target import Target
from stratuslab.ssh.paramiko_session import session
from stratuslab.ssh.user_public_key import make_key_pair

ROOT = str(Path(stratuslab.__file__).parent.parent)


@pytest.fixture
def target(server, home: Path) -> Target:
    return Target("127.0.0.1", server.port, "7.cloud.0123456789", home / ".stratuslab/known_hosts", key=home / ".ssh/id_ed25519")


def ran(target: Target, *command: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    stdout, stderr = io.BytesIO(), io.BytesIO()
    status = session(target, command, io.BytesIO(stdin), stdout, stderr)
    return status, stdout.getvalue(), stderr.getvalue()


def test_a_command_with_its_status_and_both_outputs(server, target: Target) -> None:
    assert ran(target, "echo out; echo err >&2; exit 42") == (42, b"out\n", b"err\n")
    assert server.logins == ["root"]


def test_words_are_joined_as_ssh_joins_them(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran(target, "FOO='a  b';", "echo", "$FOO", "x") == (0, b"a b x\n", b"")


def test_bytes_pass_unchanged_and_the_end_of_input_is_told(target: Target) -> None:
    data = bytes(range(256)) * 12000
    status, stdout, _ = ran(target, "cat", stdin=data)
    assert status == 0
    assert hashlib.sha256(stdout).digest() == hashlib.sha256(data).digest()


def test_a_flood_of_errors_does_not_stop_the_output(target: Target) -> None:
    status, stdout, stderr = ran(target, "head -c 5000000 /dev/zero >&2; echo done")
    assert (status, stdout, len(stderr)) == (0, b"done\n", 5000000)


def test_a_slow_reader_slows_the_other_side(server, target: Target, tmp_path: Path) -> None:
    """What nobody takes must not pile up in memory: the remote writer stands still."""
    progress = tmp_path / "progress"
    first, go, pause = threading.Event(), threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def write(self, data, /) -> int:
            first.set()
            assert go.wait(20)
            return len(data)

    command = f"i=0; while [ $i -lt 400 ]; do head -c 65536 /dev/zero; i=$((i+1)); echo $i >{progress}; done"
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(session(target, [command], None, Slow(), io.BytesIO())))
    thread.start()
    assert first.wait(10)
    # Standing still is the same number at five looks; a machine that is merely slow passes too, one that runs on does not.
    looks = [0]
    while len(looks) < 100 and not (looks[-1] and len(set(looks[-5:])) == 1):
        pause.wait(0.05)
        looks.append(int(progress.read_text() or 0) if progress.exists() else 0)
    assert looks[-1] < 200
    go.set()
    thread.join(20)
    assert statuses == [0]
    assert progress.read_text() == "400\n"


def test_input_that_nobody_reads_does_not_block(target: Target) -> None:
    assert ran(target, "exec 0<&-; echo no thanks", stdin=bytes(20_000_000)) == (0, b"no thanks\n", b"")


def test_an_open_pipe_as_input_is_left_when_the_command_ends(target: Target) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        out = io.BytesIO()
        assert session(target, ["echo hello"], stdin, out, io.BytesIO()) == 0
        assert out.getvalue() == b"hello\n"


def test_a_shell_without_a_terminal_reads_its_input(target: Target) -> None:
    assert ran(target, stdin=b"echo $((6 * 7))\nexit 3\n") == (3, b"42\n", b"")


def test_a_command_ended_by_a_signal_has_ssh_s_status(target: Target) -> None:
    assert ran(target, "kill -9 $$")[0] == 255


def test_the_machine_goes_away(server, target: Target) -> None:
    class Trap(io.BytesIO):
        def write(self, data, /) -> int:
            server.hang_up()
            return len(data)

    with pytest.raises(SSHError, match="closed by the remote host") as caught:
        session(target, ["echo ready; sleep 60"], None, Trap(), io.BytesIO())
    assert int(caught.value.status) == 255


def test_a_reader_that_is_gone_is_told_to_the_caller(target: Target) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stdout, pytest.raises(BrokenPipeError):
        session(target, ["yes"], None, stdout, io.BytesIO())


def test_first_contact_is_remembered_and_another_key_refused(server, target: Target) -> None:
    import paramiko

    assert ran(target, "true")[0] == 0
    first = server.host_key.get_base64()
    assert KnownHosts(target.known_hosts).keys(target.alias) == [("ecdsa-sha2-nistp256", first)]
    assert target.known_hosts.stat().st_mode & 0o777 == 0o600
    server.host_key = paramiko.RSAKey.generate(2048)
    logins = len(server.logins)
    with pytest.raises(SSHError, match=r"host key has changed.*--forget-host-key"):
        ran(target, "true")
    assert len(server.logins) == logins
    assert KnownHosts(target.known_hosts).forget(target.alias)
    assert ran(target, "true")[0] == 0
    assert [kind for kind, _ in KnownHosts(target.known_hosts).keys(target.alias)] == ["ssh-rsa"]
    assert ran(target, "true")[0] == 0


def test_wrong_key(server, target: Target, home: Path) -> None:
    server.authorized = "somebody else's"
    with pytest.raises(SSHError, match=r"rejected every key for root \(1 tried\)"):
        ran(target, "true")


def test_no_key_at_all(server, home: Path) -> None:
    for file in (home / ".ssh").iterdir():
        file.unlink()
    with pytest.raises(SSHError, match="none to offer"):
        ran(Target("127.0.0.1", server.port, "a", home / "k"), "true")


def test_the_usual_keys_are_tried_where_none_is_named(server, home: Path) -> None:
    assert ran(Target("127.0.0.1", server.port, "a", home / "k"), "true")[0] == 0


def test_only_the_named_key_is_offered(server, home: Path) -> None:
    other = make_key_pair(home / "other").with_suffix("")
    with pytest.raises(SSHError, match="1 tried"):
        ran(Target("127.0.0.1", server.port, "a", home / "k", key=other, only_key=True), "true")
    assert ran(Target("127.0.0.1", server.port, "a", home / "k", key=other), "true")[0] == 0


def write_key(path: Path, kind: str, passphrase: bytes | None = None) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    elif kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP384R1())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, locked))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_name(f"{path.name}.pub").write_bytes(public)
    return public.decode().split()[1]


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_kinds_of_keys(server, home: Path, kind: str) -> None:
    server.authorized = write_key(home / "mine", kind)
    assert ran(Target("127.0.0.1", server.port, "a", home / "k", key=home / "mine"), "true")[0] == 0


def test_a_key_with_a_passphrase(server, home: Path) -> None:
    server.authorized = write_key(home / "mine", "ed25519", b"open sesame")
    target = Target("127.0.0.1", server.port, "a", home / "k", key=home / "mine", only_key=True)
    with pytest.raises(SSHError, match="mine is protected by a passphrase"):
        ran(target, "true")
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "open sesame"

    assert session(target, ["true"], None, io.BytesIO(), io.BytesIO(), ask=ask) == 0
    assert prompts == [f"Passphrase of {home / 'mine'}: "]
    with pytest.raises(SSHError, match="passphrase is wrong"):
        session(target, ["true"], None, io.BytesIO(), io.BytesIO(), ask=lambda prompt: "guess")


def test_no_passphrase_is_given(server, home: Path) -> None:
    server.authorized = write_key(home / "mine", "ed25519", b"open sesame")
    target = Target("127.0.0.1", server.port, "a", home / "k", key=home / "mine", only_key=True)

    def ask(prompt: str) -> str:
        raise EOFError

    with pytest.raises(SSHError, match=r"no passphrase for .*/mine"):
        session(target, ["true"], None, io.BytesIO(), io.BytesIO(), ask=ask)


def test_a_key_that_is_none(server, home: Path) -> None:
    (home / "mine").write_text("what is this")
    for name, why in (("mine", "not a readable private key"), ("missing", "No such file")):
        with pytest.raises(SSHError, match=why):
            ran(Target("127.0.0.1", server.port, "a", home / "k", key=home / name, only_key=True), "true")


def test_nobody_listens(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(SSHError, match=r"cannot connect to 127\.0\.0\.1 port .*refused"):
            ran(Target("127.0.0.1", unused.getsockname()[1], "a", home / "k"), "true")


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-hanging\r\n"])
def test_what_listens_is_no_ssh_server(home: Path, greeting: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = Target("127.0.0.1", listening.getsockname()[1], "a", home / "k", connect_timeout=1)
        held: list[socket.socket] = []

        def greet() -> None:
            connection, _ = listening.accept()
            held.append(connection)
            connection.sendall(greeting)
            if not greeting:
                connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(SSHError, match=r"SSH handshake with .* failed"):
            ran(target, "true")
        thread.join(5)
        for connection in held:
            connection.close()
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


INTERACTIVE = """
import sys
from pathlib import Path
from stratuslab.ssh.paramiko_session import session
from stratuslab.ssh.login_target import Target
port, home = int(sys.argv[1]), Path(sys.argv[2])
target = Target("127.0.0.1", port, "7.cloud", home / "known_hosts", key=home / ".ssh/id_ed25519")
sys.exit(session(target, (), sys.stdin.buffer, sys.stdout.buffer, sys.stderr.buffer, terminal="vt220"))
"""


def spawn(server, home: Path, run: str, **settings):
    """The program above in a shell on a terminal, which says its status at the end, and whether the terminal is as before."""
    pexpect = pytest.importorskip("pexpect")
    program = home / "program.py"
    program.write_text(INTERACTIVE)
    run = run.replace("PROGRAM", f"{sys.executable} {program} {server.port} {home}")
    script = f"before=$(stty -g); {run}; echo status $?; [ $before = $(stty -g) ] && echo same"
    return pexpect.spawn("/bin/sh", ["-mc", script], timeout=20, env={**os.environ, "PYTHONPATH": ROOT}, **settings)


def test_an_interactive_session(server, home: Path) -> None:
    """Prompt, terminal kind, window size and its change, Ctrl-C as a key."""
    child = spawn(server, home, "PROGRAM", dimensions=(31, 97))
    child.expect("# ")
    child.sendline("echo $TERM; stty size")
    child.expect("vt220\r\n31 97\r\n# ")
    child.setwinsize(40, 120)
    child.sendline("n=0; until [ \"$(stty size)\" = '40 120' ] || [ $n = 2000 ]; do n=$((n+1)); done; echo size $(stty size)")
    child.expect("size 40 120\r\n# ")
    child.sendline("sh -c 'trap \"echo caught; exit\" INT; echo wai''ting; while :; do sleep 0.1; done'")
    child.expect("waiting\r\n")
    child.sendintr()
    child.expect("caught\r\n# ")
    child.sendline("exit 5")
    child.expect("status 5\r\nsame\r\n")


@pytest.mark.parametrize(("end", "status"), [("told to end", 143), ("told to quit", 131), ("hung up on", 1)])
def test_the_terminal_is_restored_in_the_worst_case(server, home: Path, end: str, status: int) -> None:
    child = spawn(server, home, "PROGRAM & echo pid $!; fg >/dev/null")
    child.expect(r"pid (\d+)\r\n")
    pid = int(child.match[1])
    child.expect("# ")
    if end != "hung up on":
        os.kill(pid, signal.SIGTERM if end == "told to end" else signal.SIGQUIT)
    else:
        server.hang_up()
    child.expect(f"status {status}\r\nsame\r\n")


def test_import_is_light() -> None:
    heavy = "{'paramiko', 'cryptography', 'requests', 'subprocess'} & sys.modules.keys()"
    modules = "agent, banner, host_key, jump_hosts, known_hosts, ssh_server_addresses, login_target, openssh, paramiko_session"
    modules += ", key_inspection, port_translation_client, ssh_config_writer, user_public_key"
    code = f"import sys; from stratuslab.ssh import {modules}; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"
