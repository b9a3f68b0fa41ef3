"""What there is to write on, and a table that is drawn again and again."""

from __future__ import annotations

import io

import pytest

from stratuslab.output.canvas import Canvas
from stratuslab.output.screen import Screen


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
    assert Canvas.of(stream(encoding), environ).unicode is unicode


@pytest.mark.parametrize(("columns", "width"), [("", 80), ("120", 120), ("10", 40), ("-5", 80), ("wide", 80), ("0", 80)])
def test_width(columns: str, width: int) -> None:
    assert Canvas.of(stream("utf-8"), {"COLUMNS": columns}).width == width
    assert Canvas.of(None, {"COLUMNS": columns}) == Canvas(width)


def test_a_screen_elsewhere_than_at_a_terminal() -> None:
    screen = Screen(Canvas(10))
    assert screen.draw(["a", "b" * 20]) == ["a", "b" * 20]
    assert screen.draw(["c"]) == ["", "c"]


def test_a_screen_is_drawn_over() -> None:
    screen = Screen(Canvas(80, height=10))
    assert screen.draw(["a", "b"]) == ["a", "b"]
    assert screen.draw(["c"]) == ["\x1b[2F\x1b[Jc"]
    assert screen.draw(["d"]) == ["\x1b[1F\x1b[Jd"]


def test_a_screen_never_scrolls() -> None:
    screen = Screen(Canvas(10, height=4))
    assert screen.draw(["x" * 20, *map(str, range(9))]) == ["x" * 9, "0", "(8 more lines)"[:9]]
