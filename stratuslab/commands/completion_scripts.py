"""Shell completion: the scripts, generated from the commands' parsers, and the values that they ask for.

A shell asks whenever Tab is pressed. So what the cloud says is kept for some seconds, nobody is asked for a password, and where
anything goes wrong there is simply nothing to offer.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from stratuslab.commands.command_declaration import Command, Parser
from stratuslab.commands.session import Session
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.opennebula.states import SSH, Lcm, State
from stratuslab.output.messages import Messages
from stratuslab.output.result_columns import RowKind

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

KEPT = 10.0
"""Seconds that the cloud's answers are used again."""

_PATIENCE = "2"  # seconds; who presses Tab does not wait longer
_PLAIN = re.compile(r"[\w.:@%+/][\w.:@%+/-]*\Z")  # words that no shell takes apart

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


def _add_values(parser: Parser, columns: Sequence[str]) -> None:
    """Say what completes the options and arguments of a parser, and of those of its actions."""
    import shtab

    for action in (one for below in parser.with_actions() for one in below._actions):
        if action.metavar == "FILE":
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


def offered(session: Session, kind: str) -> list[str]:
    """The values of a kind (one of KINDS) that a shell can complete as a word; none if
    they cannot be had."""
    options = argparse.Namespace(**{**vars(session.options), "timeout": _PATIENCE})
    silent = Session(options, session.environment._replace(stdin=None), Messages(None, ""))
    with suppress(StratusLabError, OSError):
        values = _values(silent, kind) if kind in ("types", "sections") else _kept(silent, kind)
        return [value for value in values if _PLAIN.match(value)]
    return []


def _values(session: Session, kind: str) -> list[str]:
    from stratuslab.cloud.resource_lookup import ResourceKind

    match kind:
        case "types":
            from stratuslab.instance_types import table

            return list(table(session.settings.file.instance_types))
        case "sections":
            return list(session.settings.cloud_sections)
        case "networks":
            return [network.name for network in session.cloud.catalogue(ResourceKind.NETWORK)]
        case "images":
            kinds = {"one": ResourceKind.IMAGE, "template": ResourceKind.TEMPLATE}
            return [f"{prefix}:{one.name}" for prefix, which in kinds.items() for one in session.cloud.catalogue(which)]
        case _:
            found = list(session.cloud.instances())
            names = [instance.name for instance in found]
            # A name that several share, or that is a number, does not name an instance.
            return [*(str(one.id) for one in found), *(name for name in names if names.count(name) == 1 and not name.isdigit())]


def _kept(session: Session, kind: str) -> list[str]:
    """What the cloud was asked a moment ago, or is asked now."""
    import hashlib

    from stratuslab import private_files

    home = session.environment.home
    if home is None:
        return _values(session, kind)
    cloud = f"{session.settings.endpoint.value}\0{session.settings.get('username')}\0{kind}"
    path = home / ".stratuslab" / "completion" / hashlib.sha256(cloud.encode()).hexdigest()[:16]
    with suppress(OSError, ValueError):
        if abs(session.environment.clock() - path.stat().st_mtime) < KEPT:
            return path.read_text("utf-8").splitlines()
    values = _values(session, kind)
    with suppress(OSError, StratusLabError):
        private_files.private_directory(path.parent)
        private_files.replace(path, "\n".join(values).encode("utf-8", "replace"))
    return values
