"""stratus-copy-files against a real OpenSSH server: to and from machines, and what can go wrong on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.ssh.user_public_key import make_key_pair
from tests.fakes import sshd
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Ran, Shell, eventually

pytestmark = pytest.mark.skipif(bool(sshd.why_not()), reason=sshd.why_not() or "there is one")
clients = pytest.mark.parametrize(
    "client",
    [pytest.param("openssh", marks=pytest.mark.skipif(shutil.which("ssh") is None, reason="this system has no ssh")), "paramiko"],
)
STRANGE = ["with blanks ", 'it\'s "quoted"', "two\nlines", "na\u00efve \u2603", "-r", "a:b", "*", "$HOME `id`"]

Copy = Callable[..., Ran]


@pytest.fixture(params=[True])
def copy(alice: Shell, stage: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Copy]:
    """The command, with two machines that are one server; its parameter says whether that has SFTP."""
    (alice.home / ".ssh" / "id_ed25519.pub").unlink()
    (alice.home / ".ssh").chmod(0o700)
    server = sshd.Sshd(tmp_path / "server", make_key_pair(alice.home / ".ssh").read_text(), sftp=request.param)
    assert alice("run", "-n", "2", "--name-prefix", "web", TTYLINUX).status == 0
    for number in (1, 2):
        stage.runs(number)
        stage.engine.machine_listens(number, "127.0.0.1", server.port)

    def run(*arguments: str, client: str = "openssh") -> Ran:
        return alice.script("stratus-copy-files", "-l", server.user, "--ssh-client", client, *arguments)

    yield run
    server.stop()


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@clients
def test_a_file_goes_there_and_back(copy: Copy, here: Path, there: Path, client: str) -> None:
    content = os.urandom(3_000_001)
    (here / "data").write_bytes(content)
    (here / "data").chmod(0o640)
    assert copy(str(here / "data"), f"web1:{there}", client=client) == Ran(0, "", "")
    assert (there / "data").read_bytes() == content
    assert stat.S_IMODE((there / "data").stat().st_mode) == 0o640
    assert copy(f"1:{there}/data", str(here / "back"), client=client) == Ran(0, "", "")
    assert (here / "back").read_bytes() == content
    assert [path.name for path in there.iterdir()] == ["data"], "nothing is left beside it"
    (here / "data").write_text("new")
    assert copy(str(here / "data"), f"web1:{there}/data", client=client) == Ran(0, "", ""), "what is there is replaced"
    assert (there / "data").read_text() == "new"


@clients
def test_folders_and_strange_names(copy: Copy, here: Path, there: Path, client: str) -> None:
    (here / "tree" / "deep" / "empty").mkdir(parents=True)
    for name in STRANGE:
        (here / "tree" / "deep" / name).write_text(name)
    ran = copy(str(here / "tree"), f"web1:{there}", client=client)
    assert (ran.status, ran.out) == (ExitStatus.FAILED, "")
    assert "is a folder: use -r" in ran.err
    assert copy("-r", str(here / "tree"), f"web1:{there}", client=client) == Ran(0, "", "")
    assert sorted(path.name for path in (there / "tree" / "deep").iterdir()) == sorted([*STRANGE, "empty"])
    assert copy("-r", f"web1:{there}/tree", str(here / "back"), client=client) == Ran(0, "", "")
    assert {path.name: path.read_text() for path in (here / "back" / "deep").iterdir() if path.is_file()} == dict(
        zip(STRANGE, STRANGE, strict=True)
    )
    for name in STRANGE:
        assert copy("--", f"{here}/tree/deep/{name}", f"2:{there}/one", client=client) == Ran(0, "", "")
        assert (there / "one").read_text() == name


def test_one_file_to_several_machines(copy: Copy, here: Path, there: Path) -> None:
    (here / "job").write_text("sleep")
    ran = copy("--format", "json", str(here / "job"), f"1,2,web9:{there}")
    answer = json.loads(ran.out)
    assert ran.status == answer["status"] == ExitStatus.PARTIAL
    assert answer["copies"] == [{"instance": 1, "files": 1, "size_bytes": 5}, {"instance": 2, "files": 1, "size_bytes": 5}]
    assert [error["message"] for error in answer["errors"]] == ['no machine is called "web9"']
    assert (there / "job").read_text() == "sleep"


def test_progress_and_steps_are_told_on_stderr(copy: Copy, here: Path, there: Path) -> None:
    (here / "job").write_text("sleep")
    ran = copy("-v", str(here / "job"), f"web1:{there}")
    assert ran.out == ""
    assert "Copied job, 5 bytes" in ran.err


class TestWhatGoesWrong:
    def test_usage(self, copy: Copy, here: Path) -> None:
        for arguments in ([], ["a"], ["a", "b"], ["1:a", "2:b"], ["a", "1:b", "c"], ["1,2:a", str(here)]):
            ran = copy(*arguments)
            assert (ran.status, ran.out) == (ExitStatus.USAGE, ""), arguments
            assert ran.err.count("\n") == 1

    def test_several_need_a_folder(self, copy: Copy, here: Path, there: Path) -> None:
        (here / "a").write_text("a")
        (here / "b").write_text("b")
        assert copy(f"{here}/a", f"{here}/b", f"1:{there}/c").status == ExitStatus.USAGE
        assert copy(f"{here}/a", f"1:{there}/c/").status == ExitStatus.USAGE
        assert copy(f"1:{here}/a", f"1:{here}/b", f"{there}/c").status == ExitStatus.USAGE
        assert list(there.iterdir()) == []

    def test_the_others_are_copied(self, copy: Copy, here: Path, there: Path) -> None:
        (here / "a").write_text("a")
        os.mkfifo(here / "pipe")
        ran = copy(f"{here}/a", f"{here}/gone", f"{here}/pipe", f"1:{there}")
        assert ran.status == ExitStatus.PARTIAL
        assert f"cannot copy {here}/gone to 1:{there}/gone: No such file or directory" in ran.err
        assert f"{here}/pipe is neither a file nor a folder" in ran.err
        assert [path.name for path in there.iterdir()] == ["a"]

    def test_a_folder_that_leads_back_to_itself(self, copy: Copy, here: Path, there: Path) -> None:
        (here / "tree").mkdir()
        (here / "tree" / "again").symlink_to(here / "tree")
        (here / "tree" / "a").write_text("a")
        ran = copy("-r", f"{here}/tree", f"1:{there}")
        assert ran.status == ExitStatus.PARTIAL
        assert ran.err.count("\n") <= 3
        assert (there / "tree" / "a").read_text() == "a"

    def test_a_full_disk_loses_nothing(self, copy: Copy, here: Path, there: Path) -> None:
        assert Path("/dev/full").exists()
        (here / "data").write_bytes(bytes(300_000))
        ran = copy(f"{here}/data", "1:/dev/full")
        assert ran.status == ExitStatus.FAILED
        assert "its disk may be full" in ran.err
        assert Path("/dev/full").is_char_device()

    @pytest.mark.parametrize("copy", [False], indirect=True)
    def test_a_machine_without_sftp(self, copy: Copy, here: Path, there: Path) -> None:
        (here / "a").write_text("a")
        for client in ("openssh", "paramiko"):
            ran = copy(f"{here}/a", f"1:{there}", client=client)
            assert (ran.status, ran.out) == (ExitStatus.SSH, "")
            assert "localhost has no SFTP server (install one there" in ran.err

    def test_ctrl_c_leaves_nothing_half_done(self, copy: Copy, alice: Shell, here: Path, there: Path) -> None:
        assert copy("--", "/dev/null", f"1:{there}/x").status == ExitStatus.FAILED
        with (here / "huge").open("wb") as file:
            file.truncate(20_000_000_000)
        user = sshd.login_name()
        argv = [sys.executable, str(CHECKOUT / "bin" / "stratus-copy-files"), "-l", user, f"{here}/huge", f"1:{there}"]
        environ = {**alice.environment(), "PYTHONPATH": str(CHECKOUT)}
        with subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            eventually(lambda: list(there.glob(".huge.*.part")))
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to ssh, too
            _, err = process.communicate(timeout=60)
        assert process.returncode == ExitStatus.INTERRUPTED
        assert err == "stratus-copy-files: interrupted\n"
        assert list(there.iterdir()) == []
