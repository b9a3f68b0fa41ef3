"""A VM document as text for people: indented, without secrets, safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from stratuslab.output.redaction import MASK, masked_value, secret_inputs
from stratuslab.output.safety import one_line

if TYPE_CHECKING:
    from lxml.etree import _Element


def document_lines(document: Element) -> Iterator[str]:
    """The whole document, an element on each line. Values stand on one line, and secret ones as ``***``."""
    from lxml import etree

    copy = _shown(document, etree.Element(one_line(document.tag)), secret_inputs(document))
    shown = etree.tostring(copy, encoding="unicode", pretty_print=True)
    yield from shown.splitlines()


def _shown(element: Element, copy: _Element, secret: Set[str]) -> _Element:
    from lxml import etree

    for child in element:
        _shown(child, etree.SubElement(copy, child.tag), frozenset() if element.tag == "USER_INPUTS" else secret)
    if not len(element):
        text = element.text or ""
        copy.text = one_line(MASK if text and element.tag in secret else masked_value(element.tag, text)) or None
    return copy
