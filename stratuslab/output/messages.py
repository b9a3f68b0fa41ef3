"""Messages on stderr: what the command does, and what went wrong. Results go to stdout."""

from __future__ import annotations

import contextlib
from typing import TextIO

from stratuslab.environment import is_terminal
from stratuslab.output.safe_text import one_line


class Messages:
    """Writes to a stream as much as the user asked for: ``level`` is the number of -v minus the number of -q."""

    def __init__(self, stream: TextIO | None, prog: str, level: int = 0) -> None:
        self._stream = stream
        self._prog = prog
        self._said: dict[str, object] = {}
        self.level = level

    def error(self, message: str) -> None:
        """Something failed. Printed at every level."""
        self._line(f"{self._prog}: {one_line(message)}")

    def warning(self, message: str) -> None:
        """Something is probably not meant as it was given. Printed at every level, the same one once."""
        this = object()
        if self._said.setdefault(message, this) is this:
            self.error(message)

    def note(self, message: str) -> None:
        """Something that the user should know; not printed with -q, and the same one once."""
        if self.level >= 0:
            self.warning(message)

    def hint(self, message: str) -> None:
        """What a person may want to know or do next; printed at a terminal only, and not with -q."""
        if self.level >= 0 and is_terminal(self._stream):
            self._line(f"{self._prog}: {one_line(message)}")

    def step(self, message: str) -> None:
        """What the command does (-v)."""
        if self.level >= 1:
            self._line(one_line(message))

    def detail(self, text: str) -> None:
        """What is sent and found (-vv); may have several lines."""
        if self.level >= 2:
            for line in text.splitlines():
                self._line("    " + one_line(line))

    def wire(self, message: str) -> None:
        """Each request and answer (-vvv)."""
        if self.level >= 3:
            self._line(one_line(message))

    def _line(self, text: str) -> None:
        write(self._stream, text + "\n")


def write(stream: TextIO | None, text: str) -> None:
    """Write to stderr, which may be closed or full: a message must never make a command fail."""
    with contextlib.suppress(OSError, ValueError):
        if stream is not None:
            stream.write(text)
            stream.flush()
