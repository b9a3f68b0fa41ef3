"""The sessions that README, its picture and the manual show: their command lines are run, and answer what is shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stratuslab.commands import completion_scripts
from stratuslab.diagnosis.causes import CAUSES, DISKS_NOT_SAVED, LOCKED
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.status_and_reset import reset
from tests.harness import CHECKOUT, TTYLINUX, Shell

FAILED = "docs/my-machine-failed.rst"
PICTURE = "docs/images/session.svg"


def text(path: str) -> str:
    """A page, or the lines of the picture as if they were one."""
    if not path.endswith(".svg"):
        return (CHECKOUT / path).read_text("utf-8")
    lines = ElementTree.parse(CHECKOUT / path).iter("{http://www.w3.org/2000/svg}text")
    return "".join(f"    {''.join(line.itertext())}\n" for line in lines)


def transcript(path: str) -> list[tuple[str, str]]:
    """The page's command lines, each with what stands below it; not those with a session on a machine (``# ...``)."""
    told: list[list[str]] = []
    in_block = False
    for line in text(path).splitlines():
        if line.startswith("    $ "):
            told.append([line[6:]])
            in_block = True
        elif line and not line.startswith("    "):
            in_block = False
        elif in_block:
            told[-1].append(line[4:])
    return [(command, "\n".join(output)) for command, *output in told if not any(line.startswith("# ") for line in output)]


def steady(text: str) -> str:
    """The text on one line, without what differs from run to run: times, durations, keys, ports, polls, how long bars are."""
    for pattern, replacement in (
        (r"Warning: Permanently added '[^']+' \(ED25519\) to the list of known hosts\.\n?", ""),
        (r"\s+", " "),
        (r" \(last seen \d+ (?:s|min) ago\)", ""),
        (r"\d+ (?:s|min|h|d)(?: \d+ (?:s|min|h))?\b", "TIME"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"\d\d:\d\d:\d\d", "CLOCK"),
        (r"█+", "BAR"),
        (r"SHA256:\S+|AAAAC3\S+", "KEY"),
        (r"SSH server on \S+ port \d+", "SSH server"),
        (r"(Running|Unknown|Poweroff|Done) 1 \d+ \d+", r"\1"),  # memory and processors, as last measured
        (r"(^|\n)stratus-run-instance: no public key in \S+ created the key pair \S+", ""),
    ):
        text = re.sub(pattern, replacement, text)
    return text.strip()


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment that has the commands in its PATH, and whose machines are ended afterwards."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for script in (CHECKOUT / "bin").iterdir():
        program = programs / script.name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        program.chmod(0o755)
    environment = Shell(tmp_path / "home").environment()
    yield {
        **environment,
        "PATH": f"{programs}{os.pathsep}{environment['PATH']}",
        "PYTHONPATH": str(CHECKOUT),
        "STRATUSLAB_ENDPOINT": "local",
    }
    engine = Engine(Path(environment["STRATUSLAB_LOCAL_DIR"]))
    reset(engine)
    engine.close()


def run(commands: list[str], environ: dict[str, str]) -> list[str]:
    """What each of the commands writes, run by one shell."""
    mark = "--- next command ---"
    script = f"\necho '{mark}'\n".join(commands)
    # A command between two others would change "$?".
    script = script.replace(f"echo '{mark}'\necho $?", f"status=$?; echo '{mark}'\necho $status")
    home = Path(environ["HOME"])
    home.mkdir(exist_ok=True)
    ran = subprocess.run(
        ["bash", "-c", script],
        env=environ,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=110,
        check=False,
    )
    return ran.stdout.split(f"{mark}\n")


@pytest.fixture
def own_image(environ: dict[str, str]) -> None:
    """A disk that looks as if a BIOS could boot it, in the home directory."""
    home = Path(environ["HOME"])
    home.mkdir(exist_ok=True)
    home.joinpath("disk.raw").write_bytes(bytes(510) + b"\x55\xaa" + bytes(2**20))


MACHINES = (
    f"stratus-run-instance -q -n 3 {TTYLINUX}",
    f"stratus-run-instance -q --name web1 {TTYLINUX}",
    f"stratus-run-instance -q --name web {TTYLINUX}",
    "stratus-describe-instance -q --wait-for ssh",
)

# docs/lifecycle.rst has a test of its own, which waits for what it shows.
PAGES = [(FAILED, 11), (PICTURE, 10), ("docs/many-machines.rst", 8), ("docs/own-image.rst", 5), ("docs/exit-statuses.rst", 2)]


@pytest.mark.parametrize(("page", "at_least"), PAGES, ids=str)
@pytest.mark.usefixtures("own_image")
def test_the_transcript_is_what_happens(page: str, at_least: int, environ: dict[str, str]) -> None:
    told = transcript(page)
    assert len(told) >= at_least
    written = run([command for command, _ in told], environ)
    assert [(command, steady(output)) for (command, _), output in zip(told, written, strict=True)] == [
        (command, steady(output)) for command, output in told
    ]


def test_the_known_causes_are_those_of_the_page() -> None:
    page = " ".join(text(FAILED).split())
    for cause in (*CAUSES, LOCKED, DISKS_NOT_SAVED):
        means, advice = (text[0].upper() + text[1:] for text in (cause.means, cause.advice))
        assert f"* - {cause.name} - {means}. - {advice}." in page


@pytest.mark.usefixtures("own_image")
def test_the_commands_of_the_readme_work(environ: dict[str, str]) -> None:
    first = re.search(r"&& (stratus-run-instance .*)$", text("README.rst"), re.MULTILINE)
    assert first is not None
    Path(environ["HOME"], "README.rst").write_text(text("README.rst"))
    lines = [first[1], *(command for command, _ in transcript("README.rst"))]
    assert len(lines) >= 8
    failed = "trap 'echo \"failed: $BASH_COMMAND\"' ERR"
    written = run([failed, *lines, "stratus-describe-instance --all-states --columns state --no-header"], environ)
    assert [output for output in written if "failed: " in output] == []
    assert written[-1] == "Done\n"


def test_what_works_on_the_embedded_cloud_works_on_an_opennebula(environ: dict[str, str]) -> None:
    """The page about moving there, with the embedded cloud served as that OpenNebula."""
    page = "docs/moving-to-opennebula.rst"
    server = subprocess.Popen(
        [sys.executable, str(CHECKOUT / "bin" / "stratus-local-cloud"), "serve", "--port", "0", "--user", "jane:secret"],
        stdout=subprocess.PIPE,
        env=environ,
        text=True,
    )
    try:
        assert server.stdout is not None
        endpoint = server.stdout.readline().split()[0]
        block = re.search(r"^    (\[default\]\n(?:    .*\n)+)", text(page), re.MULTILINE)
        assert block is not None
        file = Path(environ["HOME"], ".stratuslab", "stratuslab-user.cfg")
        file.parent.mkdir(parents=True, mode=0o700)
        file.write_text(re.sub(r"^ +", "", block[1], flags=re.MULTILINE).replace("one.example.org:2633", endpoint))
        file.chmod(0o600)
        told = transcript(page)
        assert len(told) >= 6
        written = run([command for command, _ in told], environ)
    finally:
        server.terminate()
        server.communicate(timeout=20)
    # It names the port of the server.
    written = [re.sub(r"^Cloud: .*\n", "", output) for output in written]
    assert [(command, steady(output)) for (command, _), output in zip(told, written, strict=True)] == [
        (command, steady(output)) for command, output in told
    ]


# The examples on the pages of commands

SETUP = {
    "answers": (f"stratus-run-instance -q --wait-for running {TTYLINUX}",),
    "choosing-machines": (*MACHINES, "stratus-update-instance 1 --label nightly"),
    "common-options": (),
    "connect-instance": (*MACHINES, "echo hello > motd"),
    "copy-config": (),
    "copy-files": (*MACHINES, "touch data.csv job.sh", "mkdir results", "stratus-copy-files -r results web1:"),
    "config": (),
    "describe-instance": (
        f"stratus-run-instance -q --wait-for running {TTYLINUX}",
        f"stratus-run-instance -q --ram 99999999 {TTYLINUX}",
    ),
    "embedded-cloud": (),
    "install": ("mkdir -p .venv .stratuslab .local/state/stratuslab",),
    "kill-instance": MACHINES,
    "list-networks": (),
    "local-cloud": (f"stratus-run-instance -q -n 2 --wait-for running {TTYLINUX}",),
    "login-options": MACHINES,
    "reboot-instance": MACHINES,
    "run-instance": (),
    "search-image": (),
    "show-image": (),
    "shutdown-instance": MACHINES,
    "start-instance": (*MACHINES, "stratus-stop-instance 1 web1"),
    "stop-instance": MACHINES,
    "update-instance": MACHINES,
}
"""What is done before the examples of a page are run."""

PLACEHOLDERS = {
    "165": "1",
    "166": "2",
    "167": "3",
    "TOKEN": "$(stratus-describe-instance -vvv 1 2>/dev/null | sed -n 's/.*<STRATUSLAB_REQUEST>\\([^<]*\\).*/\\1/p')",
}
"""What the examples leave to the reader."""

ELSEWHERE = {
    "README.rst": "above, and by .ci/run",
    "docs/from-cron.rst": "tests/test_from_cron.py",
    "docs/lifecycle.rst": "tests/test_lifecycle_page.py",
    "docs/moving-to-opennebula.rst": "above",
    **{page: "above" for page, _ in PAGES},
}
"""Pages whose command lines are run by other tests."""

NOT_RUN = {
    "stratus-describe-instance 1 77 ": "it fails on purpose: tests/test_from_cron.py",
    "stratus-local-cloud serve ": "it ends only when it is stopped: tests/commands/test_local_cloud.py",
    "stratus-run-instance $(stratus-local-cloud build-image tiny)": "it needs QEMU: .ci/run",
    "stratus-connect-instance -J ": "needs a jump host: tests/commands/test_connect_sshd.py",
    "rsync ": "simulated machines have no rsync",
    "ansible ": "simulated machines have no Python",
    "sudo apt-get install": "it changes the system: .ci/run",
    "python3 -m venv ": "it installs the package: .ci/run",
    "pip install ": "it installs packages: .ci/run, by tox",
    "man build/": "it needs the line before: .ci/check_package.py",
    'eval "$(stratus-config --completion zsh)"': "it is for zsh: tests/commands/test_completion_scripts.py",
    "stratus-config --completion fish": "it is for fish: tests/commands/test_completion_scripts.py",
    "tox": "it takes an hour",
    "python -m tests.reliability": "it takes minutes: tests/reliability",
    ".ci/run": "it runs the tests",
    "git ": "it changes the repository",
    "rm -rf dist ": "it builds the package: .ci/run, by tox",
}
"""Command lines that no test of this file runs, by their beginnings, and why."""

PROGRAMS = ("stratus-", "python", "pip ", "sudo ", "man ", "eval ", "rsync ", "ansible ", "tox", ".ci/", "git ", "rm ")


def command_lines(page: str) -> list[str]:
    """The command lines that a page shows, with a prompt or without."""
    blocks = "".join(re.findall(r"::\n\n((?:(?: {4,}.*)?\n)+)", text(page)))
    lines = re.findall(r"^ +(?:\$ (.+)|(.+))$", blocks, re.MULTILINE)
    return [prompted or line for prompted, line in lines if prompted or line.startswith(PROGRAMS)]


def is_run(line: str) -> bool:
    return not line.startswith(tuple(NOT_RUN))


@pytest.mark.parametrize("name", SETUP)
def test_the_examples_are_what_happens(name: str, environ: dict[str, str]) -> None:
    """They succeed, and answer what is shown below them, if something is."""
    page = f"docs/{name}.rst"
    shown = {command: output for command, output in transcript(page) if output.strip()}
    lines = [line for line in command_lines(page) if is_run(line)]
    assert lines
    filled = [re.sub(r"\b(16[567]|TOKEN)\b", lambda found: PLACEHOLDERS[found[0]], line) for line in lines]
    written = run(["trap 'echo \"failed: $BASH_COMMAND\"' ERR", *SETUP[name], *filled], environ)
    answers = written[-len(lines) :]
    assert [output for output in written if "failed: " in output] == []
    home = environ["HOME"]
    for line, answer in zip(lines, answers, strict=True):
        if line in shown:
            assert steady(answer.replace(home, "/home/jane")) == steady(shown[line])


def test_every_command_line_is_run_or_it_is_said_why_not() -> None:
    pages = ["README.rst", "CONTRIBUTING.rst", *(f"docs/{page.name}" for page in sorted((CHECKOUT / "docs").glob("*.rst")))]
    tested = {*ELSEWHERE, *(f"docs/{name}.rst" for name in SETUP)}
    lines = {(page, line) for page in pages for line in command_lines(page)}
    assert [(page, line) for page, line in sorted(lines) if page not in tested and is_run(line)] == []
    assert [start for start in NOT_RUN if not any(line.startswith(start) for _, line in lines)] == []


def test_the_options_that_the_text_names_exist() -> None:
    known = {
        command.prog: {name for parser in command.parser().with_actions() for name in parser._option_string_actions}
        for command in completion_scripts.commands()
    }
    for path in ("README.rst", *sorted(f"docs/{page.name}" for page in (CHECKOUT / "docs").glob("*.rst"))):
        for words in re.findall(r"``(stratus-[^`]+)``", text(path)):
            program, *rest = words.split(" -- ")[0].split()
            if program in known:
                options = {word.partition("=")[0] for word in rest if word.startswith("--")}
                assert options <= known[program], f"{path}: {words}"
