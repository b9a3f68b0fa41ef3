"""The commands. The scripts in bin/ call :func:`run`."""

from __future__ import annotations

import argparse
import gc
import sys


def run(name: str) -> None:
    """Run the command in the module ``name`` of this package, and exit with its status.

    The module is loaded here, not by the script, so that Ctrl-C during start-up ends quietly too.
    """
    # Loading and listing make many objects and no garbage: looking for some after each 700 would take a tenth of the time.
    gc.set_threshold(100_000)
    # Nor are there translations of argparse's words, for each of which it would look through the system's catalogues.
    argparse._ = str  # type: ignore[attr-defined]
    try:
        from importlib import import_module

        from stratuslab.commands.main import main

        status = main(import_module(f"stratuslab.commands.{name}").COMMAND)
    except KeyboardInterrupt as error:
        status = getattr(error, "status", 130)  # Terminated has its own
    except OSError as error:  # main() reports its own: this one is of Python, which cannot even load it
        sys.stderr.write(f"stratuslab: cannot start: {error.strerror}\n")
        status = 1
    sys.exit(status)
