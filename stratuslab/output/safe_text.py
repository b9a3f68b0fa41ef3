"""Text made safe for a terminal: what servers send may contain escape sequences, and names may contain anything."""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate, takewhile

# Controls, line and paragraph separators, and the marks that reorder the text that follows them.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """The text on one line: line breaks and runs of blanks become one blank, harmful characters become ``?``."""
    return _HARMFUL.sub("?", re.sub(r"\s+", " ", text)).strip()


def harmless(text: str) -> str:
    """The text with ``?`` for harmful characters, including line breaks."""
    return _HARMFUL.sub("?", text)


def word(text: str) -> str:
    """The text as the value of a column: like :func:`one_line`, but ``-`` if nothing is left."""
    return one_line(text) or "-"


def width(text: str) -> int:
    """The columns that the text takes on a terminal: two for East Asian wide characters, none for combining marks."""
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
