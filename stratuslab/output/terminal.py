"""The terminal on stdout: whether there is one, its width, and whether it shows more than ASCII."""

import os
from collections.abc import Mapping
from typing import NamedTuple, TextIO

from stratuslab.environment import is_terminal

DEFAULT_WIDTH = 80
_LEAST_WIDTH = 40


class Terminal(NamedTuple):
    """``width`` in columns, for charts (80 where there is no terminal); ``edge`` the columns to cut lines at, None where there is
    no terminal; ``height`` in lines, None where the cursor cannot be moved; ``unicode`` whether it shows more than ASCII.
    """

    width: int = DEFAULT_WIDTH
    unicode: bool = False
    height: int | None = None
    edge: int | None = None

    @classmethod
    def of(cls, stream: TextIO | None, environ: Mapping[str, str]) -> "Terminal":
        """The terminal of a stream. $COLUMNS overrides the terminal's own width."""
        columns, lines = size(stream)
        given = environ.get("COLUMNS", "")
        if given.isascii() and given.isdigit() and len(given) < 5 and int(given):
            columns = int(given)
        # A terminal of unknown height, or whose cursor cannot be moved, is written to like a file.
        height = lines if lines > 2 and environ.get("TERM", "dumb") != "dumb" else None
        edge = columns if columns and is_terminal(stream) else None
        return cls(max(columns, _LEAST_WIDTH) if columns else DEFAULT_WIDTH, _is_utf8(stream, environ), height, edge)

    @property
    def ellipsis(self) -> str:
        return "\u2026" if self.unicode else "..."


def size(stream: TextIO | None) -> tuple[int, int]:
    """Columns and lines of a terminal; 0 for other streams."""
    if stream is None or not is_terminal(stream):
        return 0, 0
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 0, 0
    return found.columns, found.lines


def _is_utf8(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    if not _names_utf8(getattr(stream, "encoding", None) or ""):
        return False
    # In the locale C Python writes UTF-8 too (PEP 538 and 540) and sets LC_CTYPE=C.UTF-8, which the terminal knows nothing
    # about. PYTHONIOENCODING is set on purpose.
    coerced = environ.get("LC_CTYPE") == "C.UTF-8"
    locale = environ.get("LC_ALL") or ("" if coerced else environ.get("LC_CTYPE")) or environ.get("LANG", "")
    return bool(environ.get("PYTHONIOENCODING")) or _names_utf8(locale)


def _names_utf8(name: str) -> bool:
    return "utf8" in name.lower().replace("-", "")
