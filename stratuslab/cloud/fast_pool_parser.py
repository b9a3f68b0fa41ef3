"""Reads the elements of an ordinary pool: one parser builds all of them in C, which takes a quarter of the time of callbacks.

The text is cut at the elements' end tags. A tag may also be quoted in a value, so an element counts as complete only when the
next one has become its sibling. Where a pool is not ordinary (an element that is large, deep or not well-formed, a quoted tag,
something else between the elements, the end) reading stops, before the element in question.
"""

from __future__ import annotations

import re
from itertools import chain
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

DEEPEST = 64
"""How many elements may be within each other."""

_LARGEST = 1 << 16  # bytes of an ordinary element, which bounds the number of elements in it, too
_BLANK = re.compile(rb"[ \t\r\n]*")
_HEAD = re.compile(rb"\s{0,20}(?:<\?xml[^<>]{0,200}\?>\s{0,20})?<([A-Z_]{1,40})>")
_LONGEST_HEAD = 300


class OrdinaryPool:
    """The elements called ``tag`` below the root called ``root`` (empty until it is known).

    ``rest`` is the text that no element was made of yet; once reading ``is_over``, it is all that is left for another parser.
    """

    def __init__(self, tag: str) -> None:
        self.root = ""
        self.rest = bytearray()
        self.is_over = False
        self._start, self._end = f"<{tag}>".encode(), f"</{tag}>".encode()
        self._seen = 0  # bytes of the rest that the parser knows: one element
        self._builder = TreeBuilder()
        self._parser = XMLParser(target=self._builder)
        self._tree = Element("")  # the root, with the elements that were not handed out

    def take(self, data: bytes) -> list[Element]:
        """The elements that are complete with this text."""
        self.rest += data
        found: list[Element] = []
        try:
            self.is_over = not (self._goes_on(found) if self.root or self._find_root() else len(self.rest) < _LONGEST_HEAD)
        except (ParseError, AssertionError):  # the latter where no C code builds the tree: it refuses to hand out half of one
            self.is_over = True
        return found

    def _find_root(self) -> bool:
        head = _HEAD.match(self.rest)
        if head is None or head[0].endswith(self._start):
            return False
        self._parser.feed(head[0])
        self._tree = self._builder.close()  # the tree so far
        self.root = head[1].decode()
        del self.rest[: head.end()]
        return True

    def _goes_on(self, found: list[Element]) -> bool:
        """Find elements; whether what follows them may be the beginning of another."""
        text = bytes(self.rest)
        begin, seen = 0, self._seen
        try:
            while True:
                at = _BLANK.match(text, seen).end()  # type: ignore[union-attr]  # it matches everywhere
                if not text.startswith(self._start, at):
                    return len(text) - seen < _LARGEST and self._start.startswith(text[at : at + len(self._start)])
                end = text.find(self._end, at, at + _LARGEST) + len(self._end)
                if end < at:
                    return len(text) - at < _LARGEST
                self._parser.feed(text[at:end])
                if len(self._tree) != (2 if seen else 1):
                    return False
                if seen:
                    if _is_deep(self._tree[0]):
                        return False
                    found.append(self._tree[0])
                    del self._tree[0]
                begin, seen = at, end
        finally:
            del self.rest[:begin]
            self._seen = seen - begin


def _is_deep(element: Element) -> bool:
    level = [element]
    for _ in range(DEEPEST - 1):
        level = list(chain.from_iterable(filter(len, level)))  # type: ignore[arg-type]  # of len itself
        if not level:
            return False
    return True
