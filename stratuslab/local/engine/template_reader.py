"""Reads the template of a request: text or XML, as sent by clients of all versions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stratuslab.local.api_error import BadTemplate
from stratuslab.opennebula.template_grammar import Attribute, HasAttributes, TemplateSyntaxError, parse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


class Template(HasAttributes):
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


def _parse_xml(text: str) -> list[Attribute]:
    """Below the root, an element with children is a vector; deeper ones are ignored. Document types are refused."""
    from xml.etree import ElementTree

    class Builder(ElementTree.TreeBuilder):
        def doctype(self, *_: object) -> None:
            raise BadTemplate("Parse error: a template cannot have a document type")

    try:
        root = ElementTree.fromstring(text.encode("utf-8", "replace"), ElementTree.XMLParser(target=Builder(), encoding="utf-8"))
    except ElementTree.ParseError as error:
        raise BadTemplate(f"Parse error: {error}") from None
    return [(_name(element), {_name(part): _text(part) for part in element} or _text(element)) for element in root]


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2].upper()  # without its namespace


def _text(element: Element) -> str:
    return (element.text or "").strip()
