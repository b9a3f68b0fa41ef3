"""A VM document as text for people: indented, without secrets, safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Set
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from stratuslab.output.redaction import MASK, masked_value, secret_inputs
from stratuslab.output.safe_text import one_line


def document_lines(document: Element) -> Iterator[str]:
    """The whole document, an element on each line. Values stand on one line, and secret ones as ``***``."""
    copy = _shown(document, Element(one_line(document.tag)), secret_inputs(document))
    indent(copy)
    # A > in a value is &gt;, so that only tags end like this.
    yield from tostring(copy, encoding="unicode").replace(" />", "/>").splitlines()


def _shown(element: Element, copy: Element, secret: Set[str]) -> Element:
    for child in element:
        _shown(child, SubElement(copy, child.tag), frozenset() if element.tag == "USER_INPUTS" else secret)
    if not len(element):
        text = element.text or ""
        copy.text = one_line(MASK if text and element.tag in secret else masked_value(element.tag, text)) or None
    return copy
