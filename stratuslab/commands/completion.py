"""Shell completion, generated from the commands' parsers."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.commands.base import Command
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.opennebula.states import SSH, Lcm, State

if TYPE_CHECKING:
    from stratuslab.output.columns import RowKind

SHELLS = ("bash", "zsh", "fish")

MODULES = (
    "config",
    "connect_instance",
    "copy_config",
    "copy_files",
    "describe_instance",
    "kill_instance",
    "list_networks",
    "local_cloud",
    "reboot_instance",
    "run_instance",
    "search_image",
    "show_image",
    "shutdown_instance",
    "start_instance",
    "stop_instance",
    "update_instance",
)
"""The modules of all commands."""

KINDS = ("instances", "images", "networks", "types", "sections")
"""What can be completed with values that only the cloud or the configuration knows."""

_ASKS = "stratus-config --values-of"
# By the name of the argument.
_DYNAMIC = {
    "instances": "instances",
    "console": "instances",
    "image": "images",
    "network": "networks",
    "instance_type": "types",
    "user_config_section": "sections",
}

READY = Path(__file__).with_name("completions")
"""Where the package's build stores the scripts of :func:`make`, one file for each shell."""


def commands() -> list[Command]:
    """All commands."""
    return [import_module(f"stratuslab.commands.{module}").COMMAND for module in MODULES]


def script(shell: str) -> str:
    """The completion script of all commands for a shell: bash, zsh or fish."""
    ready = READY / shell
    if ready.is_file():
        return ready.read_text("utf-8")
    try:
        return make(shell)
    except ImportError:
        raise StratusLabError(
            "this installation has no completions", "pip install 'shtab>=1.9', or install the package from a wheel"
        ) from None


def make(shell: str) -> str:
    """Generate the completion script. Raises ImportError if shtab is not installed."""
    import shtab

    scripts = [_FUNCTIONS[shell]]
    for command in commands():
        parser = command.parser()
        _add_values(parser, [column.name for column in kind.columns] if (kind := _rows(command, parser)) else [])
        scripts.append(shtab.complete(parser, shell))
    return "\n".join(scripts)


def _rows(command: Command, parser: argparse.ArgumentParser) -> RowKind | None:
    """What the command's rows are about, without options."""
    with suppress(UsageError):
        return command.rows(parser.parse_args([])) if command.rows is not None else None
    return None


def _add_values(parser: argparse.ArgumentParser, columns: Sequence[str]) -> None:
    """Say what completes the options and arguments of a parser, and of those of its actions."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _add_values(below, columns)
        elif action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest in _DYNAMIC:
            kind = _DYNAMIC[action.dest]
            function = f"_stratus_{kind}"
            action.complete = {"bash": function, "zsh": function, "fish": f"({_ASKS} {kind} 2>/dev/null)"}  # type: ignore[attr-defined]
        elif action.dest in ("columns", "sort"):
            action.choices = columns
        elif action.dest == "wait_for":
            action.choices = [SSH.lower(), *sorted({name.lower() for name in (*State.__members__, *Lcm.__members__)})]


_FUNCTIONS = {
    # Bash would take words apart at the colon of one:NAME.
    "bash": "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n"
    + "".join(f'_stratus_{kind}() {{ compgen -W "$({_ASKS} {kind} 2>/dev/null)" -- "$1"; }}\n' for kind in KINDS),
    "zsh": "".join(f'_stratus_{kind}() {{ compadd -- ${{(f)"$({_ASKS} {kind} 2>/dev/null)"}} }}\n' for kind in KINDS),
    "fish": "",
}
