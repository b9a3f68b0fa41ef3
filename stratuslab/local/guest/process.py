"""What a program inside the simulated guest is given: arguments, streams, surroundings; and the table of programs.

A program is a generator: it yields its output in pieces and returns its exit status. So a pipeline is generators
that read each other, a reader that stops stops its writer, and nobody holds more than one piece of a long stream.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stratuslab.local.guest.system import Guest


class Interrupted(Exception):
    """The person pressed Ctrl-C."""


class HungUp(Exception):
    """The other side of the connection has gone."""


class Refused(Exception):
    """A program's own complaint: it is written to its standard error, with the program's name, and ends the program."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Left(Exception):
    """The shell was left with this status (``exit``)."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Input:
    """A standard input: pieces of bytes, or lines."""

    def __init__(self, pieces: Iterable[bytes] = ()) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._held:
            piece, self._held = self._held, b""
            return piece
        return next(self._pieces)

    def line(self) -> bytes:
        """The next line with its newline; without one at the end of the input, and empty behind it."""
        line = bytearray()
        for piece in self:
            end = piece.find(b"\n") + 1
            if end:
                self._held = piece[end:]
                return bytes(line + piece[:end])
            line += piece
        return bytes(line)

    def lines(self) -> Iterator[bytes]:
        """The lines that are left, each with its newline."""
        return iter(self.line, b"")


class Console(Protocol):
    """Where a shell's session is seen: a terminal, or the channel of a command."""

    @property
    def input(self) -> Input: ...

    def write(self, data: bytes) -> None:
        """Standard output; blocks while the other side does not read. Raises HungUp."""

    def write_error(self, data: bytes) -> None:
        """Standard error. Raises HungUp."""

    def pause(self, seconds: float) -> None:
        """Let this much time pass; 0 only looks. Raises Interrupted, HungUp."""


Output = Generator[bytes, None, int]
Target = Callable[[bytes], None]


@dataclass(frozen=True)
class Process:
    """A program at work. ``arguments`` are those behind its ``name``; ``directory`` is the working directory,
    ``shell`` the number of the shell that started it, ``complain`` takes what goes to standard error.
    """

    name: str
    arguments: list[str]
    guest: Guest
    console: Console
    input: Input
    environment: dict[str, str]
    directory: str
    shell: int
    complain: Target

    def path(self, name: str) -> str:
        """A path of the command line as an absolute one."""
        return self.guest.files.resolve(self.directory, name)

    def error(self, message: str) -> None:
        """One line on standard error, with the program's name."""
        self.complain(encoded(f"{self.name}: {message}\n"))

    def options(self, flags: str, valued: str = "") -> tuple[dict[str, str], list[str]]:
        """The single-letter options (with "" or, for the ``valued``, their value) and the arguments that are none.

        Raises Refused for others, as nothing should seem to be done that is not.
        """
        given: dict[str, str] = {}
        rest = list(self.arguments)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            argument = rest.pop(0)
            if argument == "--":
                break
            letters = argument[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter in valued:
                    if not letters and not rest:
                        raise Refused(f"option requires an argument -- {letter}", 2)
                    given[letter], letters = letters or rest.pop(0), ""
                elif letter in flags:
                    given[letter] = ""
                else:
                    raise Refused(f"unrecognized option: {argument}", 2)
        return given, rest

    def sources(self, names: list[str]) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The named files' pieces, ``-`` or no name at all being standard input; what cannot be read raises OSError."""
        for name in names or ["-"]:
            yield name, (self.input if name == "-" else self.guest.files.stream(self.path(name)))


Program = Callable[[Process], Output]

programs: dict[str, Program] = {}
"""The programs by name; the modules ``guest_*`` fill it when they are imported."""


def program(*names: str) -> Callable[[Program], Program]:
    """Enter a program into the table under these names."""

    def enter(function: Program) -> Program:
        programs.update(dict.fromkeys(names, function))
        return function

    return enter


def encoded(text: str) -> bytes:
    """Text as bytes; bytes that were no UTF-8 when they came in go out as they were."""
    return text.encode(errors="surrogateescape")


def decoded(data: bytes) -> str:
    """The reverse of :func:`encoded`."""
    return data.decode(errors="surrogateescape")
