"""The talk on stderr: what is being done, and what went wrong. Nothing here is the answer."""

from __future__ import annotations

import contextlib
from typing import TextIO

from stratuslab.output.safe_text import one_line


class Messages:
    """Speaks on a stream, as much as the user asked for: ``level`` is the number of -v less the number of -q."""

    def __init__(self, stream: TextIO | None, prog: str, level: int = 0) -> None:
        self._stream = stream
        self._prog = prog
        self.level = level

    def error(self, message: str) -> None:
        """Something failed. Said at every level."""
        self._line(f"{self._prog}: {one_line(message)}")

    def note(self, message: str) -> None:
        """Something that the user should know; silent with -q."""
        if self.level >= 0:
            self._line(f"{self._prog}: {one_line(message)}")

    def step(self, message: str) -> None:
        """What is being done (-v)."""
        if self.level >= 1:
            self._line(one_line(message))

    def detail(self, text: str) -> None:
        """What is sent and found (-vv), may have several lines."""
        if self.level >= 2:
            for line in text.splitlines():
                self._line("    " + one_line(line))

    def wire(self, message: str) -> None:
        """Each request and answer (-vvv)."""
        if self.level >= 3:
            self._line(one_line(message))

    def _line(self, text: str) -> None:
        # The talk must never be the reason why a command fails: its stream may be closed or full.
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text + "\n")
                self._stream.flush()
