"""Reads the template of a request: text or XML, as sent by clients of all versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

from stratuslab.local.api_error import BadTemplate
from stratuslab.opennebula.template_grammar import Attribute, TemplateSyntaxError, parse

_ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


class Template:
    """The attributes of a template: names in upper case, each with a text or a vector of texts. Raises APIError."""

    def __init__(self, text: str) -> None:
        try:
            self.attributes = _parse_xml(text) if text.lstrip().startswith("<") else list(parse(text))
        except TemplateSyntaxError as error:
            raise BadTemplate(f"Parse error: {error}") from None
        for name, value in self.attributes:
            for word in (name, *([] if isinstance(value, str) else value)):
                # Names become element names in documents, which must be well-formed.
                if not _ELEMENT_NAME.match(word):
                    raise BadTemplate(f'Parse error: "{word[:60]}" cannot be the name of an attribute')

    def text(self, name: str) -> str:
        """The value of a simple attribute, empty if missing."""
        return next((value for key, value in self.attributes if key == name and isinstance(value, str)), "")

    def vectors(self, name: str) -> list[dict[str, str]]:
        """The values of a vector attribute that may repeat."""
        return [dict(value) for key, value in self.attributes if key == name and not isinstance(value, str)]

    def vector(self, name: str) -> dict[str, str] | None:
        """The value of a vector attribute, None if missing."""
        return next(iter(self.vectors(name)), None)


def _parse_xml(text: str) -> list[Attribute]:
    """Below the root, an element with children is a vector; deeper ones are ignored. Document types are refused."""
    found: list[Attribute] = []
    path: list[str] = []
    pieces: list[str] = []
    vector: dict[str, str] = {}

    def start(name: str, _: Mapping[str, str]) -> None:
        path.append(name)
        pieces.clear()
        if len(path) == 2:
            vector.clear()

    def end(name: str) -> None:
        value = "".join(pieces).strip()
        if len(path) == 3:
            vector[name.upper()] = value
        elif len(path) == 2:
            found.append((name.upper(), dict(vector) if vector else value))
        path.pop()
        pieces.clear()

    def refuse(*_: object) -> None:
        raise BadTemplate("Parse error: a template cannot have a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, pieces.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise BadTemplate(f"Parse error: {error}") from None
    return found
