"""The simulated guest's terminal: what a person types becomes lines, and what the guest writes is shown.

The other side is a terminal in raw mode behind SSH, so echo and editing are done here, with the control sequences that every
terminal since the VT100 knows (ECMA-48).
"""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable, Iterator
from typing import Protocol
from unicodedata import category, combining, east_asian_width

from stratuslab.local.guest.process import Input, Interrupted, encoded

MAX_LINE = 4096
"""Characters that a line may have."""

MAX_AHEAD = 16 * 1024
"""Keys that are kept while a command runs; what is typed beyond them waits on the way."""

MAX_HISTORY = 500


class Wire(Protocol):
    """The connection below a terminal."""

    def receive(self, seconds: float | None) -> bytes | None:
        """What came in; empty at the end, None when nothing came within the time (None: no limit)."""
        ...

    def send(self, data: bytes) -> None:
        """Send all of it. Raises HungUp."""

    def wait(self, seconds: float) -> None:
        """Let the time pass. Raises HungUp, also when the other side goes meanwhile."""


_SEQUENCE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|O([@-~])|[^\[O])", re.DOTALL)
_PARTIAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_NAMES = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NUMBERS = {"1": "home", "3": "delete", "4": "end", "7": "home", "8": "end"}
_CONTROLS = {
    "\x01": "home",
    "\x02": "left",
    "\x03": "interrupt",
    "\x04": "end of input",
    "\x05": "end",
    "\x06": "right",
    "\x08": "backspace",
    "\x0b": "kill to end",
    "\x0c": "clear",
    "\r": "enter",
    "\n": "enter",
    "\x0e": "down",
    "\x10": "up",
    "\x15": "kill to start",
    "\x17": "kill word",
    "\x7f": "backspace",
}


class Keys:
    """Bytes become keys: a printable character, or the name of what a control character or sequence stands for."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._returned = False

    def feed(self, data: bytes) -> Iterator[str]:
        """The keys that are complete; those that mean nothing here (and the marks around a paste) are left out."""
        self._text += self._decoder.decode(data)
        at = 0
        while at < len(self._text):
            character = self._text[at]
            if character == "\x1b":
                sequence = _SEQUENCE.match(self._text, at)
                if sequence is None:
                    if _PARTIAL.match(self._text, at) and len(self._text) - at < 32:
                        break
                    at += 1
                    continue
                at = sequence.end()
                parameters, final, simple = sequence.groups()
                name = _NUMBERS.get(parameters) if final == "~" else _NAMES.get(final or simple or "")
                if name:
                    yield name
                continue
            at += 1
            # Enter is a carriage return; a newline right behind it belongs to it.
            doubled = character == "\n" and self._returned
            self._returned = character == "\r"
            if doubled:
                continue
            if character in _CONTROLS:
                yield _CONTROLS[character]
            elif category(character) not in ("Cc", "Cs"):
                yield character
        self._text = self._text[at:]


class Line:
    """One line that is being edited, and how it stands on the screen; each method gives what is to be sent to show it."""

    def __init__(self, prompt: str, columns: int) -> None:
        self.prompt = prompt
        self.columns = columns
        self.text = ""
        self.cursor = 0
        # Where the cursor is, from the prompt's place.
        self._row, self._column = _advance((0, 0), prompt, columns)

    def insert(self, character: str) -> str:
        if len(self.text) >= MAX_LINE:
            return "\a"
        at_end = self.cursor == len(self.text)
        self.text = self.text[: self.cursor] + character + self.text[self.cursor :]
        self.cursor += 1
        if not at_end:
            return self.redrawn()
        self._row, self._column = _advance((self._row, self._column), character, self.columns)
        return character + ("" if self._column else _WRAPPED)

    def delete(self, start: int, end: int) -> str:
        """Take out the characters from start to end; the cursor goes where they were."""
        start, end = max(start, 0), min(end, len(self.text))
        if start >= end:
            return ""
        at_end = self.cursor == end == len(self.text)
        taken = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        width = sum(map(_width, taken))
        if at_end and width < self._column:
            # The plainest way, which even a terminal that knows no sequences shows well.
            self._column -= width
            return "\b \b" * width
        return self.redrawn()

    def replace(self, text: str) -> str:
        self.text = text
        self.cursor = len(text)
        return self.redrawn()

    def move(self, cursor: int) -> str:
        self.cursor = max(0, min(cursor, len(self.text)))
        return self.redrawn()

    def redrawn(self) -> str:
        """Everything again from the prompt's place."""
        shown = (f"\x1b[{self._row}A" if self._row else "") + "\r\x1b[J" + self.prompt + self.text
        before = self.prompt + self.text[: self.cursor]
        self._row, self._column = _advance((0, 0), before, self.columns)
        end, column = _advance((self._row, self._column), self.text[self.cursor :], self.columns)
        shown += "" if column or not self.text else _WRAPPED
        if self.cursor < len(self.text):
            shown += (f"\x1b[{end - self._row}A" if end > self._row else "") + "\r"
            shown += f"\x1b[{self._column}C" if self._column else ""
        return shown

    def cleared(self) -> str:
        """Everything again at the top of an empty screen."""
        self._row = 0
        return "\x1b[H\x1b[2J" + self.redrawn()

    def left(self) -> str:
        """To the line below, whatever is behind the cursor."""
        shown = self.move(len(self.text)) if self.cursor < len(self.text) else ""
        # Behind a full row it is there already.
        return shown if self.text and not self._column else shown + "\r\n"


def _advance(place: tuple[int, int], text: str, columns: int) -> tuple[int, int]:
    """The row and column where text ends that begins at a place."""
    row, column = place
    for character in text:
        width = _width(character)
        if column + width > columns:
            row, column = row + 1, 0
        column += width
        if column >= columns:
            row, column = row + 1, 0
    return row, column


_WRAPPED = " \r"
"""Behind a full row: terminals wait with going to the next one, and this makes them go."""


def _width(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


class Terminal:
    """A person's terminal: the console of an interactive shell."""

    def __init__(self, wire: Wire, columns: int = 80) -> None:
        self._wire = wire
        self._keys = Keys()
        self._ahead: list[str] = []
        self._ended = False
        self._history: list[str] = []
        self.resize(columns)

    def resize(self, columns: int) -> None:
        """The window has another width; 0, which some clients send, means that it is not known."""
        self._columns = columns if 4 <= columns <= 10_000 else 80

    @property
    def input(self) -> Input:
        """The lines that a command reads; Ctrl-D ends them for this command only."""
        return Input(encoded(line + "\n") for line in iter(lambda: self._edit("", []), None))

    def ask(self, prompt: str) -> str | None:
        """The next line; None when the person pressed Ctrl-D on an empty one, or has gone. Raises Interrupted."""
        line = self._edit(prompt, self._history)
        if line and line.strip() and self._history[-1:] != [line]:
            self._history.append(line)
            del self._history[:-MAX_HISTORY]
        return line

    def write(self, data: bytes) -> None:
        self._wire.send(data.replace(b"\n", b"\r\n"))

    def write_error(self, data: bytes) -> None:
        self.write(data)

    def pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        left = seconds
        while True:
            if self._ended or len(self._ahead) > MAX_AHEAD:
                self._wire.wait(left)
            else:
                self._hear(left)
            if "interrupt" in self._ahead:
                # As a terminal does, it throws away what was typed before.
                del self._ahead[: self._ahead.index("interrupt") + 1]
                self._interrupted("")
            left = end - time.monotonic()
            if left <= 0:
                return

    def _hear(self, seconds: float | None) -> None:
        data = self._wire.receive(seconds)
        if data:
            self._ahead += self._keys.feed(data)
        elif data is not None:
            self._ended = True
            self._wire.wait(0)

    def _interrupted(self, shown: str) -> None:
        self._wire.send(encoded(shown) + b"^C\r\n")
        raise Interrupted

    def _edit(self, prompt: str, history: list[str]) -> str | None:
        line = Line(prompt, self._columns)
        past = _Past(history)
        self._wire.send(encoded(prompt))
        while True:
            while self._ahead:
                key = self._ahead.pop(0)
                line.columns = self._columns
                if key == "enter":
                    self._wire.send(encoded(line.left()))
                    return line.text
                if key == "interrupt":
                    self._interrupted(line.move(len(line.text)) if line.cursor < len(line.text) else "")
                if key == "end of input" and not line.text:
                    self._wire.send(b"\r\n")
                    return None
                self._wire.send(encoded(_edited(line, past, key)))
            if self._ended:
                return None
            self._hear(None)


class _Past:
    """The way through the lines of before; the line that was being typed is at its end."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = [*lines, ""]
        self._at = len(lines)

    def step(self, line: Line, by: int) -> str:
        if not 0 <= self._at + by < len(self._lines):
            return "\a"
        self._lines[self._at] = line.text
        self._at += by
        return line.replace(self._lines[self._at])


def _edited(line: Line, past: _Past, key: str) -> str:
    if len(key) == 1:
        return line.insert(key)
    if key in ("up", "down"):
        return past.step(line, -1 if key == "up" else 1)
    return _ACTIONS[key](line)


def _kill_word(line: Line) -> str:
    before = line.text[: line.cursor].rstrip()
    return line.delete(max(before.rfind(" "), -1) + 1, line.cursor)


_ACTIONS: dict[str, Callable[[Line], str]] = {
    "backspace": lambda line: line.delete(line.cursor - 1, line.cursor),
    "delete": lambda line: line.delete(line.cursor, line.cursor + 1),
    "end of input": lambda line: line.delete(line.cursor, line.cursor + 1),
    "kill to start": lambda line: line.delete(0, line.cursor),
    "kill to end": lambda line: line.delete(line.cursor, len(line.text)),
    "kill word": _kill_word,
    "left": lambda line: line.move(line.cursor - 1),
    "right": lambda line: line.move(line.cursor + 1),
    "home": lambda line: line.move(0),
    "end": lambda line: line.move(len(line.text)),
    "clear": Line.cleared,
}
