"""The page "My machine failed": its command lines are run, and what they answer is what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab.diagnosis.causes import CAUSES, DISKS_NOT_SAVED, LOCKED
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.status_and_reset import reset
from tests.harness import CHECKOUT, Shell

PAGE = CHECKOUT / "docs" / "my-machine-failed.rst"


def transcript() -> list[tuple[str, str]]:
    """The page's command lines, each with what stands below it."""
    told: list[list[str]] = []
    in_block = False
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("    $ "):
            told.append([line[6:]])
            in_block = True
        elif line and not line.startswith("    "):
            in_block = False
        elif in_block:
            told[-1].append(line[4:])
    return [(command, "\n".join(output)) for command, *output in told]


def steady(text: str) -> str:
    """The text on one line, without what differs from run to run: times, durations, keys, ports, polls, how long bars are."""
    for pattern, replacement in (
        (r"\s+", " "),
        (r" \(last seen \d+ (?:s|min) ago\)", ""),
        (r"\d+ (?:s|min|h|d)(?: \d+ (?:s|min|h))?\b", "TIME"),
        (r"\d{4}-\d\d-\d\d", "DATE"),
        (r"\d\d:\d\d:\d\d", "CLOCK"),
        (r"█+", "BAR"),
        (r"SHA256:\S+|AAAAC3\S+", "KEY"),
        (r"SSH server on \S+ port \d+", "SSH server"),
        (r"Unknown 1 \d+ \d+", "Unknown"),
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
    yield {**environment, "PATH": f"{programs}{os.pathsep}{environment['PATH']}", "PYTHONPATH": str(CHECKOUT)}
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


def test_the_transcript_is_what_happens(environ: dict[str, str]) -> None:
    told = transcript()
    assert len(told) > 10
    written = run([command for command, _ in told], environ)
    assert [(command, steady(output)) for (command, _), output in zip(told, written, strict=True)] == [
        (command, steady(output)) for command, output in told
    ]


def test_the_known_causes_are_those_of_the_page() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    for cause in (*CAUSES, LOCKED, DISKS_NOT_SAVED):
        means, advice = (text[0].upper() + text[1:] for text in (cause.means, cause.advice))
        assert f"* - {cause.name} - {means}. - {advice}." in page
