"""Reads the end of an instance's console log, without control sequences."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

from stratuslab.errors import NotFound, StratusLabError
from stratuslab.local.engine.engine import Engine
from stratuslab.opennebula.states import State

_MOST_BYTES = 1 << 20
_RESET = re.compile(r"\n?\x1bc")
_CONTROL_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # as ECMA-48 has them


def console_lines(directory: Path, number: int) -> list[str]:
    """The lines of an instance's console log, at most the last megabyte.

    Raises NotFound if the instance does not exist, StratusLabError if there is no log (any more).
    """
    with closing(Engine(directory)) as engine:
        record = engine.store.instance(number)
    if record is None:
        raise NotFound(f"the embedded cloud has no machine {number}")
    try:
        with (directory / "instances" / str(number) / "console.log").open("rb") as log:
            log.seek(0, 2)
            log.seek(max(log.tell() - _MOST_BYTES, 0))
            text = log.read(_MOST_BYTES).decode("utf-8", "backslashreplace")
            # Firmware resets the terminal, which ends a line, and sets colours, which are dropped.
            return _CONTROL_SEQUENCE.sub("", _RESET.sub("\n", text)).splitlines()
    except OSError:
        why = "the log is removed when it is done" if record.state == State.DONE else f"it is {record.state_name}"
        raise StratusLabError(f"machine {number} has no console log: {why}") from None
