"""A table that is shown again and again: redrawn in place on a terminal, appended elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from stratuslab.output.safe_text import cut
from stratuslab.output.terminal import Terminal


class Redraw:
    """Remembers how many lines it drew, so that the next drawing goes over them. The cursor is always left below the last
    line, so that a program that ends in between leaves the terminal as it should be."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._drawn = 0

    def draw(self, lines: Iterable[str]) -> list[str]:
        """The lines to write; what does not fit on the terminal is left out, so that nothing scrolls."""
        drawing = list(lines)
        height = self._terminal.height
        if height is None:
            first, self._drawn = not self._drawn, 1
            return drawing if first else ["", *drawing]
        if len(drawing) >= height:
            left_out = len(drawing) - height + 2
            drawing = [*drawing[: height - 2], f"({left_out} more lines)"]
        drawing = [cut(line, self._terminal.width - 1) for line in drawing]
        # Move to the first line of the last drawing, and erase everything below.
        over = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        self._drawn = len(drawing)
        return [over + drawing[0], *drawing[1:]] if drawing else []
