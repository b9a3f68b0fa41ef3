"""The simulated guest's terminal: keys become lines, and the screen shows what they say."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratuslab.local.guest.process import HungUp, Interrupted
from stratuslab.local.guest.shell import Shell
from stratuslab.local.guest.system import Guest
from stratuslab.local.guest.terminal import Terminal
from tests.local.guests import Switch, specified


class Screen:
    """The part of a VT100 that the guest uses; behind a full row the cursor waits, as in every real one."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[" "] * columns]
        self.row = self.column = 0
        self.waiting = False

    def show(self, text: str) -> None:
        for match in re.finditer(r"\x1b\[(\d*)([A-Z])|(.)", text, re.DOTALL):
            if match[2]:
                self._control(match[2], int(match[1] or "1"))
            else:
                self._put(match[3])

    def _control(self, name: str, number: int) -> None:
        self.waiting = False
        if name == "A":
            assert self.row >= number, "the cursor would leave the screen's top"
            self.row -= number
        elif name == "C":
            self.column = min(self.column + number, self.columns - 1)
        elif name == "H":
            self.row = self.column = 0
        elif name == "J" and number == 2:
            self.rows = [[" "] * self.columns for _ in self.rows]
        elif name == "J":
            self.rows[self.row][self.column :] = [" "] * (self.columns - self.column)
            del self.rows[self.row + 1 :]

    def _put(self, character: str) -> None:
        if character == "\a":
            return
        if character in "\r\n\b":
            self.waiting = False
            if character == "\n":
                self._down()
            else:
                self.column = 0 if character == "\r" else max(0, self.column - 1)
            return
        width = 2 if east_asian_width(character) in "WF" else 1
        if self.waiting or self.column + width > self.columns:
            self.column, self.waiting = 0, False
            self._down()
        self.rows[self.row][self.column : self.column + width] = [character, *[""] * (width - 1)]
        self.column += width
        if self.column == self.columns:
            self.column, self.waiting = self.columns - 1, True

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([" "] * self.columns)

    @property
    def text(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.rows).rstrip("\n")


class Typist:
    """The other end of a terminal: types keys, and sees a screen."""

    def __init__(self, keys: bytes, columns: int = 80, pieces: int = 1000) -> None:
        self.keys = keys
        self.pieces = pieces
        self.screen = Screen(columns)
        self.gone = False

    def receive(self, seconds: float | None) -> bytes | None:
        if seconds == 0:
            return None
        taken, self.keys = self.keys[: self.pieces], self.keys[self.pieces :]
        return taken

    def send(self, data: bytes) -> None:
        self.screen.show(data.decode())

    def wait(self, seconds: float) -> None:
        if self.gone:
            raise HungUp


def asked(keys: bytes, columns: int = 80, pieces: int = 1000) -> tuple[list[str], Screen]:
    """The lines that the keys make, and what is on the screen in the end."""
    typist = Typist(keys, columns, pieces)
    terminal = Terminal(typist, columns)
    lines = []
    while True:
        try:
            line = terminal.ask("# ")
        except Interrupted:
            lines.append("^C")
            continue
        if line is None:
            return lines, typist.screen
        lines.append(line)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"echo hi\r", "echo hi"),
        (b"echo hi\n", "echo hi"),
        (b"ecko\x7f\x7fho\r", "echo"),
        (b"\x7f\x08x\r", "x"),
        (b"wrong\x15right\r", "right"),
        (b"one two three\x17\x17x\r", "one x"),
        (b"ab\x1b[D\x1b[DX\x1b[CY\r", "XaYb"),
        (b"bc\x01a\x05d\r", "abcd"),
        (b"bc\x1b[Ha\x1b[Fd\x1bOH<\x1bOF>\r", "<abcd>"),
        (b"abc\x02\x02\x0b\r", "a"),
        (b"abc\x1b[H\x1b[3~\x04\r", "c"),
        (b"\x1b[200~pasted\x1b[201~\r", "pasted"),
        (b"a\x1b[1;5Cb\x1b[15~c\x1bd\x1b[?1;2cd\r", "abcd"),
        (b"a\tb\x1ac\x00\r", "abc"),
        ("äö\x7fü\r".encode(), "äü"),
        (b"a\xff\xc3\r", "a\ufffd\ufffd"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 1000])
def test_editing(keys: bytes, line: str, pieces: int) -> None:
    lines, screen = asked(keys, pieces=pieces)
    assert lines == [line]
    assert screen.text.splitlines()[0] == f"# {line}".rstrip()


def test_a_return_and_a_newline_are_one_enter() -> None:
    assert asked(b"a\r\nb\r\n\rc\r")[0] == ["a", "b", "", "c"]


def test_control_c_and_control_d() -> None:
    lines, screen = asked(b"abc\x03echo\r\x04")
    assert lines == ["^C", "echo"]
    assert screen.text == "# abc^C\n# echo\n#"


def test_history() -> None:
    up, down = b"\x1b[A", b"\x1b[B"
    assert asked(b"one\rtwo\r" + up + up + b"\r")[0] == ["one", "two", "one"]
    assert asked(b"one\rtwo\rnew" + up + up + up + down + down + b"!\r")[0] == ["one", "two", "new!"]
    assert asked(b"one\rone\r\r" + up + up + b"\r")[0] == ["one", "one", "", "one"]
    assert asked(b"one\r" + up + b"X\r" + up + up + b"\r")[0] == ["one", "oneX", "one"]


def test_a_line_has_an_end() -> None:
    (line,) = asked(b"x" * 5000 + b"\r")[0]
    assert len(line) == 4096


def expected(text: str, columns: int) -> str:
    """How a terminal folds the prompt and a line, with the next prompt below."""
    screen = Screen(columns)
    screen.show(f"# {text}\r\n# ")
    return screen.text


EDITS = st.sampled_from(
    [
        b"\x7f",
        b"\x15",
        b"\x17",
        b"\x0b",
        b"\x01",
        b"\x05",
        b"\x1b[D",
        b"\x1b[C",
        b"\x1b[D\x1b[D",
        b"\x1b[3~",
        b"\x1b[A",
        b"\x1b[B",
    ]
    + [character.encode() for character in "abc 漢é"]
    + [b"0123456789"]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(EDITS, max_size=40), st.integers(4, 30))
def test_the_screen_shows_the_line(edits: list[bytes], columns: int) -> None:
    lines, screen = asked(b"".join(edits) + b"\r", columns)
    assert screen.text == expected(lines[0], columns)
    assert (screen.row, screen.column) == (len(screen.rows) - 1, 2)


def test_a_width_that_nobody_knows_is_80() -> None:
    assert asked(b"y" * 100 + b"\r", columns=80)[1].text.splitlines()[0] == "# " + "y" * 78
    terminal = Terminal(Typist(b""), 0)
    terminal.resize(-1)
    assert terminal.ask("# ") is None


def test_a_session_on_the_screen() -> None:
    typist = Typist(b"echo $USER\rcat\rhello\r\x04echo 'a\rb'\rnope; sleep 5\r\x03echo $?\rexit 3\r", pieces=1)
    terminal = Terminal(typist)
    shell = Shell(Guest(specified(), Switch()), terminal)
    assert shell.interact(terminal.ask) == 3
    assert typist.screen.text == (
        "# echo $USER\nroot\n# cat\nhello\nhello\n\n# echo 'a\n> b'\na\nb\n# nope; sleep 5\nsh: nope: not found\n^C\n"
        "# echo $?\n130\n# exit 3"
    )


def test_the_end_of_the_input_ends_no_command() -> None:
    typist = Typist(b"sleep 0.01; echo still here\r")
    terminal = Terminal(typist)
    assert Shell(Guest(specified(), Switch()), terminal).interact(terminal.ask) == 0
    assert typist.screen.text == "# sleep 0.01; echo still here\nstill here\n#"


def test_the_end_of_the_connection() -> None:
    typist = Typist(b"sleep 5\r")
    typist.gone = True
    terminal = Terminal(typist)
    shell = Shell(Guest(specified(), Switch()), terminal)
    with pytest.raises(HungUp):
        shell.interact(terminal.ask)
