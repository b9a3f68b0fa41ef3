"""Text made safe for a terminal: what servers send may contain escape sequences, and names may contain anything."""

from __future__ import annotations

import re
from itertools import accumulate, takewhile

# Controls, line and paragraph separators, the marks that reorder the text that follows them, and everything that a terminal
# does not show (Unicode's Cf and Default_Ignorable_Code_Point), so that no two names look the same. Compiled when first used.
_HARMFUL = (
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def one_line(text: str) -> str:
    """The text on one line: line breaks and runs of blanks become one blank, harmful characters become ``?``."""
    if _is_plain(text) and "  " not in text:
        return text.strip()
    return re.sub(_HARMFUL, "?", re.sub(r"\s+", " ", text)).strip()


def harmless(text: str) -> str:
    """The text with ``?`` for harmful characters, including line breaks."""
    return text if _is_plain(text) else re.sub(_HARMFUL, "?", text)


def _is_plain(text: str) -> bool:
    # Most text is; a regular expression takes long to compile.
    return text.isascii() and text.isprintable()


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
    import unicodedata

    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
