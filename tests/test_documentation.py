"""The documents say what is so: README.rst, the manual, the licence, and what builds and checks the project."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

import stratuslab
from stratuslab.commands import completion_scripts
from stratuslab.commands.command_declaration import Command
from stratuslab.errors import ExitStatus
from stratuslab.known_settings import KNOWN
from stratuslab.opennebula.states import Lcm, State, state_label
from stratuslab.settings import DEFAULTS
from tests.harness import CHECKOUT, TTYLINUX, Shell

DOCS = CHECKOUT / "docs"


def text(path: str) -> str:
    return (CHECKOUT / path).read_text("utf-8")


# README.rst


def readme_commands() -> list[str]:
    return [line.strip() for line in text("README.rst").splitlines() if line.startswith("    python3 -m venv")]


def test_readme_has_the_two_commands():
    first, second = readme_commands()
    setup = "python3 -m venv .venv && . .venv/bin/activate && pip install -q "
    assert first == f"{setup}. && stratus-run-instance {TTYLINUX}"
    assert second.startswith(f"{setup}-e '.[test]' && pytest ")


def test_readme_has_one_more_line_for_real_machines():
    (line,) = re.findall(r"^    (sudo .*)$", text("README.rst"), re.MULTILINE)
    assert f"    {line}\n" in text("docs/embedded-cloud.rst")
    script = text(".ci/run")
    taken = re.search(r"^real=\$\((.*)\)$", script, re.MULTILINE)
    assert taken is not None
    ran = subprocess.run(["bash", "-c", taken[1]], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{line}\n"


@pytest.mark.parametrize(("program", "place"), [("stratus-run-instance", 0), ("pytest", 1)])
def test_ci_takes_its_commands_from_the_readme(program: str, place: int):
    script = text(".ci/run")
    function = re.search(r"^from_readme\(\) \{.*?^\}$", script, re.MULTILINE | re.DOTALL)
    assert function is not None
    assert f"from_readme {program})" in script
    taken = subprocess.run(
        ["bash", "-c", f"{function[0]}\nfrom_readme {program}"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert taken.stdout == readme_commands()[place] + "\n"


@pytest.mark.parametrize("page", ["README.rst", "CONTRIBUTING.rst"])
def test_links_lead_somewhere(page: str):
    links = re.findall(r"`[^`<]*<([^`>]+)>`_", text(page))
    assert links
    assert [link for link in links if not link.startswith("https://") and not (CHECKOUT / link).is_file()] == []


# The manual


def parsers(path: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """A command and its actions, as the directive ``options`` names them."""
    yield path
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(f"{path} {name}", below)


@pytest.mark.parametrize("command", completion_scripts.commands(), ids=lambda command: command.prog)
def test_the_manual_generates_the_options_of_every_command(command: Command):
    name = command.prog.removeprefix("stratus-")
    listed = re.findall(rf"^\.\. options:: ({name}.*)$", text(f"docs/{name}.rst"), re.MULTILINE)
    assert sorted(listed) == sorted(parsers(name, command.parser()))


@pytest.mark.parametrize("module", completion_scripts.MODULES)
def test_every_command_has_a_page_and_a_script(module: str):
    command = module.replace("_", "-")
    program = f"stratus-{command}"
    assert f"{program}\n{'=' * len(program)}\n" in text(f"docs/{command}.rst")
    assert text(f"bin/{program}").endswith(f'\n\nrun("{module}")\n')
    assert text(f"bin/{program}").count("\n") == 7, "all that is in it"
    assert os.access(CHECKOUT / "bin" / program, os.X_OK)


def test_every_page_begins_with_an_example():
    for path in sorted(DOCS.glob("*.rst")):
        if path.stem not in ("architecture", "changes", "index", "performance"):
            heads = [found.start() for found in re.finditer(r"^.+\n(?:=+|-+)$", path.read_text("utf-8"), re.MULTILINE)]
            beginning = path.read_text("utf-8")[: heads[1] if len(heads) > 1 else None]
            assert re.search(r"(?:::|\.\. code-block:: python)\n\n {4,}\S", beginning), path.name


def test_every_exit_status_is_in_the_manual():
    documented = re.findall(r"^   \* - (\d+)$", text("docs/exit-statuses.rst"), re.MULTILINE)
    assert [int(number) for number in documented] == sorted(ExitStatus)


def test_every_setting_with_a_default_is_in_the_manual():
    keys = re.findall(r"^   \* - ``(\w+)``\n     - ``(\w+)``$", text("docs/configuration.rst"), re.MULTILINE)
    assert DEFAULTS.keys() <= {key for key, _ in keys}
    exceptions = {"user_public_key_file": "STRATUSLAB_KEY", "selected_section": "STRATUSLAB_USER_CONFIG_SECTION"}
    assert [variable for _, variable in keys] == [exceptions.get(key, f"STRATUSLAB_{key.upper()}") for key, _ in keys]


def test_the_settings_that_are_shown_are_those_in_the_manual():
    keys = re.findall(r"^   \* - ``(\w+)``\n     - ``(\w+)``$", text("docs/configuration.rst"), re.MULTILINE)
    assert {key for key, _ in keys} <= {known.key for known in KNOWN}
    page = text("docs/configuration.rst") + text("docs/common-options.rst")
    assert [known.key for known in KNOWN if f"``{known.key}``" not in page] == []


def test_the_states_of_the_manual_are_those_that_are_shown():
    labels = {state_label(state, 0) for state in State} | {state_label(State.ACTIVE, lcm) for lcm in Lcm}
    labels.add("Delete")  # of OpenNebula 3, where its number means something else
    table = re.findall(r"^   \* - (``[A-Z].*``)$", text("docs/lifecycle.rst"), re.MULTILINE)
    documented = {label for row in table for label in re.findall(r"``(\w+)``", row)}
    assert documented
    assert documented <= labels


def test_the_picture_of_the_states_is_drawn_and_shows_states():
    drawn = ElementTree.parse(DOCS / "images" / "lifecycle.svg")
    words = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Pending", "Prolog", "Boot", "Running", "Shutdown", "Epilog", "Done"} <= words
    assert {"Poweroff", "Unknown", "Prolog_Failure", "Boot_Failure"} <= words


def test_the_types_in_the_manual_are_those_that_are_listed(tmp_path: Path):
    listed = Shell(tmp_path)("run", "--list-type").out
    shown = "".join(f"    {line}\n" for line in listed.splitlines())
    assert f"    $ stratus-run-instance --list-type\n{shown}" in text("docs/lifecycle.rst")


def programs(page: str) -> Iterator[tuple[str, str]]:
    """The programs of a page, each with the output that the page shows below it."""
    block = r"\.\. code-block:: {}\n\n((?:    .*\n|\n)+)"
    for found in re.finditer(block.format("python") + block.format("text"), text(page)):
        program, output = (re.sub(r"^    ", "", part, flags=re.MULTILINE) for part in found.groups())
        yield program, output.strip()


@pytest.mark.parametrize(
    ("program", "output"),
    [*programs("docs/python.rst"), *programs("docs/testing-against-a-fake-opennebula.rst")],
)
def test_a_program_in_the_manual_runs(program: str, output: str, tmp_path: Path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    environ["STRATUSLAB_LOCAL_ADDRESSES"] = str(tmp_path / "addresses")
    ran = subprocess.run([sys.executable, "-c", program], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.stderr, ran.stdout.strip()) == ("", output)


# The frame


def test_the_licence_is_the_apache_license_2_0():
    content = (CHECKOUT / "LICENSE").read_bytes()
    # The file as the Apache Software Foundation publishes it.
    assert hashlib.sha256(content).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_version_is_the_same_everywhere():
    assert metadata.version("stratuslab-client") == stratuslab.__version__
    assert re.search(rf"^{re.escape(stratuslab.__version__)}( |$)", text("CHANGELOG.rst"), re.MULTILINE)


def test_the_oldest_dependencies_are_the_ones_that_are_tested():
    allowed = re.findall(r'"(paramiko|pycdlib|requests|tabulate)(?:\[\w+\])?>=([\d.]+)"', text("setup.py"))
    tested = re.findall(r"^    (paramiko|pycdlib|requests|tabulate)==([\d.]+)$", text("tox.ini"), re.MULTILINE)
    assert len(allowed) == 4
    assert [(name, re.sub(r"(\.0)+$", "", version)) for name, version in tested] == [
        (name, re.sub(r"(\.0)+$", "", version)) for name, version in allowed
    ]
