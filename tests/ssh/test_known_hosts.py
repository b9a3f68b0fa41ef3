"""The file of host keys, and the names that instances have in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stratuslab
from stratuslab.errors import StratusLabError
from stratuslab.private_files import locked
from stratuslab.ssh.known_hosts import KnownHosts, NotRecorded, host_key_alias

ROOT = Path(stratuslab.__file__).parent.parent
URL = "https://cloud.example.com:2634/xmlrpc"


def test_an_alias_is_readable_and_stays() -> None:
    # To the letter: another alias in a new version would be a new machine to every user.
    assert host_key_alias(URL, 165) == "165.cloud.example.com-2634.96a8a433bf"


@pytest.mark.parametrize(
    "same", ["https://ann:s3cret@cloud.example.com:2634/xmlrpc", f" {URL}/", URL.upper(), URL.replace("//", "//ann@")]
)
def test_users_of_one_cloud_have_the_same_alias(same: str) -> None:
    assert host_key_alias(same, 165) == host_key_alias(URL, 165)


def test_other_clouds_and_instances_have_others() -> None:
    endpoints = [
        URL,
        "https://cloud.example.com:2634/other",
        "http://cloud.example.com:2634/xmlrpc",
        "local",
        "cloud.example.com",
    ]
    assert host_key_alias(f"http://{'h' * 70}/", 1).split(".")[1] == "h" * 60
    aliases = {host_key_alias(endpoint, instance) for endpoint in endpoints for instance in (1, 2, 11)}
    assert len(aliases) == 15


@given(st.text(), st.integers(0, 2**31))
def test_an_alias_has_safe_characters_only(endpoint: str, instance: int) -> None:
    assert re.fullmatch(r"[0-9]+\.[a-z0-9.-]{1,60}\.[0-9a-f]{10}", host_key_alias(endpoint, instance))


def test_no_secret_in_an_alias() -> None:
    assert "s3cret" not in host_key_alias("https://ann:s3cret@cloud.example.com", 1)
    assert "s3cret" not in host_key_alias("ann:s3cret@cloud.example.com", 1)
    assert "s3c" not in host_key_alias("https://ann:s3c/ret@cloud.example.com", 1)


@pytest.fixture
def file(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "new" / "known_hosts")


def test_add_and_forget(file: KnownHosts) -> None:
    assert file.keys("1.a") == []
    assert not file.forget("1.a")
    assert not file.path.parent.exists()
    file.add("1.a", "ssh-ed25519", "AAAA")
    file.add("1.a", "ssh-rsa", "BBBB")
    file.add("11.a", "ssh-rsa", "CCCC")
    assert file.keys("1.a") == [("ssh-ed25519", "AAAA"), ("ssh-rsa", "BBBB")]
    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert file.forget("1.a")
    assert not file.forget("1.a")
    assert file.path.read_text() == "11.a ssh-rsa CCCC\n"
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_the_first_key_begins_the_file(file: KnownHosts) -> None:
    file.add("1.a", "ssh-rsa", "AAAA")
    assert file.path.read_text() == "1.a ssh-rsa AAAA\n"


def test_what_is_not_there_is_forgotten_without_the_lock(file: KnownHosts) -> None:
    file.add("1.a", "ssh-rsa", "AAAA")
    with locked(file.path, 1):
        assert not file.forget("2.a")
        with pytest.raises(NotRecorded, match="cannot write the host key file"):
            file.forget("1.a")
        with pytest.raises(NotRecorded, match="cannot write the host key file"):
            file.add("2.a", "ssh-rsa", "AAAA")
    assert file.keys("1.a") == [("ssh-rsa", "AAAA")]


def test_what_others_wrote_is_kept(file: KnownHosts) -> None:
    file.prepare()
    foreign = "# mine\n@revoked 1.a ssh-rsa XXXX\n\nrubbish\ntwo words\n2.a,3.a ssh-rsa DDDD comment"
    file.path.write_text(foreign)
    assert file.keys("3.a") == [("ssh-rsa", "DDDD")]
    assert file.keys("1.a") == []
    file.add("1.a", "ssh-rsa", "EEEE")
    assert file.path.read_text() == f"{foreign}\n1.a ssh-rsa EEEE\n"
    assert file.forget("1.a", "9.a")
    assert not file.forget("3.a")  # a line for several names is not ours
    assert file.path.read_text() == f"{foreign}\n"


AT_ONCE = """
import sys
from pathlib import Path
from stratuslab.ssh.known_hosts import KnownHosts
file, name = KnownHosts(Path(sys.argv[1])), sys.argv[2]
for round in range(25):
    file.add(f"{name}.{round}", "ssh-rsa", "AAAA")
    file.forget(f"{name}.{round - 1}")
"""


def test_processes_at_once_lose_nothing(file: KnownHosts) -> None:
    argv = [sys.executable, "-c", AT_ONCE, str(file.path)]
    processes = [subprocess.Popen([*argv, str(name)], cwd=ROOT) for name in range(4)]
    assert [process.wait(30) for process in processes] == [0, 0, 0, 0]
    assert sorted(file.path.read_text().split("\n")) == ["", *(f"{name}.24 ssh-rsa AAAA" for name in range(4))]


def test_a_file_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for broken in (KnownHosts(tmp_path / "file" / "known_hosts"), KnownHosts(tmp_path)):
        with pytest.raises(StratusLabError, match="the host key file"):
            broken.add("1.a", "ssh-rsa", "AAAA")
        with pytest.raises(StratusLabError, match="the host key file"):
            broken.keys("1.a")
