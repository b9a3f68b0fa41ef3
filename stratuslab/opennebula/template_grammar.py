r"""OpenNebula's template text: ``NAME = "value"`` and ``NAME = [ KEY = "value", ... ]``, written and read.

The grammar is that of OpenNebula's ``template_parser.l`` (3.2 to 7.x): in a quoted value only ``\\"`` is an escape, other
backslashes stand for themselves, and the value may span lines. What the grammar cannot express is refused: ``]]>``, a
backslash at the end of a value (it would escape the closing quote), and characters that do not survive the transport.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from stratuslab.errors import UsageError

Vector = Mapping[str, str]
"""A value made of named parts, such as a DISK or a NIC."""

Attribute = tuple[str, "str | Vector"]
"""A name with its value. Names may repeat (DISK, NIC), so a template is a sequence of these, not a dictionary."""


class HasAttributes:
    """Something with the attributes of a template."""

    attributes: Sequence[Attribute]

    def text(self, name: str) -> str:
        """The value of a simple attribute, empty if missing."""
        return next((value for key, value in self.attributes if key == name and isinstance(value, str)), "")

    def vectors(self, name: str) -> list[dict[str, str]]:
        """The values of a vector attribute that may repeat, such as NIC."""
        return [dict(value) for key, value in self.attributes if key == name and not isinstance(value, str)]


# What XML forbids, and what OpenNebula's XML-RPC library (xmlrpc-c) refuses in every version: all beyond U+FFFF (fault -503).
# Patterns are compiled when they are first used.
_UNSENDABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff\U00010000-\U0010ffff]"
_NAME = r"[A-Za-z0-9_]+\Z"


def check_characters(value: str, what: str) -> None:
    """Raise UsageError for text with a character that cannot be sent; ``what`` names the text in the message."""
    if value.isascii() and value.isprintable():
        return
    found = re.search(_UNSENDABLE, value)
    if found and found[0] > "\uffff":
        raise UsageError(f"{what} contains U+{ord(found[0]):X}: OpenNebula accepts no characters beyond U+FFFF, such as emoji")
    if found:
        raise UsageError(f"{what} contains the control character U+{ord(found[0]):04X}, which OpenNebula refuses")


def quote(value: str, what: str = "a value") -> str:
    """The value in double quotes, such that OpenNebula reads it back unchanged.

    ``what`` names the value in the UsageError that is raised for text that a template cannot contain.
    """
    check_characters(value, what)
    if "]]>" in value:
        raise UsageError(f'{what} contains "]]>", which an OpenNebula template cannot contain')
    if value.endswith("\\"):
        raise UsageError(f"{what} ends with a backslash, which an OpenNebula template cannot contain")
    return '"' + value.replace('"', '\\"') + '"'


def render(attributes: Iterable[Attribute]) -> str:
    """The template text, one attribute on each line in the given order.

    Empty values are left out: OpenNebula 3.2 reads ``""`` as two quote characters.
    """
    return "".join(f"{_checked(name)} = {_value(name, value)}\n" for name, value in attributes if _says_something(value))


def _says_something(value: str | Vector) -> bool:
    return bool(value if isinstance(value, str) else any(value.values()))


def _value(name: str, value: str | Vector) -> str:
    if isinstance(value, str):
        return quote(value, name)
    inner = ", ".join(f"{_checked(key)} = {quote(text, f'{name}/{key}')}" for key, text in value.items() if text)
    return f"[ {inner} ]"


def _checked(name: str) -> str:
    if not re.match(_NAME, name):
        raise UsageError(f'"{name}" is not a valid name for a template attribute', "use letters, digits and _")
    return name


class TemplateSyntaxError(ValueError):
    """Template text that OpenNebula would not accept; the message names the line, counted from 1."""


_BLANK = r"(?:[ \t\r\n]+|#[^\n]*)*"
_VALUE = r'"(?P<quoted>(?:\\"|[^"])*)"|(?P<bare>[^=#\s,\[\]][^=#\n\t ,\[\]]*)'


def parse(text: str) -> Sequence[Attribute]:
    """The attributes of a template text in order; names in upper case, as OpenNebula keeps them.

    Raises TemplateSyntaxError.
    """
    return _Parser(text).attributes()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def attributes(self) -> list[Attribute]:
        found: list[Attribute] = []
        while self._goes_on():
            found.append((self._name(), self._value()))
        return found

    def _goes_on(self) -> bool:
        """Whether anything but blanks and comments follows."""
        self.at = re.compile(_BLANK).match(self.text, self.at).end()  # type: ignore[union-attr]  # it matches everywhere
        return self.at < len(self.text)

    def _take(self, pattern: str, what: str) -> re.Match[str]:
        match = re.compile(pattern, re.ASCII).match(self.text, self.at)
        if match is None:
            raise self._error(what)
        self.at = match.end()
        return match

    def _name(self) -> str:
        self._goes_on()
        name = self._take(r"\w+", "a name")[0].upper()
        self._goes_on()
        self._take(r"=[ \t]*", "an equals sign")
        return name

    def _value(self) -> str | Vector:
        if self.text.startswith("\n", self.at):
            return ""
        if not self.text.startswith("[", self.at):
            return self._plain()
        self.at += 1
        vector: dict[str, str] = {}
        while True:
            name = self._name()
            vector[name] = self._plain()
            self._goes_on()
            if self._take(r"[,\]]", "a comma or a bracket")[0] == "]":
                return vector

    def _plain(self) -> str:
        match = self._take(_VALUE, "a value")
        if "]]>" in match[0]:
            raise self._error('no "]]>"')
        quoted: str | None = match["quoted"]
        return match["bare"] if quoted is None else quoted.replace('\\"', '"')

    def _error(self, expected: str) -> TemplateSyntaxError:
        line = self.text.count("\n", 0, self.at) + 1
        return TemplateSyntaxError(f"syntax error, expecting {expected} at line {line}")
