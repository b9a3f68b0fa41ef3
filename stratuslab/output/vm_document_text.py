"""A VM document as text for people: indented, secrets masked, safe for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from stratuslab.output.redaction import masked_value, masks_of
from stratuslab.output.safe_text import one_line


def document_lines(document: Element) -> Iterator[str]:
    """The whole document, one element on each line; each value on one line, secrets as ``***``."""
    copy = _shown(document, Element(one_line(document.tag)), masks_of(document))
    indent(copy)
    # A > in a value is written &gt;, so only tags end like this.
    yield from tostring(copy, encoding="unicode").replace(" />", "/>").splitlines()


def _shown(element: Element, copy: Element, mask: Callable[[str, str], str]) -> Element:
    for child in element:
        _shown(child, SubElement(copy, one_line(child.tag)), masked_value if element.tag == "USER_INPUTS" else mask)
    if not len(element):
        copy.text = one_line(mask(element.tag, element.text or "")) or None
    return copy
