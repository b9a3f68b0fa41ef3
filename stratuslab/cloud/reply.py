"""The answer to one XML-RPC call, read as a stream.

OpenNebula answers ``[true, value, 0]`` or ``[false, message, code, ...]`` (2 to 5 elements, by version); a document is the
*text* of the second element, escaped. Two parsers are nested, so that a pool of ten thousand machines costs the memory of one:
the outer reads the XML-RPC, the inner reads that text and hands out one document at a time.

Everything that arrives is untrusted: a document type (entities, external files) is refused, and sizes are bounded.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from xml.etree.ElementTree import Element
from xml.parsers import expat

from stratuslab.cloud.bounded_parser import ELEMENT_COST, LARGEST_DOCUMENT, BoundedParser, InvalidAnswer
from stratuslab.cloud.pool_documents import DocumentReader
from stratuslab.errors import AuthenticationError, NotFound, PermissionDenied, StratusLabError
from stratuslab.opennebula.error_codes import ErrorCode

LARGEST_ANSWER = 1 << 30  # bytes of a whole answer: a pool of half a million machines
_LONGEST_MESSAGE = 1 << 15  # characters of a refusal; one may quote a context of a few kilobytes
_ENCODINGS = ("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252")

# OpenNebula passes on what guests and drivers wrote, including control characters, which XML 1.0 does not allow.
_WITHOUT_CONTROLS = bytes(ord("?") if byte < 32 and byte not in b"\t\n\r" else byte for byte in range(256))


class Refused(StratusLabError):
    """The cloud refused the call; ``code`` is OpenNebula's error code (see ErrorCode), 0 if the server sends none."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Fault(StratusLabError):
    """The server rejected the call as such; ``message`` is its own, ``code`` the XML-RPC fault code (see FaultCode)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def value(chunks: Iterable[bytes]) -> str:
    """The second element of a successful answer as text (an id, a version, a document).

    Raises Refused (or the kind of error that its number stands for), Fault or InvalidAnswer.
    """
    answer = _Answer()
    for chunk in chunks:
        answer.feed(chunk)
    return answer.close().strip()


def documents(chunks: Iterable[bytes], tag: str) -> Iterator[Element]:
    """The elements called ``tag`` of the document in a successful answer: the root, or the root's children.

    Raises as :func:`value` does; a broken answer may raise after some elements were yielded.
    """
    inner = DocumentReader(tag)
    answer = _Answer(inner.feed)
    for chunk in chunks:
        answer.feed(chunk)
        yield from inner.take()
    answer.close()
    inner.close()
    yield from inner.take()


def error_for(message: str, code: int) -> StratusLabError:
    """The error for a failed answer: its kind by the code, or by the text, as 2.2 sends no code."""
    text = re.sub(r"^\[[\w.]+\]\s*", "", message.strip()) or "the cloud gave no reason"
    # The message quotes the text that could not be parsed, including a context's secrets (4.14 to 7.4).
    text = re.sub(r"(?s)(\bError parsing: )(?:.*\. (?=syntax error)|.*)", r"\1*** ", text).rstrip()[:_LONGEST_MESSAGE]
    if code == ErrorCode.AUTHENTICATION or "couldn't be authenticated" in text:
        return AuthenticationError(text)
    if code == ErrorCode.AUTHORIZATION:
        return PermissionDenied(text)
    if code == ErrorCode.NO_EXISTS or re.match(r"Error getting \w[\w ]* \[\d+\]", text):
        return NotFound(text)
    return Refused(text, code)


class _Answer:
    """The outer parser: methodResponse with an array or a fault.

    ``sink`` gets the text of a successful second element as it arrives; without a sink it is kept like the others.
    """

    def __init__(self, sink: Callable[[str], None] | None = None) -> None:
        self._sink = sink
        self._size = 0
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._path: list[str] = []
        self._array: list[str] = []
        self._fault: dict[str, str] = {}
        self._member = ""
        self._text: list[str] = []
        self._held = 0
        self._sinking = False
        self._parser = BoundedParser(self._start, self._end, self._data)

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > LARGEST_ANSWER:
            raise InvalidAnswer(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB")
        if self._decoder is None:
            # The declaration says how the answer is encoded, and may arrive in pieces.
            self._head += chunk
            if len(self._head) >= 128 or b"?>" in self._head:
                self._begin()
        else:
            self._parse(chunk)

    def _begin(self) -> None:
        declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["']""", self._head)
        name = declared[1].decode("ascii") if declared else "utf-8"
        # Python's other codecs decompress, or turn bytes into bytes; no server uses them.
        with contextlib.suppress(LookupError):
            codec = codecs.lookup(name)
            if codec.name in _ENCODINGS:
                self._decoder = codec.incrementaldecoder(errors="replace")
                self._parse(self._head.lstrip())
                return
        raise InvalidAnswer(f"the answer has an unknown encoding: {name[:40]}")

    def _parse(self, data: bytes, final: bool = False) -> None:
        assert self._decoder is not None
        text = self._decoder.decode(data.translate(_WITHOUT_CONTROLS))
        try:
            self._parser.parse(text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd").encode(), final)
        except expat.ExpatError as error:
            if not self._path and not self._array and not self._fault:
                raise InvalidAnswer("the answer is not XML", lasting=True) from None
            state = "is incomplete" if final else "is damaged"
            raise InvalidAnswer(f"the answer {state} ({expat.ErrorString(error.code)})") from None

    def close(self) -> str:
        """End the answer and return its second element. Raises the error that an unsuccessful answer stands for."""
        if self._decoder is None:
            if not self._head.strip():
                raise InvalidAnswer("the answer is empty")
            self._begin()
        self._parse(b"", final=True)
        if self._fault:
            raise Fault(self._fault.get("faultString", "").strip()[:_LONGEST_MESSAGE], _integer(self._fault.get("faultCode", "")))
        if not self._array:
            raise InvalidAnswer("the answer contains no result")
        if not self._succeeded():
            message, code = [*self._array[1:], "", ""][:2]
            refusal = error_for(message, _integer(code))
            refusal.nothing_done = True
            raise refusal
        if len(self._array) < 2:
            raise InvalidAnswer("the answer contains no result")
        return self._array[1]

    def _succeeded(self) -> bool:
        return self._array[0].strip().lower() in ("1", "true")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != "methodResponse":
            kind = "a web page" if name.lower() == "html" else f"a <{name[:40]}> document"
            raise InvalidAnswer(f"the answer is {kind}, not XML-RPC", lasting=True)
        if len(self._path) > 32:
            raise InvalidAnswer("the answer is nested too deeply")
        self._path.append(name)
        self._text.clear()
        self._hold(ELEMENT_COST)

    def _data(self, text: str) -> None:
        if self._sink is not None and not self._sinking and self._at_document() and not text.isspace():
            # Blanks are not allowed before a document's XML declaration.
            self._sinking = True
            text = text.lstrip()
        if self._sink is not None and self._sinking:
            self._sink(text)
        else:
            self._hold(len(text))
            self._text.append(text)

    def _hold(self, cost: int) -> None:
        self._held += cost
        if self._held > LARGEST_DOCUMENT:
            raise InvalidAnswer(f"a message in the answer is larger than {LARGEST_DOCUMENT >> 20} MiB")

    def _at_document(self) -> bool:
        return len(self._array) == 1 and self._succeeded()

    def _end(self, name: str) -> None:
        name = self._path.pop()
        if name == "name":
            self._member = "".join(self._text)
        elif name == "value" and self._path[-1] == "member":
            self._fault.setdefault(self._member, "".join(self._text))
        elif name == "value" and self._path[-1] == "data" and self._path.count("data") == 1:
            self._array.append("".join(self._text))
            self._sinking = False


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
