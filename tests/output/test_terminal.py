"""What there is to write on, and a table that is drawn again and again."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from stratuslab.output.redraw import Redraw
from stratuslab.output.terminal import Terminal


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


@pytest.mark.parametrize(
    ("encoding", "environ", "unicode"),
    [
        ("utf-8", {"LANG": "en_GB.UTF-8"}, True),
        ("utf-8", {"LANG": "C.UTF-8"}, True),
        ("utf-8", {"LC_CTYPE": "C.UTF-8", "LANG": "C"}, False),  # as Python says when it was started in the locale C
        ("utf-8", {"LC_CTYPE": "C.UTF-8", "LANG": "xx_XX.ISO-8859-1"}, False),  # a locale that the system lacks is C
        ("utf-8", {"LC_CTYPE": "C.UTF-8", "LANG": "en_GB.utf8"}, True),
        ("utf-8", {"LC_CTYPE": "fr_FR.UTF-8"}, True),
        ("utf-8", {"LC_ALL": "C", "LANG": "en_GB.UTF-8"}, False),
        ("utf-8", {}, False),
        ("utf-8", {"PYTHONIOENCODING": "utf-8"}, True),
        ("iso-8859-1", {"LANG": "en_GB"}, False),
        ("ascii", {"LANG": "en_GB.UTF-8"}, False),
    ],
)
def test_unicode(encoding: str, environ: dict[str, str], unicode: bool) -> None:
    assert Terminal.of(stream(encoding), environ).unicode is unicode


@pytest.mark.parametrize(
    ("columns", "width"), [("", 80), ("120", 120), ("10", 40), ("-5", 80), ("wide", 80), ("0", 80), ("9" * 5000, 80)]
)
def test_width(columns: str, width: int) -> None:
    assert Terminal.of(stream("utf-8"), {"COLUMNS": columns}).width == width
    assert Terminal.of(None, {"COLUMNS": columns}) == Terminal(width)


@pytest.mark.parametrize(("columns", "edge"), [("", 100), ("120", 120), ("10", 10), ("-5", 100)])
def test_lines_are_kept_within_the_edge_of_a_terminal(columns: str, edge: int) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
    with os.fdopen(master, "rb"), os.fdopen(slave, "w", encoding="utf-8") as terminal:
        found = Terminal.of(terminal, {"COLUMNS": columns, "TERM": "xterm", "LANG": "C.UTF-8"})
    assert (found.edge, found.height, found.ellipsis) == (edge, 50, "\u2026")
    elsewhere = Terminal.of(stream("utf-8"), {"COLUMNS": columns, "TERM": "xterm", "LANG": "C"})
    assert (elsewhere.edge, elsewhere.height, elsewhere.ellipsis) == (None, None, "...")


def test_a_screen_elsewhere_than_at_a_terminal() -> None:
    screen = Redraw(Terminal(10))
    assert screen.draw(["a", "b" * 20]) == ["a", "b" * 20]
    assert screen.draw(["c"]) == ["", "c"]


def test_a_screen_is_drawn_over() -> None:
    screen = Redraw(Terminal(80, height=10))
    assert screen.draw(["a", "b"]) == ["a", "b"]
    assert screen.draw(["c"]) == ["\x1b[2F\x1b[Jc"]
    assert screen.draw(["d"]) == ["\x1b[1F\x1b[Jd"]


def test_a_screen_never_scrolls() -> None:
    screen = Redraw(Terminal(10, height=4))
    assert screen.draw(["x" * 20, *map(str, range(9))]) == ["x" * 9, "0", "(8 more lines)"[:9]]
    assert screen.draw(["日本語" * 3]) == ["\x1b[3F\x1b[J日本語日"], "wide characters take two columns"
