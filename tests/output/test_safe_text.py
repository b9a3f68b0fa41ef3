"""Text that is safe for a terminal, and the messages on stderr that uses it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.output.messages import Messages
from stratuslab.output.safe_text import cut, harmless, one_line, width, word


@pytest.mark.parametrize(
    "harmful, safe",
    [
        ("plain", "plain"),
        ("  two\n lines\r\nand\ttabs  ", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\x1b]0;title\x07", "?]0;title?"),
        ("bell\x07 back\x08 null\x00 del\x7f", "bell? back? null? del?"),
        ("c1 \x9b31m", "c1 ?31m"),
        ("line\u2028para\u2029", "line para"),
        ("evil\u202etxt.exe", "evil?txt.exe"),
        ("marks \u200e\u200f\u061c\u2066\u2069", "marks ?????"),
        ("half \ud83d", "half ?"),
        ("soft\xad zero\u200b tag\U000e0041 mark\ufeff heart \u2764\ufe0f", "soft? zero? tag? mark? heart \u2764?"),
        ("Zoë 日本語 👍", "Zoë 日本語 👍"),
        ("", ""),
    ],
)
def test_one_line(harmful: str, safe: str) -> None:
    assert one_line(harmful) == safe


@given(st.text())
def test_one_line_is_one_line_without_controls(text: str) -> None:
    safe = one_line(text)
    assert len(safe.splitlines()) <= 1
    assert all(char.isprintable() or not char.isascii() for char in safe)
    assert one_line(safe) == safe
    safe.encode()


# Of Default_Ignorable_Code_Point, what has no category that says so.
IGNORABLE = "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(
    map(
        chr,
        (
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0000, 0xE1000),
            *range(0x2060, 0x2070),
            *range(0xFFF0, 0xFFF9),
        ),
    )
)


def test_nothing_invisible_is_left_of_all_of_unicode() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    for shown in (one_line(everything), harmless(everything)):
        assert {char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} == set()
        assert set(shown).isdisjoint(IGNORABLE)
        assert len(set(shown)) > 280_000 - 5000


def test_word() -> None:
    assert [word(text) for text in ("one-1", " ", "", "\n", "a b")] == ["one-1", "-", "-", "-", "a b"]


@pytest.mark.parametrize(
    "text, columns",
    [
        ("", 0),
        ("one-165", 7),
        ("Zoë", 3),
        ("Zoe\u0308", 3),  # a combining mark
        ("日本語", 6),
        ("ﾊﾝｶｸ", 4),  # half width
        ("\uff46\uff55\uff4c\uff4c", 8),  # full width
        ("क\u0941", 1),  # a vowel sign, whose combining class is 0
        ("❤\ufe0f", 1),  # a variation selector
        ("a\u200bb\u200d", 2),  # zero width space and joiner
        ("👍", 2),
    ],
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


# --- messages -------------------------------------------------------------------------------------------------------------


def said(level: int) -> list[str]:
    stream = io.StringIO()
    messages = Messages(stream, "stratus-x", level)
    messages.error("an error\nof two lines")
    messages.note("a note")
    messages.step("a step")
    messages.detail("a detail\nof two \x1b lines")
    messages.wire("> call")
    return stream.getvalue().splitlines()


ERROR, NOTE, STEP = "stratus-x: an error of two lines", "stratus-x: a note", "a step"
DETAIL, WIRE = ["    a detail", "    of two ? lines"], "> call"


@pytest.mark.parametrize(
    "level, expected",
    [
        (-2, [ERROR]),
        (-1, [ERROR]),
        (0, [ERROR, NOTE]),
        (1, [ERROR, NOTE, STEP]),
        (2, [ERROR, NOTE, STEP, *DETAIL]),
        (3, [ERROR, NOTE, STEP, *DETAIL, WIRE]),
        (9, [ERROR, NOTE, STEP, *DETAIL, WIRE]),
    ],
)
def test_how_much_is_said(level: int, expected: list[str]) -> None:
    assert said(level) == expected


def test_talk_never_fails(tmp_path: Path) -> None:
    closed = io.StringIO()
    closed.close()
    reader, writer = os.pipe()
    os.close(reader)
    broken = os.fdopen(writer, "w")
    for stream in (None, closed, broken):
        Messages(stream, "stratus-x", 3).error("nobody hears this")
    with contextlib.suppress(BrokenPipeError):
        broken.close()


@given(st.text(), st.integers(3, 20))
def test_what_is_cut_fits(text: str, columns: int) -> None:
    shown = cut(text, columns, "...")
    assert shown == text if width(text) <= columns else shown.endswith("...") and width(shown) <= columns
    assert cut(text, None, "...") == text
