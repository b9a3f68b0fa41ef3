"""The page "From cron": its script and each of its command lines, in the environment that cron gives a job."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.status_and_reset import reset
from tests.harness import CHECKOUT, TTYLINUX, Ran

PAGE = CHECKOUT / "docs" / "from-cron.rst"


class Cron:
    """Runs shell lines as cron does: a short environment, nothing on stdin, no terminal."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.home.mkdir()
        commands = directory / "bin"
        commands.mkdir()
        for script in (CHECKOUT / "bin").iterdir():
            commands.joinpath(script.name).symlink_to(script)
        python = commands / "python3"
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        self.cloud = self.home / "cloud"
        self.environ = {
            "HOME": str(self.home),
            "LOGNAME": "jane",
            "SHELL": "/bin/sh",
            "PATH": f"{commands}:/usr/bin:/bin",
            "LANG": "C",
            "STRATUSLAB_ENDPOINT": "local",
            "STRATUSLAB_LOCAL_DIR": str(self.cloud),
            "STRATUSLAB_LOCAL_ADDRESSES": str(self.home / "addresses"),
        }

    def __call__(self, line: str, environ: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.environ if environ is None else environ,
            cwd=self.home,
            timeout=110,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def cron(tmp_path: Path) -> Iterator[Cron]:
    job = Cron(tmp_path)
    (job.home / ".ssh").mkdir(mode=0o700)
    yield job
    if job.cloud.exists():
        engine = Engine(job.cloud)
        reset(engine)
        engine.close()


def with_key(cron: Cron) -> None:
    """Let the first machine be, so that the key pair of our own is there and nothing needs to be said about it."""
    assert cron(f"stratus-run-instance {TTYLINUX}").status == 0
    assert cron("stratus-kill-instance --all --yes").status == 0


def states(cron: Cron) -> list[str]:
    return cron("stratus-describe-instance --columns state --no-header").out.split()


@pytest.mark.skipif(shutil.which("ssh") is None, reason="this system has no ssh")
def test_the_script(cron: Cron) -> None:
    ran = cron(f"timeout 100 {CHECKOUT / 'docs' / 'nightly.sh'}")
    assert ran.status == 0, ran.err
    assert ran.out.count(" is up\n") == 5
    assert ran.err == ""
    assert states(cron) == []


def test_the_script_leaves_nothing_behind_when_it_fails(cron: Cron) -> None:
    with_key(cron)
    other = cron(f"stratus-run-instance -q --format ids {TTYLINUX}").out
    script = (CHECKOUT / "docs" / "nightly.sh").read_text("utf-8")
    failing = re.sub(r"^    stratus-connect-instance.*$", "    false", script, flags=re.MULTILINE)
    assert failing != script
    (cron.home / "job.sh").write_text(failing)
    assert cron("sh job.sh").status == 1
    assert cron("stratus-describe-instance --format ids").out == other


def lines_of_the_page() -> list[str]:
    return re.findall(r"^    \$ (.*)$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_each_command_line(cron: Cron) -> None:
    with_key(cron)
    lines = lines_of_the_page()
    assert len(lines) >= 10
    told = 'on_error() { echo "failed: $BASH_COMMAND" >&2; }; trap on_error ERR; set -eu\n'
    ran = cron(told + "\n".join(lines))
    assert (ran.status, ran.err) == (0, "")
    report = (cron.home / "report.csv").read_text()
    assert report.splitlines()[0].startswith("id,state,")
    assert '"errors": []' in (cron.home / "failed.json").read_text()
    assert 'LABELS = "report"' in (cron.home / "template.txt").read_text()
    assert "Running" in (cron.home / "report.txt").read_text()
    assert states(cron) == []


def test_an_environment_with_nothing_in_it(cron: Cron) -> None:
    with_key(cron)
    key = cron.home / ".stratuslab" / "id_ed25519.pub"
    bare = {
        name: cron.environ[name] for name in ("PATH", "STRATUSLAB_ENDPOINT", "STRATUSLAB_LOCAL_DIR", "STRATUSLAB_LOCAL_ADDRESSES")
    }
    for streams in ("", "<&- 2>&-"):
        ran = cron(f"stratus-run-instance -q --format ids -k {key} --vm-name 'caf\u00e9' {TTYLINUX} {streams}", bare)
        assert (ran.status, ran.err) == (0, "")
        number = ran.out.strip()
        for form in ("table", "json", "csv", "ids"):
            ran = cron(f"stratus-describe-instance -q --format {form} {streams}", bare)
            assert (ran.status, ran.err) == (0, "")
            assert number in ran.out
        ran = cron(f"stratus-kill-instance -q --all --dry-run {streams}", bare)
        assert (ran.status, ran.err) == (0, "")


def session(page: str, command: str) -> tuple[str, str]:
    """A command line that a page of the manual shows, and what it shows as its answer."""
    text = (CHECKOUT / "docs" / f"{page}.rst").read_text("utf-8")
    shown = re.search(rf"^    \$ ({command}.*)\n((?:    .*\n)+)", text, re.MULTILINE)
    assert shown is not None
    return shown[1], re.sub(r"^    ", "", shown[2], flags=re.MULTILINE)


def test_answers_are_as_the_manual_shows_them(cron: Cron) -> None:
    line, answer = session("config", "stratus-config")
    assert cron(line) == Ran(0, answer, "")
    assert cron(f"stratus-run-instance --wait-for running {TTYLINUX}").status == 0
    line, answer = session("answers", "stratus-describe-instance 1 77")
    ran = cron(line)
    assert (ran.status, ran.out) == (5, answer)


def test_several_at_once(cron: Cron) -> None:
    with_key(cron)
    ran = cron(f"for i in 1 2 3 4 5 6; do stratus-run-instance -q --format ids {TTYLINUX} & done; wait")
    assert ran.err == ""
    assert len(set(ran.out.split())) == 6
    assert len(states(cron)) == 6


def test_nobody_reads_on(cron: Cron) -> None:
    with_key(cron)
    cron(f"stratus-run-instance -n 3 {TTYLINUX}")
    for form in ("table", "json", "csv", "ids"):
        ran = cron(f"{{ sleep 0.3; stratus-describe-instance --format {form}; echo $? >&2; }} | true")
        assert ran == Ran(0, "", "141\n")
