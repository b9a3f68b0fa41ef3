"""docs/lifecycle.rst tells the whole story, and what it shows is what the embedded cloud does."""

from __future__ import annotations

import re
import shlex
from string import Template

from stratuslab.ssh.user_public_key import make_key_pair
from tests.harness import CHECKOUT, Ran, Shell

PAGE = (CHECKOUT / "docs" / "lifecycle.rst").read_text("utf-8")
TOLD = ("search-image", "run-instance", "describe-instance", "connect-instance", "copy-files")
ENDS = ("stop-instance", "start-instance", "shutdown-instance", "kill-instance")
SESSION = PAGE[PAGE.index("A whole session") : PAGE.index("The states\n")]


def steps() -> list[tuple[str, str]]:
    """Each command of the session and what it prints. In the machine, commands begin with a #."""
    blocks = "".join(f"{line[4:]}\n" for line in SESSION.splitlines() if line.startswith("    "))
    return [(found[1], found[2]) for found in re.finditer(r"^[$#] (.+)\n((?:(?![$#]).*\n)*)", blocks, re.MULTILINE)]


def test_the_story_from_search_to_kill(shell: Shell) -> None:
    (shell.home / ".ssh" / "id_ed25519.pub").unlink()
    (shell.home / ".ssh").chmod(0o700)
    make_key_pair(shell.home / ".ssh")
    story = steps()
    try:
        for command, expected in story:
            _did(shell, command, expected)
    finally:
        shell.script("stratus-local-cloud", "reset", "--yes")
    told = [command.split()[0] for command, _ in story if command.startswith("stratus-")]
    assert list(dict.fromkeys(told)) == [f"stratus-{name}" for name in (*TOLD, *ENDS)]


def _did(shell: Shell, command: str, expected: str) -> None:
    """Run a command of the session as a person does, and compare what it prints."""
    words = shlex.split(Template(command).safe_substitute(shell.environ))
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        shell.environ[name] = value
    elif words[0] == "stratus-describe-instance":
        state = expected.split("\n")[1].split()[1].lower()
        assert shell.script(words[0], "--wait-for", state, "1", "--wait-timeout", "60").status == 0
        assert _figures_aside(shell.script(*words).out) == _figures_aside(expected), command
    elif words[0].startswith("stratus-connect") and "--" not in words:
        assert shell.script(*words, "--", "true").err.startswith("Warning: Permanently added '1.local."), command
    elif words[0] == "stratus-copy-files":
        assert shell.script(words[0], str(shell.home / words[1]), *words[2:]) == Ran(0, expected, ""), command
    elif words[0].startswith("stratus-"):
        assert shell.script(*words) == Ran(0, expected, ""), command
    elif ">" in words:
        (shell.home / words[3]).write_text(f"{words[1]}\n")
    elif words[0] == "shutdown":
        return  # told for another machine: this one is done
    else:
        inside = shell.script("stratus-connect-instance", "1", "--", command)
        assert inside.out == ("root\n" if words[0] == "echo" else ""), command


def _figures_aside(table: str) -> list[list[str]]:
    """The table without memory and processor use, which are measured."""
    return [[*line.split()[:3], *line.split()[5:]] for line in table.splitlines()]
