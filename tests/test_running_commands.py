"""How commands are started: as scripts, as ``python -m stratuslab``, and where something is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stratuslab.commands.completion_scripts import commands
from stratuslab.errors import ExitStatus
from tests.harness import CHECKOUT, TTYLINUX, Shell


def module(shell: Shell, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**shell.environment(), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "stratuslab", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def test_the_package_lists_its_commands(shell: Shell) -> None:
    ran = module(shell)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ")] == [
        command.prog.removeprefix("stratus-") for command in commands()
    ]
    assert module(shell, "--help").stdout == ran.stdout


@pytest.mark.parametrize("name", ["run-instance", "stratus-run-instance"])
def test_the_package_runs_a_command(shell: Shell, name: str) -> None:
    ran = module(shell, name, "--list-types")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "m1.small" in ran.stdout


def test_the_package_knows_its_commands(shell: Shell) -> None:
    ran = module(shell, "run-instnce", "--list-types")
    assert (ran.returncode, ran.stdout) == (ExitStatus.USAGE, "")
    assert ran.stderr == 'stratuslab: unknown command "run-instnce" (did you mean "run-instance"?)\n'


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.prog)
def test_a_script_of_a_bare_checkout_says_what_to_do(command: object) -> None:
    prog = command.prog  # type: ignore[attr-defined]
    # Without site-packages and PYTHONPATH there is no package.
    ran = subprocess.run([sys.executable, "-I", "-S", str(CHECKOUT / "bin" / prog)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"{prog}: not installed (run: python3 -m pip install . in the package's folder)\n"


def test_a_package_that_is_missing_is_named(shell: Shell) -> None:
    place = shell.home / "broken"
    place.mkdir(parents=True)
    (place / "requests.py").write_text("raise ModuleNotFoundError(\"No module named 'requests'\", name='requests')\n")
    environ = {"PYTHONPATH": f"{place}:{CHECKOUT}"}
    ran = shell.script("stratus-run-instance", "--marketplace-endpoint", "http://127.0.0.1:9", TTYLINUX, environ=environ)
    assert ran.status == ExitStatus.FAILED
    assert "the Python package requests is not installed (pip install requests)" in ran.err
    assert "Traceback" not in ran.err
