"""The simulated guest's shell: runs what :mod:`stratuslab.local.guest.syntax` reads, with the programs of the guest.

Nothing is ever executed on this computer: a command that is no program of the guest is not found.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping

from stratuslab.local.guest import disk, facts, text
from stratuslab.local.guest.builtins import ASSIGNMENT, builtins, run_file
from stratuslab.local.guest.expansion import fields
from stratuslab.local.guest.process import (
    Console,
    Input,
    Interrupted,
    Left,
    Output,
    Process,
    Refused,
    Target,
    decoded,
    encoded,
    programs,
)
from stratuslab.local.guest.syntax import Command, Incomplete, Kind, Part, Pipeline, ShellSyntaxError, Word, parse
from stratuslab.local.guest.system import PATH, Guest

# Importing these enters their programs into the table.
__all__ = ["Shell", "disk", "facts", "text"]

MAX_TEXT = 1024 * 1024
"""Bytes of output that ``$(command)`` may stand for, and of a command that goes on over lines."""

MAX_DEPTH = 10
"""Shells, scripts and eval within each other; each costs Python's stack some frames."""


class Shell:
    """One session: its variables, its working directory, the status of its last command."""

    def __init__(self, guest: Guest, console: Console, environment: Mapping[str, str] | None = None) -> None:
        self.guest = guest
        self.console = console
        self.directory = "/root"
        self.status = 0
        self.number = guest.next_process()
        self.arguments: list[str] = []
        self.depth = 0
        self.complain: Target = console.write_error
        self.exported = {"USER", "LOGNAME", "HOME", "SHELL", "PATH", "PWD", *(environment or {})}
        self.variables = {
            **(environment or {}),
            "USER": "root",
            "LOGNAME": "root",
            "HOME": "/root",
            "SHELL": "/bin/sh",
            "PATH": PATH,
            "PWD": self.directory,
            "HOSTNAME": guest.hostname,
        }

    def run(self, text: str) -> int:
        """Run commands on the console; their status. Raises Left, Interrupted, HungUp."""
        for piece in self.output(text, self.console.input):
            self.console.write(piece)
        return self.status

    def run_script(self, source: Input) -> int:
        """Run the commands that come in line by line, as a shell does that is no one's terminal."""
        for piece in self.script(source):
            self.console.write(piece)
        return self.status

    def interact(self, ask: Callable[[str], str | None]) -> int:
        """Run what is typed until the person leaves; ``ask`` shows a prompt and gives a line, None at the end."""
        text = ""
        while True:
            try:
                line = ask("> " if text else "# ")
                if line is None and not text:
                    return self.status
                text = f"{text}\n{line}" if text else line or ""
                if line is None or not _goes_on(text):
                    text, complete = "", text
                    self.run(complete)
            except Interrupted:
                text = ""
                self.status = 130
            except Left as left:
                return left.status

    def output(self, text: str, source: Input) -> Output:
        """What the commands write, piece by piece; returns the status."""
        self.depth += 1
        try:
            if self.depth > MAX_DEPTH:
                raise ShellSyntaxError("shells are nested too deeply")
            for pipeline in parse(text):
                if pipeline.connector == ";" or (pipeline.connector == "&&") == (self.status == 0):
                    status = yield from self._pipeline(pipeline, source)
                    self.status = int(not status) if pipeline.negated else status
        except (ShellSyntaxError, RecursionError) as error:
            self.complain(encoded(f"sh: {error}\n"))
            self.status = 2
        finally:
            self.depth -= 1
        return self.status

    def subshell(self, complain: Target | None = None) -> Shell:
        """A shell that starts with what this one has, and changes nothing in it."""
        below = Shell(self.guest, self.console)
        below.variables = dict(self.variables)
        below.exported = set(self.exported)
        below.directory = self.directory
        below.status = self.status
        below.depth = self.depth
        below.complain = complain or self.complain
        return below

    def script(self, source: Input) -> Output:
        """What the commands write that come in line by line; returns the last one's status."""
        text = ""
        for line in source.lines():
            text += decoded(line)
            if not _goes_on(text):
                text, complete = "", text
                yield from self.output(complete, source)
        if text:
            yield from self.output(text, source)
        return self.status

    def _pipeline(self, pipeline: Pipeline, source: Input) -> Output:
        stages: list[Output] = []
        for command in pipeline.commands:
            stages.append(self._stage(command, Input(stages[-1]) if stages else source, alone=len(pipeline.commands) == 1))
        try:
            status = yield from stages[-1]
            for writer in reversed(stages[:-1]):
                # One that nobody read has still to do its work, up to its first output: that finds the pipe closed.
                if inspect.getgeneratorstate(writer) == inspect.GEN_CREATED:
                    next(writer, None)
        finally:
            for writer in reversed(stages[:-1]):
                writer.close()
        return status

    def _stage(self, command: Command, source: Input, alone: bool) -> Output:
        try:
            return (yield from self._command(command, source))
        except Left as left:
            if alone:
                raise
            return left.status
        except OSError as error:
            self.complain(encoded(f"sh: {error.filename}: {error.strerror}\n"))
            return 1

    def _command(self, command: Command, source: Input) -> Output:
        assigned, words = self._assignments(command.words)
        out, err, source = self._redirected(command, source)
        if not words:
            self.variables.update(assigned)
            return 0
        held: list[bytes] = []
        complain: Target = err or held.append
        environment = {name: self.variables[name] for name in sorted(self.exported) if name in self.variables} | assigned
        process = Process(
            words[0].rpartition("/")[2],
            words[1:],
            self.guest,
            self.console,
            source,
            environment,
            self.directory,
            self.number,
            complain,
        )
        running = self._find(words[0], process)
        while True:
            piece, status = _next(running, process)
            if held:
                piece = b"".join(held) + piece
                held.clear()
            if out is not None:
                out(piece)
            elif piece:
                yield piece
            if status is not None:
                return status
            # Here long output hears of Ctrl-C, and of a client that has gone.
            self.console.pause(0)

    def _find(self, word: str, process: Process) -> Output:
        """The running program, builtin or script that the word names."""
        builtin = builtins.get(process.name)
        if "/" in word and not re.fullmatch(r"/(?:usr/)?(?:local/)?s?bin/[^/]+", word):
            return run_file(self, process, word, executable=True)
        if builtin:
            return builtin(self, process)
        return programs.get(process.name, _not_found)(process)

    def _assignments(self, words: tuple[Word, ...]) -> tuple[dict[str, str], list[str]]:
        """The leading NAME=value words, and the fields of the words behind them."""
        assigned: dict[str, str] = {}
        rest = list(words)
        while rest:
            match = ASSIGNMENT.match(rest[0][0].text) if not rest[0][0].quoted and rest[0][0].kind is Kind.TEXT else None
            if match is None:
                break
            value = (Part(Kind.TEXT, match[2], False), *rest.pop(0)[1:])
            assigned[match[1]] = "".join(self._fields(value, split=False))
        return assigned, [field for word in rest for field in self._fields(word)]

    def _redirected(self, command: Command, source: Input) -> tuple[Target | None, Target | None, Input]:
        """Where output and errors go (None: where output goes by itself), and the input."""
        targets: dict[int, Target | None] = {1: None, 2: self.complain}
        for redirection in command.redirections:
            name = "".join(self._fields(redirection.target, split=False))
            path = self.guest.files.resolve(self.directory, name)
            if redirection.operator == "<":
                source = Input(self.guest.files.stream(path))
            elif redirection.operator == ">&":
                if name not in ("1", "2"):
                    raise ShellSyntaxError(f"{name}: bad file descriptor")
                targets[redirection.descriptor] = targets[int(name)]
            else:
                targets[redirection.descriptor] = self.guest.files.open(path, append=redirection.operator == ">>")
        return targets[1], targets[2], source

    def _fields(self, word: Word, split: bool = True) -> list[str]:
        return fields(word, self._value, self._matching, split)

    def _matching(self, pattern: str) -> list[str]:
        return self.guest.files.glob(self.directory, pattern)

    def _value(self, part: Part) -> str:
        if part.kind is Kind.COMMAND:
            return self._captured(part.text)
        if part.text.isdigit():
            place = int(part.text)
            value = "sh" if place == 0 else self.arguments[place - 1] if place <= len(self.arguments) else ""
        else:
            special = {"?": str(self.status), "$": str(self.number), "#": str(len(self.arguments))}
            value = special.get(part.text) or self.variables.get(part.text, "")
        return value or part.default or ""

    def _captured(self, text: str) -> str:
        """The output of a command, without the newlines at its end."""
        below = self.subshell()
        captured = bytearray()
        try:
            for piece in below.output(text, Input()):
                captured += piece
                if len(captured) > MAX_TEXT:
                    raise ShellSyntaxError("out of memory")
        except Left as left:
            below.status = left.status
        self.status = below.status
        return decoded(bytes(captured)).rstrip("\n")


def _goes_on(text: str) -> bool:
    try:
        parse(text)
    except Incomplete:
        return len(text) < MAX_TEXT
    except (ShellSyntaxError, RecursionError):
        pass
    return False


def _next(running: Output, process: Process) -> tuple[bytes, int | None]:
    """The next piece of a program's output, and its status once it has ended."""
    try:
        return next(running), None
    except StopIteration as stop:
        return b"", stop.value or 0
    except Refused as refusal:
        process.error(str(refusal))
        return b"", refusal.status
    except OSError as error:
        process.error(f"{error.filename}: {error.strerror}")
        return b"", 1


def _not_found(process: Process) -> Output:
    yield from ()
    process.complain(encoded(f"sh: {process.name}: not found\n"))
    return 127
