"""A line on a terminal that says what the command waits for: rewritten in place, and removed at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from stratuslab.environment import is_terminal
from stratuslab.output.messages import write
from stratuslab.output.safe_text import cut, one_line, width
from stratuslab.output.terminal import DEFAULT_WIDTH, size


class Progress:
    """The line. It is shown only on a terminal, and only if it is ``wanted``. The context manager removes it at the end."""

    def __init__(self, stream: TextIO | None, environ: Mapping[str, str], wanted: bool = True) -> None:
        self._stream = stream if wanted and is_terminal(stream) and environ.get("TERM") != "dumb" else None
        self._shown = 0

    @property
    def visible(self) -> bool:
        """Whether it is shown."""
        return self._stream is not None

    def show(self, text: str) -> None:
        """Replace the line. It is cut at the terminal's width, whatever $COLUMNS says: a line that wraps cannot be removed."""
        line = cut(one_line(text), (size(self._stream)[0] or DEFAULT_WIDTH) - 1)
        length = width(line)
        write(self._stream, f"\r{line}{' ' * (self._shown - length)}")
        self._shown = length

    def clear(self) -> None:
        """Erase the line and move the cursor to its start."""
        if self._shown:
            write(self._stream, f"\r{' ' * self._shown}\r")
            self._shown = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.clear()
