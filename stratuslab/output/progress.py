"""A line at a terminal that says how a wait goes, and that is gone at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TextIO

from stratuslab.context import is_terminal
from stratuslab.output.canvas import Canvas
from stratuslab.output.safety import one_line, width


class Progress(AbstractContextManager["Progress"]):
    """Writes over its own line of a terminal; where there is none, or where it is not ``wanted``, nothing is written."""

    def __init__(self, stream: TextIO | None, environ: Mapping[str, str], wanted: bool = True) -> None:
        self._stream = stream if wanted and is_terminal(stream) and environ.get("TERM") != "dumb" else None
        self._room = Canvas.of(stream, environ).width - 1
        self._shown = 0

    def show(self, text: str) -> None:
        """Put this text in the place of what was shown before."""
        line = one_line(text)[: self._room]
        self._write("\r" + line + " " * max(self._shown - width(line), 0))
        self._shown = width(line)

    def clear(self) -> None:
        """Leave the line as it was found."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.clear()

    def _write(self, text: str) -> None:
        # As all talk: it must never be the reason why a command fails.
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
