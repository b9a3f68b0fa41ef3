"""The commands: what each asks, does and answers. The scripts in bin/ enter through :func:`run`."""

from __future__ import annotations

import sys


def run(name: str) -> None:
    """Run the command that the module ``name`` of this package holds, and end the process with its exit status.

    The module is loaded here, and not by the script, so that Ctrl-C while Python still loads ends quietly too.
    """
    try:
        from importlib import import_module

        from stratuslab.commands.base import main

        status = main(import_module(f"stratuslab.commands.{name}").COMMAND)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
