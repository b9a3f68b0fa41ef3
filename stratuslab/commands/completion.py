"""Shell completion, generated from the commands' parsers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from stratuslab.commands.base import Command
from stratuslab.errors import StratusLabError

SHELLS = ("bash", "zsh", "fish")

MODULES = (
    "config",
    "connect_instance",
    "copy_config",
    "copy_files",
    "describe_instance",
    "kill_instance",
    "local_cloud",
    "reboot_instance",
    "run_instance",
    "shutdown_instance",
    "start_instance",
    "stop_instance",
    "update_instance",
)
"""The modules of all commands."""

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

    scripts = []
    for command in commands():
        parser = command.parser()
        for action in parser._actions:
            if action.metavar == "FILE":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        scripts.append(shtab.complete(parser, shell))
    return "\n".join(scripts)
