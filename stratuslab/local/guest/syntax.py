"""The grammar of the simulated guest's shell: a line of text becomes lists of pipelines of commands.

A small part of the POSIX shell's: quotes, ``$NAME``, ``${NAME}``, ``$(command)``, ``;``, ``&&``, ``||``, ``|``, ``!``, and
redirections. Control flow (``if``, ``for``, functions), here-documents and jobs are not in it, and are refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn


class ShellSyntaxError(Exception):
    """A line that the shell cannot read; the text says why."""


class Incomplete(ShellSyntaxError):
    """A line that goes on: an open quote, or an operator at its end."""


class Kind(Enum):
    """What a part of a word is: text as it stands, a variable's name, or a command whose output it stands for."""

    TEXT = 1
    VARIABLE = 2
    COMMAND = 3


@dataclass(frozen=True)
class Part:
    """A piece of a word. What is quoted is neither split at blanks nor matched with file names."""

    kind: Kind
    text: str
    quoted: bool
    default: str | None = None


Word = tuple[Part, ...]


@dataclass(frozen=True)
class Redirection:
    """``descriptor`` becomes the file that ``target`` names, or (``operator`` is ``>&``) a copy of another descriptor."""

    descriptor: int
    operator: str
    target: Word


@dataclass(frozen=True)
class Command:
    words: tuple[Word, ...]
    redirections: tuple[Redirection, ...]


@dataclass(frozen=True)
class Pipeline:
    """Commands of which each reads what the one before writes; ``connector`` (``;``, ``&&``, ``||``) says when it runs."""

    connector: str
    commands: tuple[Command, ...]
    negated: bool = False


_OPERATORS = re.compile(r"&&|\|\||;;|<<|\d?(?:>>|>&|<&|<>|>\||>|<)|[;&|()\n]")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_BRACED = re.compile(r"\{([A-Za-z_]\w*|[?$#0-9])(?::?-([^}]*))?\}", re.ASCII)
_RESERVED = frozenset(["if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "{", "}"])
_REDIRECTIONS = frozenset([">", ">>", ">&", "<", ">|"])


def parse(text: str) -> list[Pipeline]:
    """The pipelines of a text, which may have several lines. Raises ShellSyntaxError, or Incomplete for one that goes on."""
    return _Parser(_Scanner(text).tokens()).pipelines()


class _Scanner:
    """Cuts text into words and operators (strings)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def tokens(self) -> list[str | Word]:
        found: list[str | Word] = []
        while self.at < len(self.text):
            operator = _OPERATORS.match(self.text, self.at)
            if operator:
                found.append(operator[0])
                self.at = operator.end()
            elif self.text[self.at] in " \t\r":
                self.at += 1
            elif self.text[self.at] == "#":
                self.at = self._find("\n")
            elif self.text.startswith("\\\n", self.at):
                self.at += 2
            else:
                found.append(self._word())
        return found

    def _find(self, character: str) -> int:
        found = self.text.find(character, self.at)
        return len(self.text) if found < 0 else found

    def _word(self) -> Word:
        parts: list[Part] = []
        while self.at < len(self.text) and self.text[self.at] not in " \t\r\n;&|()<>":
            character = self.text[self.at]
            if character == "'":
                parts.append(Part(Kind.TEXT, self._until("'"), True))
            elif character == '"':
                parts += self._double_quoted()
            elif character == "\\":
                parts += self._escaped()
            elif character in "$`":
                parts.append(self._expansion(quoted=False))
            else:
                plain = re.compile(r"[^ \t\r\n;&|()<>'\"\\$`]+").match(self.text, self.at)
                assert plain is not None
                self.at = plain.end()
                parts.append(Part(Kind.TEXT, plain[0], False))
        return tuple(parts)

    def _until(self, closing: str) -> str:
        """What stands between the quote here and the next one; moves behind it."""
        end = self.text.find(closing, self.at + 1)
        if end < 0:
            raise Incomplete("syntax error: unterminated quoted string")
        inner = self.text[self.at + 1 : end]
        self.at = end + 1
        return inner

    def _escaped(self) -> list[Part]:
        if self.at + 1 >= len(self.text):
            raise Incomplete("syntax error: nothing follows the backslash")
        character = self.text[self.at + 1]
        self.at += 2
        return [] if character == "\n" else [Part(Kind.TEXT, character, True)]

    def _double_quoted(self) -> list[Part]:
        self.at += 1
        parts = [Part(Kind.TEXT, "", True)]
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == '"':
                self.at += 1
                return parts
            if character in "$`":
                parts.append(self._expansion(quoted=True))
            elif character == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\", "\n"):
                parts += self._escaped()
            else:
                parts.append(Part(Kind.TEXT, character, True))
                self.at += 1
        raise Incomplete("syntax error: unterminated quoted string")

    def _expansion(self, quoted: bool) -> Part:
        if self.text[self.at] == "`":
            return Part(Kind.COMMAND, self._until("`"), quoted)
        self.at += 1
        if self.text.startswith("((", self.at):
            raise ShellSyntaxError("syntax error: no arithmetic in the simulated machine's shell")
        if self.text.startswith("(", self.at):
            return Part(Kind.COMMAND, self._substituted(), quoted)
        if self.text.startswith("{", self.at):
            braced = _BRACED.match(self.text, self.at)
            if braced is None:
                raise ShellSyntaxError("syntax error: bad substitution")
            self.at = braced.end()
            return Part(Kind.VARIABLE, braced[1], quoted, braced[2])
        name = _NAME.match(self.text, self.at) or re.compile("[?$#0-9]").match(self.text, self.at)
        if name is None:
            return Part(Kind.TEXT, "$", quoted)
        self.at = name.end()
        return Part(Kind.VARIABLE, name[0], quoted)

    def _substituted(self) -> str:
        """The command of ``$(command)``; it may hold quotes and further ones of its kind."""
        start = self.at + 1
        depth = 0
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "'":
                self._until("'")
                continue
            if character == "\\":
                self.at += 1
            depth += {"(": 1, ")": -1}.get(character, 0)
            self.at += 1
            if depth == 0:
                return self.text[start : self.at - 1]
        raise Incomplete('syntax error: missing ")"')


class _Parser:
    def __init__(self, tokens: list[str | Word]) -> None:
        self.tokens = tokens
        self.at = 0

    @property
    def next(self) -> str | Word | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def pipelines(self) -> list[Pipeline]:
        found: list[Pipeline] = []
        connector = ";"
        while True:
            while self.next == "\n":
                self.at += 1
            if self.next is None:
                if connector != ";":
                    raise Incomplete(f'syntax error: nothing follows "{connector}"')
                return found
            found.append(self._pipeline(connector))
            token = self.next
            if token in (";", "\n", "&&", "||"):
                connector = ";" if token == "\n" else str(token)
                self.at += 1
            elif token is not None:
                self._unexpected()
            else:
                connector = ";"

    def _pipeline(self, connector: str) -> Pipeline:
        negated = False
        while self.next == (Part(Kind.TEXT, "!", False),):
            negated = not negated
            self.at += 1
        commands = [self._command()]
        while self.next == "|":
            self.at += 1
            while self.next == "\n":
                self.at += 1
            if self.next is None:
                raise Incomplete('syntax error: nothing follows "|"')
            commands.append(self._command())
        return Pipeline(connector, tuple(commands), negated)

    def _command(self) -> Command:
        words: list[Word] = []
        redirections: list[Redirection] = []
        while (token := self.next) is not None:
            if isinstance(token, tuple):
                if not words and len(token) == 1 and not token[0].quoted and token[0].text in _RESERVED:
                    raise ShellSyntaxError(f'syntax error: no "{token[0].text}" in the simulated machine\'s shell')
                words.append(token)
                self.at += 1
            elif token.lstrip("0123456789") in _REDIRECTIONS:
                redirections.append(self._redirection(token))
            else:
                break
        if not words and not redirections:
            self._unexpected()
        return Command(tuple(words), tuple(redirections))

    def _redirection(self, token: str) -> Redirection:
        operator = token.lstrip("0123456789")
        descriptor = int(token[: -len(operator)] or ("0" if operator == "<" else "1"))
        self.at += 1
        target = self.next
        if not isinstance(target, tuple):
            self._unexpected()
        self.at += 1
        return Redirection(descriptor, ">" if operator == ">|" else operator, target)

    def _unexpected(self) -> NoReturn:
        token = self.next
        if token == "&":
            raise ShellSyntaxError("syntax error: no background jobs in the simulated machine's shell")
        if token == "<<":
            raise ShellSyntaxError("syntax error: no here-documents in the simulated machine's shell")
        if token is None or token == "\n":
            raise ShellSyntaxError("syntax error: unexpected end of line")
        text = token if isinstance(token, str) else "".join(part.text for part in token)
        raise ShellSyntaxError(f'syntax error: unexpected "{text}"')
