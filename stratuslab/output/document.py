"""A VM document as text for people: indented, without secrets, safe for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from stratuslab.output.redaction import masked_value
from stratuslab.output.safety import one_line

if TYPE_CHECKING:
    from lxml.etree import _Element


def document_lines(document: Element) -> Iterator[str]:
    """The whole document, an element on each line. Values stand on one line, and secret ones as ``***``."""
    from lxml import etree

    shown = etree.tostring(_shown(document, etree.Element(one_line(document.tag))), encoding="unicode", pretty_print=True)
    yield from shown.splitlines()


def _shown(element: Element, copy: _Element) -> _Element:
    from lxml import etree

    for child in element:
        _shown(child, etree.SubElement(copy, child.tag))
    if not len(element):
        copy.text = one_line(masked_value(element.tag, element.text or "")) or None
    return copy
