"""Text that cannot harm a terminal: what servers say may hold escape sequences, and what users name may hold anything."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate, takewhile

# Controls, line and paragraph separators, and the marks that reorder the text that follows them.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text on one line: line ends and runs of blanks become a blank, harmful characters become ``?``."""
    return _HARMFUL.sub("?", re.sub(r"\s+", " ", text)).strip()


def harmless(text: str) -> str:
    """The text with harmful characters, line ends among them, as ``?``."""
    return _HARMFUL.sub("?", text)


def word(text: str) -> str:
    """The text as one column's value: as :func:`one_line`, ``-`` where nothing is left."""
    return one_line(text) or "-"


def width(text: str) -> int:
    """The columns that the text takes on a terminal: East Asian wide characters take two, marks on others and joiners none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, columns: int | None, ellipsis: str = "") -> str:
    """The text within so many columns of a terminal (None: all of it), with the ellipsis in place of what is left out."""
    if columns is None or width(text) <= columns:
        return text
    room = columns - width(ellipsis)
    kept = takewhile(lambda place: place[1] <= room, zip(text, accumulate(map(width, text)), strict=True))
    return "".join(char for char, _ in kept) + ellipsis


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
