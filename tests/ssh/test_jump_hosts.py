"""Jump hosts, blocks for ~/.ssh/config, and the look at a host's key before ssh is started."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import SSHError, Unreachable, UsageError
from stratuslab.ssh.host_key import check_shown_key
from stratuslab.ssh.jump_hosts import banner_through, detour
from stratuslab.ssh.login_target import Jump, Target, jumps
from stratuslab.ssh.openssh import configuration
from stratuslab.ssh.ssh_config_writer import host_block
from stratuslab.ssh.user_public_key import make_key_pair
from tests.fakes import sshd

SSH = shutil.which("ssh") or ""
needs_ssh = pytest.mark.skipif(not SSH, reason="this system has no ssh")
needs_sshd = pytest.mark.skipif(bool(sshd.why_not()), reason=sshd.why_not() or "there is one")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("gate", [Jump("gate")]),
        ("ann@gate.example.org:2222", [Jump("gate.example.org", 2222, "ann")]),
        ("a,b@c,[2001:db8::7]:22", [Jump("a"), Jump("c", 0, "b"), Jump("2001:db8::7", 22)]),
        ("ssh://ann@gate:22", [Jump("gate", 22, "ann")]),
    ],
)
def test_jump_hosts(text: str, found: list[Jump]) -> None:
    assert jumps(text) == found
    assert jumps(",".join(map(str, found))) == found


@pytest.mark.parametrize(
    "text", [",", "a,", "-oProxyCommand=x", "a b", "a@", "@a", "a:", "a:x", "a:70000", "$(id)@a", "[a", "a\n"]
)
def test_no_jump_hosts(text: str) -> None:
    with pytest.raises(UsageError, match="invalid jump host"):
        jumps(text)


@given(st.text())
def test_any_text_is_jump_hosts_or_refused(text: str) -> None:
    try:
        for jump in jumps(text):
            assert not jump.host.startswith("-")
            assert not jump.user.startswith("-")
    except UsageError as error:
        assert "\n" not in str(error)


def test_a_block() -> None:
    target = Target("192.0.2.7", 2222, "165.cloud", Path("/home/ann/.stratuslab/known hosts"), "ubuntu", Path("/k/100%"))
    assert list(host_block(165, "web", target)) == [
        "Host stratus-165 web",
        "    HostName 192.0.2.7",
        "    Port 2222",
        "    User ubuntu",
        "    HostKeyAlias 165.cloud",
        '    UserKnownHostsFile "/home/ann/.stratuslab/known hosts"',
        "    CheckHostIP no",
        "    StrictHostKeyChecking accept-new",
        "    HashKnownHosts no",
        "    IdentityFile /k/100%%",
    ]


@pytest.mark.parametrize("name", ["", "a b", "*", "!web", "-v", "a\nProxyCommand x", "we?b", "ünï", "stratus-165"])
def test_names_that_cannot_be_a_block_s(name: str) -> None:
    assert next(host_block(165, name, Target("h", 22, "a", Path("/k")))) == "Host stratus-165"


@needs_ssh
def test_ssh_reads_the_block_as_it_is_meant(tmp_path: Path) -> None:
    key = tmp_path / 'my "key" 100%'
    target = Target("2001:db8::7", 2222, "165.cloud", tmp_path / "known hosts", "ann", key, only_key=True, jump="b@gate:23")
    file = tmp_path / "config"
    file.write_text("\n".join(host_block(165, "web", target)) + "\n")
    done = subprocess.run([SSH, "-F", str(file), "-G", "web"], capture_output=True, text=True, check=True)
    settings = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert (settings["hostname"], settings["port"], settings["user"]) == ("2001:db8::7", "2222", "ann")
    assert (settings["hostkeyalias"], settings["proxyjump"]) == ("165.cloud", "b@gate:23")
    assert settings["identityfile"].replace("%%", "%") == str(key)
    assert settings["identitiesonly"] == "yes"


@needs_ssh
def test_detours_of_the_users_own_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("Host 10.*\n  ProxyJump gate\nHost 192.*\n  ProxyCommand nc %h %p\n")
    options = ["-F", str(file)]
    assert detour(configuration(SSH, "10.0.0.7", options)) == ("gate", False)
    assert detour(configuration(SSH, "192.0.2.7", options)) == ("", True)
    assert detour(configuration(SSH, "127.0.0.1", options)) == ("", False)
    assert detour(configuration(SSH, "127.0.0.1", [*options, "-J", "other"]))[0] == "other"
    assert detour(configuration("/nowhere/ssh", "10.0.0.7", options)) == ("", False)


@pytest.fixture
def real(tmp_path: Path):
    public = make_key_pair(tmp_path)
    running = sshd.Sshd(tmp_path / "server", public.read_text())
    yield running
    running.stop()


@needs_sshd
@needs_ssh
def test_a_banner_through_another_host(real: sshd.Sshd, tmp_path: Path) -> None:
    own = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path}/known"]
    through = f"{real.user}@127.0.0.1:{real.port}"
    read = banner_through(SSH, through, [*own, "-i", str(tmp_path / "id_ed25519")])
    assert str(read("127.0.0.1", real.port, 5)).startswith("SSH-2.0-OpenSSH")
    with pytest.raises(Unreachable, match="through 127"):
        read("127.0.0.1", 1, 5)
    wants_a_person = banner_through(SSH, through, [*own, "-i", str(tmp_path / "none"), "-o", "IdentityAgent=none"])
    assert wants_a_person("127.0.0.1", real.port, 5) == ""
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"through 127.*[Rr]efused"):
        banner_through(SSH, "127.0.0.1:1", own)("127.0.0.1", real.port, 5)
    assert time.monotonic() - began < 5


@needs_sshd
@needs_ssh
def test_the_key_that_a_host_shows(real: sshd.Sshd) -> None:
    kind, text = (real.directory / "host_key.pub").read_text().split()[:2]
    check_shown_key(SSH, "127.0.0.1", real.port, [(kind, text)])
    with pytest.raises(SSHError, match="host key has changed") as caught:
        check_shown_key(SSH, "127.0.0.1", real.port, [(kind, text[:-4] + "AAAA")])
    assert "--forget-host-key" in caught.value.hint
    with pytest.raises(SSHError, match="host key has changed"):
        check_shown_key(SSH, "127.0.0.1", real.port, [("ssh-rsa", text)])
    # Nothing is said where nothing is known for certain: ssh itself will refuse.
    check_shown_key(SSH, "127.0.0.1", 1, [(kind, text)])
    check_shown_key("/nowhere/ssh", "127.0.0.1", real.port, [(kind, text)])
