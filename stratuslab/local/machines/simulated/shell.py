"""The shell of a simulated guest: a small part of the POSIX shell's language, for the guest's commands.

Nothing is executed on this computer. The commands of a pipeline are generators that read each other: when the reader stops, so
does the writer, and only one piece of the stream is in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NoReturn

from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.local.machines.simulated.session_streams import Streams
from stratuslab.local.machines.simulated.shell_commands import CommandCall, Failure, Output, commands

MAX_TEXT = 64 * 1024  # characters of a command's arguments or of a variable
MAX_VARIABLES = 100
MAX_PIPED = 20

_TOKEN = re.compile(
    r"""[^\S\n]+ | \#[^\n]* | (?P<token> && | \|\| | [0-9]?[<>]+[&|]? | [;|&()\n]
        | (?:\$\([^()]*\) | [^\s;|&()<>'"\\] | \\. | '[^']*' | "(?:[^"\\]|\\.)*")+ )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|((?:\$\([^()]*\)|[^'"\\]|\\.)+)""", re.DOTALL)
_EXPANSION = re.compile(
    r"\\(.)|\$\(([^()]*)\)|\$(?:\{(\w+)\}|([A-Za-z_]\w*|[?$]))|(\$[({]|`)|[^\\$`]+|.",
    re.DOTALL | re.ASCII,
)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL | re.ASCII)
_REDIRECTION = re.compile(r"([12]?)(>>?|>&)")
_OTHER_OPERATOR = re.compile(r"[0-9]?[<>]+[&|]?|[&()]")
_OTHER_WORDS = re.compile(r"[!{}]|if|then|else|elif|fi|for|while|until|do|done|case|esac|function")


class Shell:
    """One session: its variables, and the ``status`` of its last command. ``left`` is True after ``exit``."""

    def __init__(self, guest: Guest, streams: Streams) -> None:
        self._guest, self._streams = guest, streams
        self._variables = {"USER": "root", "LOGNAME": "root", "HOME": "/root", "SHELL": "/bin/sh", "HOSTNAME": guest.host_name}
        self.status, self.left = 0, False

    def run(self, text: bytes) -> None:
        """Run the commands in a text. Raises Interrupted, HungUp."""
        try:
            for piece in self._output(text.replace(b"\0", b"").replace(b"\\\n", b"").decode(errors="surrogateescape")):
                self._streams.write(piece)
        except (Failure, OSError) as error:
            self._streams.write_error(_error_text("sh", error))
            self.status = error.status if isinstance(error, Failure) else 1

    def _output(self, text: str) -> Iterator[bytes]:
        for connector, pipeline in self._parsed(text):
            if not self.left and (connector not in ("&&", "||") or (connector == "&&") == (self.status == 0)):
                self.status = yield from self._piped(pipeline)

    def _parsed(self, text: str) -> list[tuple[str, list[list[str]]]]:
        """Pipelines with the connectors before them: a pipeline is a list of commands, a command one of words and redirections.

        Unsupported syntax is refused here, before anything runs.
        """
        steps: list[tuple[str, list[list[str]]]] = [(";", [[]])]
        for token in _tokens(text):
            connector, pipeline = steps[-1]
            if token in (";", "\n", "&&", "||", "|"):
                if not pipeline[-1] and token != "\n":
                    raise Failure(f'syntax error: unexpected "{token}"', 2)
                if pipeline[-1] and token == "|":
                    pipeline.append([])
                elif pipeline[-1]:
                    steps.append((token, [[]]))
            elif not _REDIRECTION.fullmatch(token) and (
                _OTHER_OPERATOR.fullmatch(token) or (not pipeline[-1] and _OTHER_WORDS.fullmatch(token))
            ):
                _refuse(token)
            else:
                list(self._pieces(token, split=False, run=False))
                pipeline[-1].append(token)
        connector, pipeline = steps[-1]
        if pipeline == [[]] and connector in (";", "\n"):
            steps.pop()
        elif not pipeline[-1] or any(len(pipeline) > MAX_PIPED for _, pipeline in steps):
            raise Failure("syntax error: a command is missing at the end" if not pipeline[-1] else "the pipe is too long", 2)
        return steps

    def _expanded(self, words: list[str], split: bool = True) -> list[str]:
        """The arguments for words: one each, except for unquoted variables, which are split at blanks."""
        arguments: list[str] = []
        room = MAX_TEXT
        for word in words:
            whole = ""
            for piece in self._pieces("/root" + word[1:] if word == "~" or word.startswith("~/") else word, split):
                whole += piece
                room -= len(piece)
                if room < 0:
                    raise Failure("the arguments are too long", 2)
            parts = whole.split("\0")
            arguments += [part for part in parts if part or (len(parts) == 1 and ("'" in word or '"' in word))]
        return arguments

    def _pieces(self, word: str, split: bool, run: bool = True) -> Iterator[str]:
        """A word's expanded text, with a NUL wherever it is to be split. Without ``run`` it is only checked."""
        for single, double, plain in _QUOTED.findall(word):
            yield single
            for match in _EXPANSION.finditer(double or plain):
                escaped, command, braced, name, other = match.groups()
                if other:
                    _refuse(other)
                elif escaped:
                    yield escaped if plain or escaped in '$`"\\' else "\\" + escaped
                elif command is not None or braced or name:
                    value = self._captured(command, run) if command is not None else self._variables.get(braced or name, "")
                    value = {"?": str(self.status), "$": "301"}.get(name, value)
                    yield re.sub(r"\s+", "\0", value) if plain and split else value
                else:
                    yield match[0]

    def _captured(self, text: str, run: bool) -> str:
        """The output of the commands in ``$(...)`` without trailing newlines."""
        shell = Shell(self._guest, self._streams)
        shell._variables, output = dict(self._variables), b""
        for piece in shell._output(text) if shell._parsed(text) and run else ():
            output += piece
            if len(output) > MAX_TEXT:
                raise Failure("the arguments are too long", 2)
        return output.decode(errors="surrogateescape").rstrip("\n")

    def _piped(self, pipeline: list[list[str]]) -> Output:
        stages: list[Output] = []
        for command in pipeline:
            stages.append(self._command(command, stages[-1] if stages else None, alone=len(pipeline) == 1))
        try:
            status = yield from stages[-1]
            for writer in reversed(stages[:-1]):
                # A writer whose reader has ended continues up to its next output, which finds the pipe closed.
                next(writer, None)
            return status
        finally:
            for stage in reversed(stages):
                stage.close()

    def _command(self, tokens: list[str], source: Output | None, alone: bool) -> Output:
        """Run a command; yields its output for the pipe or the terminal."""
        # Where output and errors go; None is the pipe or the terminal.
        outputs: dict[str, Callable[[bytes], None] | None] = {"1": None, "2": self._streams.write_error}
        name, status = "sh", 0
        try:
            words = self._expanded(self._prepared(tokens, outputs))
            command = words[0].rpartition("/")[2] if words else "true"
            if command not in commands:
                raise Failure(f"{words[0]}: not found: this machine is simulated (help lists its commands)", 127)
            name = command
            self.left = alone and name in ("exit", "logout")
            streams = self._streams
            call = CommandCall(name, words[1:], source or streams.input, self._guest, streams.pause, streams.window, self.status)
            result = commands[name](call)
            if isinstance(result, int):
                return result
            pieces = iter([result.encode(errors="surrogateescape")] if result else []) if isinstance(result, str) else result
            while True:
                piece = next(pieces)
                if write := outputs["1"]:
                    write(piece)
                else:
                    yield piece
                # Checks for Ctrl-C and for a closed connection during long output.
                self._streams.pause(0)
        except StopIteration as stop:
            status = stop.value or 0
        except (Failure, OSError) as error:
            status = error.status if isinstance(error, Failure) else 1
            if write := outputs["2"]:
                write(_error_text(name, error))
            else:
                yield _error_text(name, error)
        return status

    def _prepared(self, tokens: list[str], outputs: dict[str, Callable[[bytes], None] | None]) -> list[str]:
        """Set a command's variables and redirect its outputs; returns its words."""
        words: list[str] = []
        ahead = iter(tokens)
        for token in ahead:
            if redirection := _REDIRECTION.fullmatch(token):
                target = "".join(self._expanded([next(ahead, "")], split=False))
                descriptor = redirection[1] or "1"
                if redirection[2] == ">&" and target in outputs:
                    outputs[descriptor] = outputs[target]
                elif target == "/dev/null":
                    outputs[descriptor] = lambda data: None
                else:
                    node = self._guest.files.file(target, create=True)
                    if redirection[2] == ">":
                        self._guest.files.resize(node, 0)
                    outputs[descriptor] = partial(self._guest.files.write, node)
            elif (assignment := _ASSIGNMENT.fullmatch(token)) and not words:
                if len(self._variables) >= MAX_VARIABLES:
                    raise Failure("too many variables", 2)
                self._variables[assignment[1]] = "".join(self._expanded([assignment[2]], split=False))
            else:
                words.append(token)
        return words


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Failure("syntax error: a quote is not closed", 2)
        if match["token"]:
            yield match["token"]
        at = match.end()


def _error_text(name: str, error: Failure | OSError) -> bytes:
    text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    return f"{name}: {text}\n".encode(errors="surrogateescape")


def _refuse(what: str) -> NoReturn:
    raise Failure(f'"{what}" is not supported: this machine is simulated, and so is its shell', 127)
