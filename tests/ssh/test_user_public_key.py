"""Public key files, good and bad; the pair of our own; the private half."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest

import stratuslab
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.ssh.user_public_key import make_key_pair, private_half, public_key_file, read_public_keys

ROOT = Path(stratuslab.__file__).parent.parent

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDnMkyMWbC/1/2dKSPL3fx2hHcOxnzQj7cW+q8Npx0Kx ann@example.com"
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBJ0cJSYk3nVJz3hK2o8oQ6zCFbXMuOJ5sXz8"
    "n7bMPRZQm2r5cZc4m8rhp1QkV6u2r1R2Q0pTQ0hYb2x1dGlvbnM="
)


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        (ED25519, ED25519),
        (f"{ED25519}\n", ED25519),
        (f"\r\n{ED25519}\r\n{ECDSA}\r\n\r\n", f"{ED25519}\n{ECDSA}"),
        (f"Comment: made by hand\n# mine\n{ED25519}\n", ED25519),
        (f"\ufeff{ED25519} J\u00fcrgen\n", f"{ED25519} J\u00fcrgen"),
        (f'no-pty,from="10.0.0.0/8" {ED25519}', f'no-pty,from="10.0.0.0/8" {ED25519}'),
    ],
)
def test_good_files(tmp_path: Path, content: str, keys: str) -> None:
    path = tmp_path / "key.pub"
    path.write_bytes(content.encode())
    assert read_public_keys(path) == keys


SECRET = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n# nothing\n \n", "is empty"),
        (f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n".encode(), "is a private key"),
        (f"PuTTY-User-Key-File-3: ssh-ed25519\n{SECRET}\n".encode(), "is a private key"),
        (b"# one\nhello world " + SECRET.encode(), r"line 2 of .* is not a public key"),
        (f"ssh-rsa {ED25519.split()[1]}".encode(), "line 1 of .* is not a public key"),
        (b"ssh-ed25519 AAAA", "is not a public key"),
        (b"ssh-ed25519", "is not a public key"),
        (b"---- BEGIN SSH2 PUBLIC KEY ----\nComment: x\nAAAA\n", "ssh-keygen -i"),
        (b"\xff\xfe\x00\x01", "binary"),
        (ED25519.encode() + b"\n" * 70000, "too large"),
    ],
)
def test_bad_files_are_named_and_never_shown(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "key.pub"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=why) as caught:
        read_public_keys(path)
    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"public key file .*missing\.pub does not exist"):
        read_public_keys(tmp_path / "missing.pub")
    with pytest.raises(UsageError, match="Is a directory"):
        read_public_keys(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        read_public_keys(Path("null\0byte"))
    (tmp_path / "id").write_text("-----BEGIN RSA PRIVATE KEY-----")
    (tmp_path / "id.pub").write_text(ED25519)
    with pytest.raises(UsageError) as caught:
        read_public_keys(tmp_path / "id")
    assert caught.value.hint == f"use its public key, {tmp_path}/id.pub"


def test_an_endless_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_public_keys(Path("/dev/zero"))


def test_the_usual_keys(tmp_path: Path) -> None:
    assert public_key_file(tmp_path) is None
    (tmp_path / ".ssh").mkdir()
    for name in ("id_dsa.pub", "id_rsa.pub", "id_ecdsa.pub", "id_ed25519.pub"):
        (tmp_path / ".ssh" / name).write_text(ED25519)
        expected = name if name != "id_dsa.pub" else None
        found = public_key_file(tmp_path)
        assert (found and found.name) == expected


@pytest.mark.parametrize(
    ("public", "private"),
    [
        ("id_rsa.pub", "id_rsa"),
        ("backup.pub", "backup"),
        ("club.pub", "club"),
        ("upkey.pub", "upkey"),
        ("pub", "pub"),
        (".pub", ".pub"),
        ("my.key.pub", "my.key"),
        ("id_rsa", "id_rsa"),
    ],
)
def test_private_half_removes_a_suffix_and_not_characters(public: str, private: str) -> None:
    assert private_half(Path("/keys") / public) == Path("/keys") / private


def test_a_pair_is_made_once(tmp_path: Path) -> None:
    directory = tmp_path / "home" / ".stratuslab"
    public = make_key_pair(directory)
    assert public == directory / "id_ed25519.pub"
    private = private_half(public)
    modes = [path.stat().st_mode & 0o777 for path in (directory, private, public)]
    assert modes == [0o700, 0o600, 0o644]
    assert read_public_keys(public).startswith("ssh-ed25519 ")
    before = public.read_bytes(), private.read_bytes()
    assert make_key_pair(directory) == public
    assert (public.read_bytes(), private.read_bytes()) == before


def test_the_pair_belongs_together_for_openssh(tmp_path: Path) -> None:
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        pytest.skip("there is no ssh-keygen on this computer")
    public = make_key_pair(tmp_path)
    derived = subprocess.run([keygen, "-y", "-f", private_half(public)], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == public.read_text().split()[:2]


def test_half_a_pair_is_repaired(tmp_path: Path) -> None:
    public = make_key_pair(tmp_path)
    before = public.read_text()
    public.unlink()
    assert make_key_pair(tmp_path).read_text() == before
    private_half(public).unlink()
    assert make_key_pair(tmp_path).read_text() != before
    private_half(public).write_text("rubbish")
    public.unlink()
    with pytest.raises(StratusLabError, match="cannot read private key"):
        make_key_pair(tmp_path)


AT_ONCE = """
import sys
from pathlib import Path
from stratuslab.ssh.user_public_key import make_key_pair, private_half
print("ready", flush=True)
sys.stdin.readline()
public = make_key_pair(Path(sys.argv[1]))
print(public.read_text() + private_half(public).read_text())
"""


def test_processes_at_once_have_one_pair(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", AT_ONCE, str(tmp_path / "new")]
    processes = [subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    pairs = {process.communicate(timeout=20)[0] for process in processes}
    assert len(pairs) == 1
    assert "PRIVATE KEY" in pairs.pop()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_no_place_for_a_pair(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StratusLabError, match=r"cannot make an SSH key pair in .*/file"):
        make_key_pair(tmp_path / "file")
