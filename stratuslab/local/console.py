"""What an instance wrote on its console."""

from __future__ import annotations

import re
from pathlib import Path

from stratuslab.errors import NotFound, StratusLabError
from stratuslab.local.engine import Engine
from stratuslab.opennebula.states import State

_MOST_BYTES = 1 << 20
# ECMA-48's control sequences, and ESC c, which resets a terminal.
_TERMINAL_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|c)")


def console_lines(directory: Path, number: int) -> list[str]:
    """The lines of the console of an instance of the cloud in the directory, a megabyte of the last ones at most.

    Raises NotFound where there is no such instance, StratusLabError where there is no log (any more).
    """
    engine = Engine(directory)
    try:
        record = engine.store.instance(number)
    finally:
        engine.close()
    if record is None:
        raise NotFound(f"there is no instance {number} at the embedded cloud")
    try:
        with (directory / "instances" / str(number) / "console.log").open("rb") as log:
            log.seek(0, 2)
            log.seek(max(log.tell() - _MOST_BYTES, 0))
            text = log.read(_MOST_BYTES).decode("utf-8", "backslashreplace")
            # A machine's firmware clears the screen and sets colours, which mean nothing in a log.
            return _TERMINAL_CONTROL.sub("", text).splitlines()
    except OSError:
        why = "its log goes when it is done" if record.state == State.DONE else f"it is {record.state_name}"
        raise StratusLabError(f"machine {number} has nothing on its console: {why}") from None
