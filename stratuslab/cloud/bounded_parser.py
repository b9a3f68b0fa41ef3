"""Parses untrusted XML piece by piece, with limits on size and depth and without document types."""

from __future__ import annotations

from collections.abc import Callable
from xml.parsers import expat

from stratuslab.errors import Unreachable

LARGEST_DOCUMENT = 1 << 25  # characters of one document, or of everything around the documents
LARGEST_TAG = 1 << 20  # bytes of one tag or comment: expat holds it whole, and starts over at its beginning with each chunk
ELEMENT_COST = 256  # what an element counts towards LARGEST_DOCUMENT, so that a million empty ones are noticed


class InvalidAnswer(Unreachable):
    """What came back is not an answer of an XML-RPC server: another kind of document, half of one, or a hostile one."""


class BoundedParser:
    """An expat parser that refuses document types, and tags that are too long to keep in memory."""

    def __init__(
        self, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None], data: Callable[[str], None]
    ) -> None:
        self._fed = 0
        # The text is UTF-8 by the time it gets here, whatever its declaration says.
        self._expat = expat.ParserCreate("utf-8")
        self._expat.buffer_text = True
        self._expat.buffer_size = 1 << 16
        self._expat.StartElementHandler = start
        self._expat.EndElementHandler = end
        self._expat.CharacterDataHandler = data
        self._expat.StartDoctypeDeclHandler = _refuse_document_type

    @property
    def position(self) -> int:
        """The offset of the byte that is being parsed, counted from the first byte fed."""
        return max(self._expat.CurrentByteIndex, 0)

    def parse(self, data: bytes, final: bool = False) -> None:
        """Parse more bytes. Raises expat.ExpatError where they are not well-formed."""
        self._fed += len(data)
        self._expat.Parse(data, final)
        if self._fed - self._expat.CurrentByteIndex > LARGEST_TAG:
            raise InvalidAnswer(f"a tag in the answer is larger than {LARGEST_TAG >> 20} MiB")


def _refuse_document_type(*declaration: object) -> None:
    raise InvalidAnswer("the answer is a web page or another document with a document type, not XML-RPC", lasting=True)
