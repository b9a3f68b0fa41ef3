"""What is known of private keys before they are used, and what an SSH agent says that it has."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import UsageError
from stratuslab.openssh_keys import public_keys
from stratuslab.ssh.agent import agent_address, agent_keys
from stratuslab.ssh.key_inspection import examine, public_blob
from stratuslab.ssh.login_target import Target
from stratuslab.ssh.user_public_key import make_key_pair

KEYGEN = shutil.which("ssh-keygen") or ""
needs_keygen = pytest.mark.skipif(not KEYGEN, reason="this system has no ssh-keygen")


def made(path: Path, *options: str, passphrase: str = "") -> Path:
    subprocess.run([KEYGEN, "-q", *options, "-N", passphrase, "-f", str(path)], check=True)
    return path


@needs_keygen
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("form", [(), ("-m", "PEM"), ("-m", "PKCS8")])
@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_forms_of_keys(tmp_path: Path, kind: str, form: tuple[str, ...], passphrase: str) -> None:
    path = made(tmp_path / "key", "-t", kind, *form, passphrase=passphrase)
    public = public_blob(tmp_path / "key.pub")
    assert public
    key = examine(path)
    assert (key.path, key.blob, key.encrypted) == (path, public, bool(passphrase))
    (tmp_path / "key.pub").unlink()
    in_pem = b"OPENSSH" not in path.read_bytes()
    assert examine(path).blob == (b"" if passphrase and in_pem else public)


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"", 0o600, "is not a private key"),
        (b"rubbish\xff", 0o600, "is not a private key"),
        (b"x" * 100_000, 0o600, "is not a private key"),
        (b"ssh-ed25519 AAAA me", 0o600, "is not a private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", 0o640, r"mode 0640\), so ssh ignores it \(chmod 600 "),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", 0o604, "so ssh ignores it"),
    ],
)
def test_keys_that_are_not_used(tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UsageError, match=why) as caught:
        examine(path)
    assert str(path) in caught.value.message


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path, Path("null\0byte"), Path("/dev/zero")):
        with pytest.raises(UsageError):
            examine(path)


@given(st.binary(max_size=300))
def test_any_content(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "key"
        path.write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + content + b"\n-----END OPENSSH PRIVATE KEY-----")
        path.chmod(0o600)
        assert examine(path).path == path


def test_authorized_keys(tmp_path: Path) -> None:
    public = make_key_pair(tmp_path)
    blob = public_blob(public)
    text = f'# a comment\nfrom="*.example.org" {public.read_text()}\nssh-rsa AAAA= broken\nssh-rsa AAAA\n'
    assert [key.blob for key in public_keys(text)] == [blob]
    assert public_blob(tmp_path / "missing") == b""
    assert examine(public.with_suffix("")).blob == blob


# Agents


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory whose sockets have short names: a hundred characters is the most."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def agent(short: Path) -> Iterator[Callable[[bytes], dict[str, str]]]:
    """An agent that answers with the given bytes."""
    opened: list[tuple[socket.socket, threading.Thread]] = []

    def start(answer: bytes) -> dict[str, str]:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(short / "agent"))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(100) == b"\0\0\0\1\x0b"
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        opened.append((listening, thread))
        return {"SSH_AUTH_SOCK": str(short / "agent")}

    yield start
    for listening, thread in opened:
        thread.join(5)
        listening.close()


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        (b"\x0c\0\0\0\2" + string(b"one") + string(b"a") + string(b"two") + string(b""), [b"one", b"two"]),
        (b"\x0c\0\0\0\0", []),
        (b"\x0c\xff\xff\xff\xff" + string(b"one") + string(b"a"), [b"one"]),
        (b"\x05", []),
        (b"\x0c", []),
    ],
)
def test_what_an_agent_says(agent: Callable[[bytes], dict[str, str]], answer: bytes, keys: list[bytes]) -> None:
    assert agent_keys(agent(string(answer))["SSH_AUTH_SOCK"]) == keys


@pytest.mark.parametrize("answer", [b"", b"\xff\xff\xff\xff\x0c", b"\0\0", b"\0\0\0\x10\x0c"])
def test_an_agent_that_says_rubbish(agent: Callable[[bytes], dict[str, str]], answer: bytes) -> None:
    assert agent_keys(agent(answer)["SSH_AUTH_SOCK"]) == []


def test_no_agent(short: Path) -> None:
    for address in ("", str(short / "none"), "x" * 500):
        assert agent_keys(address) == []


def test_which_agent() -> None:
    environ = {"SSH_AUTH_SOCK": "/run/agent", "OTHER": "/run/other"}
    for configured, address in (("", "/run/agent"), ("SSH_AUTH_SOCK", "/run/agent"), ("none", ""), ("$OTHER", "/run/other")):
        assert agent_address(configured, environ) == address
    assert agent_address("/home/jane/.1password/agent.sock", environ) == "/home/jane/.1password/agent.sock"
    assert agent_address("", {}) == ""


def test_a_real_agent(short: Path) -> None:
    if not (shutil.which("ssh-agent") and shutil.which("ssh-add")):
        pytest.skip("this system has no ssh-agent")
    public = make_key_pair(short / "keys")
    address = short / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
    try:
        environ = {**os.environ, "SSH_AUTH_SOCK": str(address)}
        for _ in range(200):
            if address.exists():
                break
            threading.Event().wait(0.02)
        assert agent_keys(str(address)) == []
        subprocess.run(["ssh-add", "-q", str(public.with_suffix(""))], env=environ, check=True, timeout=10)
        assert agent_keys(str(address)) == [public_blob(public)]
    finally:
        process.terminate()
        process.wait(10)


@needs_keygen
def test_a_certificate_instead_of_the_public_key_costs_paramiko_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stratuslab.ssh.offered_keys import OfferedKeys

    authority, key = made(tmp_path / "ca", "-t", "ed25519"), made(tmp_path / "id", "-t", "ed25519")
    subprocess.run([KEYGEN, "-q", "-s", str(authority), "-I", "ann", "-n", "ann", str(tmp_path / "id.pub")], check=True)
    (tmp_path / "id-cert.pub").replace(tmp_path / "id.pub")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    target = Target("192.0.2.7", 22, "165.cloud", tmp_path / "known_hosts", key=key, only_key=True)
    assert len(list(OfferedKeys(target, None).in_order())) == 1
    key.write_text("torn")
    keys = OfferedKeys(target, None)
    assert list(keys.in_order()) == []
    assert "not a readable private key" in keys.problems[0]
