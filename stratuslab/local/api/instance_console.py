"""What an instance wrote on its console."""

from __future__ import annotations

import re
from pathlib import Path

from stratuslab.errors import NotFound, StratusLabError
from stratuslab.local.engine.engine import Engine
from stratuslab.opennebula.states import State

_MOST_BYTES = 1 << 20
_RESET = re.compile(r"\n?\x1bc")
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # as ECMA-48 has them


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
            # A machine's firmware resets the terminal and sets colours, which mean nothing in a log but a line's end.
            return _CONTROL_SEQUENCE.sub("", _RESET.sub("\n", text)).splitlines()
    except OSError:
        why = "its log goes when it is done" if record.state == State.DONE else f"it is {record.state_name}"
        raise StratusLabError(f"machine {number} has nothing on its console: {why}") from None
