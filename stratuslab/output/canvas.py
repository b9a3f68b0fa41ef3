"""What there is to write on: how wide it is, and whether it can show more than ASCII."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from stratuslab.context import is_terminal

DEFAULT_WIDTH = 80
_LEAST_WIDTH = 40


@dataclass(frozen=True)
class Canvas:
    """``width`` in columns (80 where nobody reads along), ``unicode`` whether block characters arrive as they are, ``height``
    in lines of a terminal, None for everything else."""

    width: int = DEFAULT_WIDTH
    unicode: bool = False
    height: int | None = None

    @classmethod
    def of(cls, stream: TextIO | None, environ: Mapping[str, str]) -> Canvas:
        """The canvas that a stream is. $COLUMNS counts before the terminal's own width."""
        columns, lines = _size(stream)
        given = environ.get("COLUMNS", "")
        if given.isascii() and given.isdigit() and 0 < int(given) < 10_000:
            columns = int(given)
        # A terminal that says nothing of itself, and one without a cursor to move, is written to as a file is.
        height = lines if lines > 2 and environ.get("TERM", "dumb") != "dumb" else None
        return cls(max(columns, _LEAST_WIDTH) if columns else DEFAULT_WIDTH, _is_utf8(stream, environ), height)


def _is_utf8(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "").replace("_", "")
    if encoding != "utf8":
        return False
    # Python writes UTF-8 in the locale C, too (PEP 538 and 540), and then says LC_CTYPE=C.UTF-8; the terminal knows nothing
    # of that. Who sets PYTHONIOENCODING means it.
    plain = ("", "C", "POSIX")
    if environ.get("PYTHONIOENCODING"):
        return True
    if environ.get("LC_ALL"):
        return environ["LC_ALL"] not in plain
    return environ.get("LC_CTYPE", "") not in (*plain, "C.UTF-8") or environ.get("LANG", "") not in plain


def _size(stream: TextIO | None) -> tuple[int, int]:
    """Columns and lines of a terminal, 0 for what is none."""
    if stream is None or not is_terminal(stream):
        return 0, 0
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 0, 0
    return size.columns, size.lines
