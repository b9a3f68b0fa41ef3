"""The shell of a simulated guest: a small part of the POSIX shell's language, for the guest's commands.

Nothing is executed on this computer. A text is checked as a whole, so of what is refused nothing has run. The commands of a
pipeline are generators that read each other: when the reader stops, so does the writer, and only one piece is in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial

from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.local.machines.simulated.session_streams import Streams
from stratuslab.local.machines.simulated.shell_commands import CommandCall, Failure, commands

MAX_COMMANDS = 100  # that are run at once, with those of pipes
MAX_TEXT = 32 * 1024  # bytes of them

Command = list[str]
"""Words as they were typed, and ``>`` or ``>>`` before the name of a file."""

_VARIABLE = r"\$(?:\{\w+\}|[A-Za-z_]\w*|\?)"
_DOLLAR = r"\$(?: \{\w+\} | (?![({]) )"  # all that follows other than a name in braces are plain characters
_TOKEN = re.compile(
    rf"""[^\S\n]+ | \#[^\n]* | (?P<token> && | \|\| | >>? | [;|\n] | (?![0-9]+[<>]) (?: {_DOLLAR} | \\.
        | [^\s;|&()<>'"\\`$] | '[^']*' | "(?: {_DOLLAR} | \\. | [^"\\`$] )*" )+ )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|((?:[^'"\\]|\\.)+)""", re.DOTALL)
_OPEN_QUOTE = re.compile(r"""'[^']*\Z|"(?:[^"\\]|\\.)*\\?\Z""", re.DOTALL)
_IN_QUOTES = re.compile(rf"""\\([$`"\\])|{_VARIABLE}""", re.ASCII)
_UNQUOTED = re.compile(rf"\\(.)|{_VARIABLE}", re.DOTALL | re.ASCII)


class Shell:
    """One session: the ``status`` of its last command, and whether it was ``left`` with ``exit``."""

    def __init__(self, guest: Guest, streams: Streams) -> None:
        self._guest, self._streams = guest, streams
        self._variables = {"USER": "root", "LOGNAME": "root", "HOME": "/root", "SHELL": "/bin/sh", "HOSTNAME": guest.host_name}
        self.status, self.left = 0, False

    def run(self, text: bytes) -> None:
        """Run the commands in a text. Raises Interrupted, HungUp."""
        plain = text.replace(b"\0", b"").replace(b"\\\n", b"").decode(errors="surrogateescape")
        try:
            if len(text) > MAX_TEXT:
                raise Failure("the command is too long for a simulated machine", 2)
            for connector, pipeline in self._parsed(plain):
                if not self.left and (connector not in ("&&", "||") or (connector == "&&") == (self.status == 0)):
                    self._run(pipeline)
        except Failure as error:
            self.status = self._report("sh", error)

    def _parsed(self, text: str) -> list[tuple[str, list[Command]]]:
        """The pipelines, each with the connector before it. Raises Failure."""
        steps: list[tuple[str, list[Command]]] = [(";", [[]])]
        for token in _tokens(text):
            pipeline = steps[-1][1]
            if token not in (";", "\n", "&&", "||", "|"):
                pipeline[-1].append(token)
            elif pipeline[-1] and token == "|":
                pipeline.append([])
            elif pipeline[-1]:
                steps.append((token, [[]]))
            elif token != "\n":
                raise Failure(f'syntax error: unexpected "{token}"', 2)
        if steps[-1][0] in (";", "\n") and steps[-1][1] == [[]]:
            steps.pop()
        all_commands = [command for _, pipeline in steps for command in pipeline]
        if len(all_commands) > MAX_COMMANDS:
            raise Failure("too many commands for a simulated machine", 2)
        for command in all_commands:
            if not command or command[-1] in (">", ">>"):
                raise Failure("syntax error: a word is missing at the end", 2)
            if self._name(command) not in commands:
                raise Failure(f"{command[0]}: not found: this machine is simulated (help lists its commands)", 127)
        return steps

    def _run(self, pipeline: list[Command]) -> None:
        stages: list[Generator[bytes, None, None]] = []
        for command in pipeline:
            stages.append(self._output(command, stages[-1] if stages else self._streams.pieces()))
        try:
            for piece in stages[-1]:
                self._streams.write(piece)
            status = self.status
            for writer in reversed(stages[:-1]):
                # A writer whose reader has ended continues up to its next output, which finds the pipe closed.
                next(writer, None)
            self.status = status
        finally:
            for stage in reversed(stages):
                stage.close()
        self.left = len(pipeline) == 1 and self._name(pipeline[0]) == "exit"

    def _output(self, command: Command, source: Iterable[bytes]) -> Generator[bytes, None, None]:
        """Run a command, which sets the status; yields what it writes to the pipe or the terminal."""
        name, words = self._name(command), list[str]()
        write: Callable[[bytes], object] | None = None
        try:
            tokens = iter(command)
            for token in tokens:
                if token in (">", ">>"):
                    write = self._file_writer(self._expanded(next(tokens)), append=token == ">>")
                elif (word := self._expanded(token)) or "'" in token or '"' in token:
                    words.append(word)
            result = commands[name](CommandCall(name, words[1:], source, self._guest, self._streams, self.status))
            for piece in [result.encode(errors="surrogateescape")] if isinstance(result, str) else result:
                if write:
                    write(piece)
                else:
                    yield piece
                # Checks for Ctrl-C and for a closed connection during long output.
                self._streams.pause(0)
            self.status = 0
        except (Failure, OSError) as error:
            self.status = self._report(name, error)

    def _file_writer(self, path: str, append: bool) -> Callable[[bytes], object]:
        if path == "/dev/null":
            return lambda data: None
        file = self._guest.files.open(path, os.O_CREAT | os.O_APPEND | (0 if append else os.O_TRUNC))
        return partial(file.write, 0)

    def _name(self, command: Command) -> str:
        return self._expanded(command[0]).rpartition("/")[2]

    def _expanded(self, word: str) -> str:
        """A word without its quotes, and with the values of its variables."""
        home = "/root" * (word == "~" or word.startswith("~/"))
        quoted = _QUOTED.findall(word[bool(home) :])
        return home + "".join(
            single + _IN_QUOTES.sub(self._value, double) + _UNQUOTED.sub(self._value, plain) for single, double, plain in quoted
        )

    def _value(self, match: re.Match[str]) -> str:
        name = match[0].strip("${}")
        return match[1] or (str(self.status) if name == "?" else self._variables.get(name, ""))

    def _report(self, name: str, error: Failure | OSError) -> int:
        """Print the error, if it has a message. Returns the exit status."""
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        if text:
            self._streams.write_error(f"{name}: {text}\n".encode(errors="surrogateescape"))
        return error.status if isinstance(error, Failure) else 1


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None and _OPEN_QUOTE.match(text, at):
            raise Failure("syntax error: a quote is not closed", 2)
        if match is None:
            refused = text[at:].split(maxsplit=1)[0][:40]
            raise Failure(f'"{refused}" is not supported: this machine is simulated, and so is its shell', 127)
        if match["token"]:
            yield match["token"]
        at = match.end()
