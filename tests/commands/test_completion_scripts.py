"""Completion for shells, and man pages: made from the parsers, and taken by the programs that read them."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab.commands import completion_scripts
from stratuslab.commands.command_declaration import Command
from stratuslab.commands.man_page import man_page, statuses
from stratuslab.errors import ExitStatus
from tests.harness import CHECKOUT, TTYLINUX, Shell

COMMANDS = completion_scripts.commands()


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"this system has no {program}")


def output(*words: str, stdin: str = "") -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


def test_the_commands_are_those_of_the_scripts() -> None:
    assert sorted(command.prog for command in COMMANDS) == sorted(path.name for path in (CHECKOUT / "bin").iterdir())


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("completion")
    for shell in completion_scripts.SHELLS:
        ran = Shell(directory)("config", "--completion", shell)
        assert (ran.status, ran.err) == (0, "")
        (directory / shell).write_text(ran.out, "utf-8")
    return directory


@needs("bash")
@pytest.mark.parametrize(
    ("prog", "before", "word", "offers"),
    [
        ("stratus-run-instance", "", "--lab", "--label"),
        ("stratus-describe-instance", "--format", "", "table json csv spreadsheet ids"),
        ("stratus-local-cloud", "", "res", "reset"),
        ("stratus-local-cloud", "images", "--for", "--format"),
        ("stratus-config", "--completion", "f", "fish"),
    ],
)
def test_bash(scripts: Path, prog: str, before: str, word: str, offers: str) -> None:
    words = f'{prog} {before} "{word}"'
    program = (
        f"source {scripts / 'bash'}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        f'_shtab_{prog.replace("-", "_")} {prog} "{word}" "{before or prog}"; echo "${{COMPREPLY[@]}}"'
    )
    assert output("bash", "-c", program) == offers + "\n"


def environ(shell: Shell) -> dict[str, str]:
    """With the scripts on PATH, as completion calls them."""
    path = f"{Path(sys.executable).parent}:{CHECKOUT / 'bin'}:{os.environ['PATH']}"
    return {**shell.environment(), "PATH": path, "PYTHONPATH": str(CHECKOUT)}


@needs("bash")
@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("stratus-kill-instance w", "web1"),
        ("stratus-run-instance --type c1.m", "c1.medium"),
        ("stratus-run-instance one:tt", "one:ttylinux"),
        ("stratus-describe-instance --wait-for prolog_resume_", "prolog_resume_failure"),
        ("stratus-describe-instance --columns addresse", "addresses"),
    ],
)
def test_bash_offers_what_the_cloud_has(scripts: Path, alice: Shell, line: str, offers: str) -> None:
    assert alice("run", "--name", "web1", TTYLINUX).status == 0
    program = f"""source {scripts / "bash"}; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}
        [[ $COMP_WORDBREAKS != *:* ]] || exit
        words=($COMP_LINE); COMP_WORDS=("${{words[@]}}"); COMP_CWORD=$((${{#words[@]}} - 1))
        _shtab_${{words[0]//-/_}} "${{words[0]}}" "${{words[-1]}}" "${{words[-2]}}"; echo "${{COMPREPLY[@]}}\""""
    done = subprocess.run(["bash", "-c", program], env=environ(alice), capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (f"{offers}\n", "")


@needs("fish")
def test_fish_offers_what_the_cloud_has(scripts: Path, alice: Shell) -> None:
    assert alice("run", "--name", "web1", TTYLINUX).status == 0
    program = f'source {scripts / "fish"}; complete -C "stratus-kill-instance w"'
    done = subprocess.run(["fish", "-c", program], env=environ(alice), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[0] == "web1"


class TestValues:
    def values(self, shell: Shell, kind: str) -> list[str]:
        ran = shell("config", "--values-of", kind)
        assert (ran.status, ran.err) == (0, "")
        return ran.out.split()

    def test_are_those_of_cloud_and_configuration(self, alice: Shell) -> None:
        for name in ("web1", "two words", "twin", "twin"):
            assert alice("run", "-q", "--vm-name", name, TTYLINUX).status == 0
        assert self.values(alice, "instances") == ["4", "3", "2", "1", "web1"]
        assert "one:ttylinux" in self.values(alice, "images")
        assert self.values(alice, "networks") == ["private", "local", "public"]
        assert "m1.small" in self.values(alice, "types")

    def test_are_kept_for_a_moment(self, alice: Shell) -> None:
        now = time.time()
        alice.clock = lambda: now
        assert self.values(alice, "instances") == []
        assert alice("run", "-q", TTYLINUX).status == 0
        assert self.values(alice, "instances") == []
        now += 2 * completion_scripts.KEPT
        assert self.values(alice, "instances") == ["1", "one-1"]
        (kept,) = (alice.home / ".stratuslab" / "completion").iterdir()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    def test_are_none_where_the_cloud_is_away(self, alice: Shell) -> None:
        alice.environ["STRATUSLAB_ENDPOINT"] = "http://127.0.0.1:9"
        assert self.values(alice, "instances") == []

    def test_ask_nobody_for_a_password(self, alice: Shell) -> None:
        del alice.environ["STRATUSLAB_PASSWORD"]
        alice.terminal = True
        assert self.values(alice, "instances") == []


@needs("fish")
def test_fish(scripts: Path, shell: Shell) -> None:
    program = (
        f'source {scripts / "fish"}; complete -C "stratus-run-instance --lab"; complete -C "stratus-describe-instance --format "'
    )
    done = subprocess.run(["fish", "-c", program], env=environ(shell), capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["--label", "table", "json", "csv", "spreadsheet", "ids"]


@needs("zsh")
def test_zsh(scripts: Path) -> None:
    program = f'autoload -Uz compinit; compinit -u -D; eval "$(<{scripts / "zsh"})"; print -l $_comps'
    offered = output("zsh", "-f", "-c", program).split()
    for command in COMMANDS:
        assert f"_shtab_{command.prog.replace('-', '_')}" in offered


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from options(below)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.prog)
def test_man_pages(command: Command, tmp_path: Path) -> None:
    exit_statuses = statuses((CHECKOUT / "docs" / "exit-statuses.rst").read_text("utf-8"))
    assert [int(number) for number, _ in exit_statuses] == sorted(ExitStatus)
    source = man_page(command, [other.prog for other in COMMANDS], exit_statuses, "2026-11-28")
    assert "%(" not in source
    for option in options(command.parser()):
        assert f"\\fB{option}\\fR".replace("-", "\\-") in source
    for program in ("groff", "mandoc"):
        if shutil.which(program):
            words = ["-man", "-Tascii", "-ww", "-P-c"] if program == "groff" else ["-Tascii"]
            shown = re.sub(".\b", "", output(program, *words, stdin=source))  # bold is struck twice
            assert command.prog.upper() in shown
            assert "2026-11-28" in shown
            assert all(title in shown for title in ("ENVIRONMENT", "FILES", "EXIT STATUS"))
            assert not re.search(r"[a-z]-\n +[a-z]", shown), "no word is cut in two"


def helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What the parser and those of its actions say."""
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from helps(below)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.prog)
def test_help_is_grouped_has_examples_and_fits(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("40", "80", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        text = command.parser().format_help()
        if columns != "40":
            assert max(len(line) for shown in helps(command.parser()) for line in shown.splitlines()) <= 80
    assert "\nexamples:\n" in text
    assert "\noutput:\n" in text or command.prog == "stratus-local-cloud"


def test_the_parsers_need_nothing_but_the_standard_library() -> None:
    # They are loaded where the package is built, and there nothing else is installed.
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from stratuslab.commands import completion_scripts as made; made.commands()"
    )
    output(sys.executable, "-I", "-S", "-c", program, str(CHECKOUT))
