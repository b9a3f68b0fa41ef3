"""Reads a pool's documents one at a time; a malformed one is repaired or marked, and the others are still read."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, TreeBuilder
from xml.parsers import expat

from stratuslab.cloud.bounded_parser import ELEMENT_COST, LARGEST_DOCUMENT, BoundedParser, InvalidAnswer
from stratuslab.cloud.fast_pool_parser import DEEPEST, OrdinaryPool

DAMAGE = "damage"
"""The attribute of an element that stands in for one that was not well-formed: what was wrong with it."""

_SECTION = b"<![CDATA["


class DocumentReader:
    """Builds one element called ``tag`` after another from the text of a document.

    Ordinary elements are read by :class:`OrdinaryPool`; all that is odd, and the end, by a parser with callbacks, which checks
    all limits. The text of the current element is kept. If it is not well-formed, it is repaired, or an element with a mark takes
    its place (see :data:`DAMAGE`), and reading continues after it.
    """

    def __init__(self, tag: str, repairs: bool = True) -> None:
        self._tag = tag
        self._repairs = repairs
        self._end_tag = f"</{tag}>".encode()
        self._root = ""
        self._depth = 0
        self._cost = 0
        self._builder: TreeBuilder | None = None
        self._builder_depth = 0
        self._ready: list[Element] = []
        self._text = bytearray()
        self._text_at = 0  # the offset of its first byte in the parser's text
        self._begin = 0  # where the current element begins there
        self._damage = ""  # what is wrong with it, until its end is found
        self._searched = 0  # how far it has been searched for that end
        self._is_closed = False
        self._parser = BoundedParser(self._start, self._end, self._data)
        self._ordinary = OrdinaryPool(tag) if repairs else None

    def feed(self, text: str) -> None:
        if self._ordinary is None:
            self._feed(text.encode())
            return
        self._ready += self._ordinary.take(text.encode())
        if self._ordinary.is_over:
            self._leave_ordinary()

    def _leave_ordinary(self) -> None:
        """Feed the parser with callbacks what is left, in a root of its own if elements were taken."""
        if self._ordinary is not None:
            root, rest = self._ordinary.root, self._ordinary.rest
            self._ordinary = None
            self._feed((f"<{root}>".encode() if root else b"") + rest)

    def _feed(self, data: bytes) -> None:
        self._text += data
        if self._damage:
            self._count(len(data))
        else:
            self._parse(data)
        while self._damage and self._skip_damaged():
            self._parse(bytes(self._text))
        if not self._damage:
            self._forget(self._begin if self._builder is not None else self._parser.position)

    def close(self) -> None:
        self._leave_ordinary()
        while not self._is_closed:
            if not self._damage:
                self._parse(b"", final=True)
            elif self._skip_damaged():
                self._parse(bytes(self._text))
            else:
                raise self._damaged()

    def take(self) -> list[Element]:
        ready, self._ready = self._ready, []
        return ready

    def _forget(self, before: int) -> None:
        del self._text[: max(before - self._text_at, 0)]
        self._text_at = max(self._text_at, before)

    def _parse(self, data: bytes, final: bool = False) -> None:
        try:
            self._parser.parse(data, final)
            self._is_closed = final
        except expat.ExpatError as error:
            self._damage = expat.ErrorString(error.code)
            if self._builder is None or not self._repairs:
                raise self._damaged() from None
            self._forget(self._begin)
            self._searched = 0

    def _damaged(self) -> InvalidAnswer:
        return InvalidAnswer(f"the document in the answer is damaged ({self._damage})")

    def _skip_damaged(self) -> bool:
        """Whether the end of the damaged element has arrived; if so, a new parser is set up for what follows."""
        end = self._text.find(self._end_tag, max(self._searched - len(self._end_tag), 0))
        self._searched = len(self._text)
        if end < 0:
            return False
        end += len(self._end_tag)
        self._ready.append(_repaired(bytes(self._text[:end]), self._tag, self._damage))
        # The rest needs the root's start tag; if the element was the root itself, nothing follows.
        self._text[:end] = f"<{self._root}>".encode() if self._builder_depth == 2 else b"<x/>"
        self._parser = BoundedParser(self._start, self._end, self._data)
        self._builder, self._depth, self._damage, self._text_at = None, 0, "", 0
        return True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise InvalidAnswer("the document in the answer is nested too deeply")
        if self._builder is None:
            if name != self._tag or self._depth > 2:
                self._root = name if self._depth == 1 else self._root
                return
            self._builder, self._builder_depth, self._cost = TreeBuilder(), self._depth, 0
            self._begin = self._parser.position
        self._count(ELEMENT_COST + (sum(map(len, attributes.values())) if attributes else 0))
        self._builder.start(name, attributes)

    def _data(self, text: str) -> None:
        if self._builder is not None:
            self._count(len(text))
            self._builder.data(text)

    def _end(self, name: str) -> None:
        if self._builder is not None:
            self._builder.end(name)
            if self._depth == self._builder_depth:
                self._ready.append(self._builder.close())
                self._builder = None
        self._depth -= 1

    def _count(self, cost: int) -> None:
        self._cost += cost
        if self._cost > LARGEST_DOCUMENT:
            raise InvalidAnswer(f"a {self._tag} document in the answer is larger than {LARGEST_DOCUMENT >> 20} MiB")


def _repaired(data: bytes, tag: str, damage: str) -> Element:
    """The element whose text is not well-formed, repaired if possible, else an empty one with its ID and the mark. Raises
    InvalidAnswer if not even the ID can be read."""
    inner = DocumentReader(tag, repairs=False)
    try:
        inner.feed(escaped_sections(data).decode())
        (element,) = inner.take()
        return element
    except (InvalidAnswer, ValueError):
        number = re.match(rb"<[A-Z_]{1,40}>\s{0,40}<ID>([0-9]{1,12})</ID>", data)
    if number is None:
        raise InvalidAnswer(f"the document in the answer is damaged ({damage})")
    element = Element(tag, {DAMAGE: damage})
    SubElement(element, "ID").text = number[1].decode()
    return element


def escaped_sections(data: bytes) -> bytes:
    """The text with escapes instead of CDATA sections, each up to the end mark before an end tag: 3.x does not look for
    ``]]>`` in what drivers and users wrote. Outside of sections a lone ``&`` or ``<`` is escaped."""
    parts: list[bytes] = []
    at = 0
    while (begin := data.find(_SECTION, at)) >= 0 and (end := data.find(b"]]></", begin)) >= 0:
        parts += (_lone_escaped(data[at:begin]), _escaped(data[begin + len(_SECTION) : end]))
        at = end + 3
    parts.append(_lone_escaped(data[at:]))
    return b"".join(parts)


def _escaped(data: bytes) -> bytes:
    return data.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")


def _lone_escaped(data: bytes) -> bytes:
    return re.sub(
        rb"<(?![/A-Za-z_])", b"&lt;", re.sub(rb"&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)", b"&amp;", data)
    )
