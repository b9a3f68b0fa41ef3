"""stratus-connect-instance against the embedded cloud's simulated machines: real SSH servers, real sessions."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from stratuslab.errors import ExitStatus
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.status_and_reset import reset
from tests.harness import CHECKOUT, TTYLINUX, Shell

SCRIPT = "stratus-connect-instance"
needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="this system has no ssh")


@pytest.fixture
def local(shell: Shell) -> Iterator[Shell]:
    """A user of the embedded cloud, without any key of their own, whose machines are ended afterwards."""
    (shell.home / ".ssh" / "id_ed25519.pub").unlink()
    shell.environ["STRATUSLAB_ENDPOINT"] = "local"
    yield shell
    engine = Engine(Path(shell.environment()["STRATUSLAB_LOCAL_DIR"]))
    reset(engine)
    engine.close()


def without_ssh(shell: Shell) -> dict[str, str]:
    """An environment in which no ssh is found."""
    empty = shell.home / "empty"
    empty.mkdir(exist_ok=True)
    return {"PATH": str(empty)}


def session(shell: Shell, number: int, environ: dict[str, str]) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        [str(CHECKOUT / "bin" / "stratus-connect-instance"), str(number)],
        env={**shell.environment(), "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", **environ},
        encoding="utf-8",
        timeout=30,
    )


def test_two_clouds_of_one_computer(local: Shell, tmp_path: Path) -> None:
    """Each user reaches the machine of their own, which has an address that no machine of the other one has."""
    other = Shell(tmp_path / "other", {"STRATUSLAB_ENDPOINT": "local"})
    addresses = []
    try:
        for shell, name in ((local, "mine"), (other, "yours")):
            ran = shell("run", "-q", "--vm-name", name, "--wait-for", "ssh", TTYLINUX)
            assert ran.status == 0, ran.err
            addresses.append(ran.out.split()[1])
        for shell, name in ((local, "mine"), (other, "yours")):
            assert shell.script(SCRIPT, "1", "--", "hostname").out == f"{name}\n"
    finally:
        other("kill", "--all", "--yes")
    assert addresses == ["127.101.0.1", "127.101.1.1"]


@pytest.mark.parametrize("client", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_the_guides_session(local: Shell, client: str) -> None:
    environ = without_ssh(local) if client == "paramiko" else {}
    assert local("run", TTYLINUX).status == 0
    person = session(local, 1, environ)
    person.expect_exact("# ")
    person.sendline("echo $USER")
    person.expect_exact("root\r\n# ")
    person.sendline("shutdown -h")
    person.expect("closed by (the )?remote host")
    person.expect(pexpect.EOF)
    person.close()
    assert person.exitstatus == 255

    row = local("describe", "1").out.splitlines()[1].split()
    assert (row[0], row[1]) == ("1", "Unknown")
    refused = local("connect", "1")
    assert refused.status == ExitStatus.INSTANCE_FAILED
    assert "no longer seen" in refused.err
    assert local("kill", "1").status == 0
    assert local("describe", "1").out.splitlines()[1].split()[1] == "Done"


@pytest.mark.parametrize("client", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_a_command_with_its_streams_and_its_status(local: Shell, client: str) -> None:
    environ = without_ssh(local) if client == "paramiko" else {}
    assert local("run", "-t", "c1.xlarge", "--vm-name", "worker", TTYLINUX).status == 0
    connect = "stratus-connect-instance"
    assert local.script(connect, "worker", "--", "echo", "$USER", "-v", environ=environ).out == "root -v\n"
    assert local.script(connect, "worker", "--", "nproc", environ=environ).out == "4\n"
    assert local.script(connect, "worker", "--", "cat", stdin="a\n\nb", environ=environ).out == "a\n\nb"
    assert local.script(connect, "worker", "--", "exit 7", environ=environ).status == 7
    assert local.script(connect, "worker", "--", "no-such-command", environ=environ).status == 127


@pytest.mark.skipif(shutil.which("scp") is None, reason="the system has no scp")
def test_the_manuals_scp_to_a_simulated_machine(local: Shell) -> None:
    assert local("run", "--vm-name", "web", TTYLINUX).status == 0
    assert local.script("stratus-connect-instance", "1", "--", "cat > /etc/motd", stdin="hello\n").status == 0
    config, archive, back = (local.home / name for name in ("config", "data.tar", "back"))
    config.write_text(local("connect", "--ssh-config").out)
    archive.write_bytes(bytes(range(256)) * 1000)
    for words in ((archive, "stratus-1:"), ("web:data.tar", back), ("web:/etc/motd", local.home)):
        argv = ["scp", "-q", "-o", "BatchMode=yes", "-F", str(config), *map(str, words)]
        subprocess.run(argv, check=True, timeout=30, stdin=subprocess.DEVNULL)
    assert back.read_bytes() == archive.read_bytes()
    assert (local.home / "motd").read_text() == "hello\n"
    assert local.script("stratus-connect-instance", "1", "--", "ls").out == "data.tar\n"


@pytest.mark.parametrize("client", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_a_hundred_megabytes_both_ways(local: Shell, client: str, tmp_path: Path) -> None:
    assert local("run", TTYLINUX).status == 0
    given, back = tmp_path / "given", tmp_path / "back"
    digest = hashlib.sha256()
    with given.open("wb") as file:
        for number in range(100):
            block = hashlib.sha512(b"%d" % number).digest() * 15625
            digest.update(block)
            file.write(block)
    argv = [sys.executable, str(CHECKOUT / "bin" / SCRIPT), "--ssh-client", client, "1", "--", "cat"]
    environ = {**local.environment(), "PYTHONPATH": str(CHECKOUT)}
    with given.open("rb") as stdin, back.open("wb") as stdout:
        assert subprocess.run(argv, stdin=stdin, stdout=stdout, env=environ, timeout=110, check=False).returncode == 0
    assert back.stat().st_size == 100_000_000
    assert hashlib.sha256(back.read_bytes()).digest() == digest.digest()


@pytest.mark.parametrize("client", [pytest.param("openssh", marks=needs_ssh), "paramiko"])
def test_a_command_on_several(local: Shell, client: str) -> None:
    assert local("run", "-n", "12", TTYLINUX).status == 0
    numbers = [str(number) for number in range(1, 13)]
    ran = local.script(SCRIPT, "--ssh-client", client, "--parallel", "4", *numbers, "--", "hostname; hostname")
    said = [line for line in ran.err.splitlines() if not line.endswith("waiting for it")]
    assert (ran.status, said) == (0, [f"{SCRIPT}: done on 12 machines"])
    assert sorted(ran.out.splitlines()) == sorted(f"{number:>2}: one-{number}" for number in numbers for _ in range(2))
    local("kill", "3")
    ran = local.script(SCRIPT, "--ssh-client", client, *numbers, "--", "true")
    assert (ran.status, ran.out) == (ExitStatus.PARTIAL, "")
    assert "machine 3 ended" in ran.err
    assert ran.err.endswith(f"{SCRIPT}: failed on 1 of 12 machines\n")


@needs_ssh
def test_the_machine_is_killed_during_the_session(local: Shell) -> None:
    assert local("run", "-n", "2", TTYLINUX).status == 0
    for number, environ in ((1, {}), (2, without_ssh(local))):
        person = session(local, number, environ)
        person.expect_exact("# ")
        assert local("kill", str(number)).status == 0
        person.expect("closed by (the )?remote host")
        person.expect(pexpect.EOF)
        person.close()
        assert person.exitstatus == 255


@needs_ssh
def test_host_keys_are_kept_apart_from_the_users_own(local: Shell) -> None:
    assert local("run", TTYLINUX).status == 0
    assert local.script("stratus-connect-instance", "1", "--", "true").status == 0
    ours = local.home / ".stratuslab" / "known_hosts"
    assert ours.read_text().count("\n") == 1
    assert not (local.home / ".ssh" / "known_hosts").exists()
    assert local("kill", "1").status == 0
    assert ours.read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ((), ExitStatus.USAGE, "no machine given"),
        (("77",), ExitStatus.NOT_FOUND, "77"),
        (("nobody",), ExitStatus.NOT_FOUND, "nobody"),
        (("-k", "/nonexistent/key", "1"), ExitStatus.USAGE, "/nonexistent/key"),
    ],
)
def test_bad_input(local: Shell, arguments: tuple[str, ...], status: int, words: str) -> None:
    assert local("run", TTYLINUX).status == 0
    ran = local("connect", *arguments)
    assert (ran.status, ran.err.count("\n")) == (status, 1)
    assert words in ran.err


def test_an_instance_that_failed_is_refused_with_the_reason(local: Shell) -> None:
    assert local("run", "--no-check-image-url", "A" * 27).status == ExitStatus.INSTANCE_FAILED
    ran = local("connect", "1")
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert "while preparing its disks (prolog)" in ran.err
