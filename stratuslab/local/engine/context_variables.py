"""Variables in the values of CONTEXT, replaced when an instance is allocated.

The whole context is parsed as one text, as by the servers' grammar (``vm_var_parser.l``): ``$NAME`` and
``$DISK[SIZE, DISK_ID=0]`` are replaced, unknown ones by nothing. ``$$``, ``${X}`` and ``$`` before a blank are syntax errors,
whose message shows the whole context from 4.0 on, as the real servers' does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_SEPARATOR = "@^_^@"
_TOKENS = (
    ("EQUAL", re.compile(r"[ \t]*=[ \t]*")),
    ("COMMA", re.compile(r"[ \t]*,[ \t]*")),
    ("OBRACKET", re.compile(r"\[[ \t]*")),
    ("CBRACKET", re.compile(r"[ \t]*\]")),
    ("VARIABLE", re.compile(r"[A-Za-z0-9_]+")),
    ("EOA", re.compile(r"[^\n]|\Z")),
)
_VALUE = re.compile(r'"(?P<quoted>[^"]*)"|(?P<bare>[A-Za-z0-9]+)')
_FORMS = (
    ("VARIABLE", "EOA"),
    ("VARIABLE", "OBRACKET", "VARIABLE", "CBRACKET", "EOA"),
    ("VARIABLE", "OBRACKET", "VARIABLE", "COMMA", "VARIABLE", "EQUAL", "STRING", "CBRACKET", "EOA"),
)
_PLAIN = re.compile(r"[^$]+")
_PLAIN_WITH_ESCAPES = re.compile(r"(?:[^$\\]|\\.)+", re.DOTALL)

Find = Callable[[str, str, str, str], str]
"""Looks up a variable by its name, and for ``NAME[KEY, WHERE=VALUE]`` by the other three, which may be empty."""


class VariableError(Exception):
    """A syntax error in a variable; the text is the server's message."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def replaced(context: Mapping[str, str], find: Find, *, escapes: bool, line: int) -> dict[str, str]:
    r"""The context with its variables replaced. Raises VariableError.

    With ``escapes`` (from 5.0 on) ``\$`` is kept as it is; ``line`` is the number of the first line in messages.
    """
    text = _SEPARATOR.join(f"{name}={context[name]}" for name in sorted(context))
    parsed = _Parser(text, _PLAIN_WITH_ESCAPES if escapes else _PLAIN, line).read(find)
    pairs = (piece.partition("=") for piece in parsed.split(_SEPARATOR))
    return {name: value for name, equals, value in pairs if equals}


class _Parser:
    def __init__(self, text: str, plain: re.Pattern[str], line: int) -> None:
        self._text = text
        self._plain = plain
        self._line = line
        self._at = 0

    def read(self, find: Find) -> str:
        pieces: list[str] = []
        inside = False  # after "$": the lexer stays in this state if "$" directly follows a name
        while self._at < len(self._text) or inside:
            plain = None if inside else self._plain.match(self._text, self._at)
            if plain is not None:
                pieces.append(plain[0])
                self._at = plain.end()
                continue
            if not inside:
                self._at += 1
            words = self._variable(bool(pieces))
            names = [word.text.upper() for word in words[:-1] if word.kind == "VARIABLE"]
            value = next((word.text for word in words if word.kind == "STRING"), "")
            name, key, where = (*names, "", "")[:3]
            pieces.append(find(name, key, where, value))
            inside = words[-1].text == "$"
            if not inside:
                pieces.append(words[-1].text)
        return "".join(pieces)

    def _variable(self, further: bool) -> list[_Token]:
        words: list[_Token] = []
        while True:
            forms = [form for form in _FORMS if form[: len(words)] == tuple(word.kind for word in words)]
            wanted = {form[len(words)] for form in forms}
            start = self._at
            token = self._value() if wanted == {"STRING"} else self._token()
            if token.kind not in wanted:
                raise self._error(token, wanted, start, further and not words)
            words.append(token)
            if token.kind == "EOA":
                return words

    def _token(self) -> _Token:
        # The lexer skips newlines after "$".
        while self._text.startswith("\n", self._at):
            self._at += 1
        matches = [(kind, found) for kind, pattern in _TOKENS if (found := pattern.match(self._text, self._at))]
        kind, longest = max(matches, key=lambda match: match[1].end())
        self._at = longest.end()
        return _Token(kind, longest[0])

    def _value(self) -> _Token:
        found = _VALUE.match(self._text, self._at)
        if found is None:
            return self._token()
        self._at = found.end()
        return _Token("STRING", found["quoted"] if found["bare"] is None else found["bare"])

    def _error(self, token: _Token, wanted: set[str], start: int, further: bool) -> VariableError:
        order = ("EQUAL", "COMMA", "OBRACKET", "CBRACKET", "EOA", "STRING", "VARIABLE", "RSTRING")
        expected = [kind for kind in order if kind in wanted or (kind == "RSTRING" and wanted == {"VARIABLE"} and further)]
        if further:
            expected.insert(0, "$end")
        line = self._line + self._text.count("\n", 0, start)
        return VariableError(
            f"Error parsing: {self._text}. syntax error, unexpected {token.kind}, expecting {' or '.join(expected)} "
            f"at line {line}, columns {start + 1}:{self._at + 1}"
        )
