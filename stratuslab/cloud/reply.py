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
from xml.etree.ElementTree import Element, SubElement, TreeBuilder
from xml.parsers import expat

from stratuslab.errors import AuthenticationError, NotFound, PermissionDenied, StratusLabError, Unreachable
from stratuslab.opennebula.error_codes import ErrorCode

LARGEST_ANSWER = 1 << 30  # bytes of a whole answer: a pool of half a million machines
LARGEST_DOCUMENT = 1 << 25  # characters of one document, or of all that is around the documents
LARGEST_TAG = 1 << 20  # bytes of one tag or comment: expat holds it whole, and reads it from its start with each chunk
DAMAGE = "damage"
"""The attribute of an element that takes the place of one that was not well-formed: what was wrong with it."""

_SECTION = b"<![CDATA["
_ELEMENT_COST = 256  # what an element counts towards LARGEST_DOCUMENT, so that a million empty ones are noticed
_ENCODINGS = ("utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252")

# OpenNebula passes on what guests and drivers wrote, control characters included, and XML 1.0 knows none of them.
_WITHOUT_CONTROLS = bytes(ord("?") if byte < 32 and byte not in b"\t\n\r" else byte for byte in range(256))


class NotAnAnswer(Unreachable):
    """What came back is no answer of an XML-RPC server: another kind of document, a half one, or a hostile one."""


class Refused(StratusLabError):
    """The cloud refused the call; ``code`` is OpenNebula's error number (see ErrorCode), 0 where the server sends none."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Fault(StratusLabError):
    """The server did not understand the call; the message is its own, ``code`` the XML-RPC fault code (see FaultCode)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def value(chunks: Iterable[bytes]) -> str:
    """The second element of a successful answer as text (an id, a version, a document).

    Raises Refused (or the kind of error that its number stands for), Fault or NotAnAnswer.
    """
    answer = _Answer()
    for chunk in chunks:
        answer.feed(chunk)
    return answer.close().strip()


def documents(chunks: Iterable[bytes], tag: str) -> Iterator[Element]:
    """The elements called ``tag`` of the document in a successful answer: its root, or the root's children.

    Raises as :func:`value` does; a broken answer may raise after some elements were handed out.
    """
    inner = _Documents(tag)
    answer = _Answer(inner.feed)
    for chunk in chunks:
        answer.feed(chunk)
        yield from inner.take()
    answer.close()
    inner.close()
    yield from inner.take()


def refusal(message: str, code: int) -> StratusLabError:
    """The error for a failed answer: its kind by the number, or by the words where 2.2 sends no number."""
    text = re.sub(r"^\[[\w.]+\]\s*", "", message.strip()) or "the cloud gave no reason"
    # What could not be parsed is quoted whole, a context with all its secrets included (4.14 to 7.4).
    text = re.sub(r"(?s)(\bError parsing: )(?:.*\. (?=syntax error)|.*)", r"\1*** ", text).rstrip()
    if code == ErrorCode.AUTHENTICATION or "couldn't be authenticated" in text:
        return AuthenticationError(text)
    if code == ErrorCode.AUTHORIZATION:
        return PermissionDenied(text)
    if code == ErrorCode.NO_EXISTS or re.match(r"Error getting \w[\w ]* \[\d+\]", text):
        return NotFound(text)
    return Refused(text, code)


class _Parser:
    """An expat parser that refuses document types, and tags that are too long to be held."""

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
        """Which byte of all that was fed is being parsed."""
        return max(self._expat.CurrentByteIndex, 0)

    def parse(self, data: bytes, final: bool = False) -> None:
        """Read on; raises expat.ExpatError."""
        self._fed += len(data)
        self._expat.Parse(data, final)
        if self._fed - self._expat.CurrentByteIndex > LARGEST_TAG:
            raise NotAnAnswer(f"a tag in the answer is larger than {LARGEST_TAG >> 20} MiB")


class _Answer:
    """The outer parser: methodResponse with an array or a fault.

    ``sink`` gets the text of a successful second element as it comes; without a sink it is held like the others.
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
        self._parser = _Parser(self._start, self._end, self._data)

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > LARGEST_ANSWER:
            raise NotAnAnswer(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB")
        if self._decoder is None:
            # The declaration says how the answer is encoded, and may arrive in several pieces.
            self._head += chunk
            if len(self._head) < 128 and b"?>" not in self._head:
                return
            chunk = self._begin()
        assert self._decoder is not None
        self._parse(self._decoder.decode(chunk.translate(_WITHOUT_CONTROLS)))

    def _begin(self) -> bytes:
        declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["']""", self._head)
        name = declared[1].decode("ascii") if declared else "utf-8"
        # Python's other codecs unpack, or turn bytes into bytes; none of them is a server's.
        with contextlib.suppress(LookupError):
            codec = codecs.lookup(name)
            if codec.name in _ENCODINGS:
                self._decoder = codec.incrementaldecoder(errors="replace")
                return self._head.lstrip()
        raise NotAnAnswer(f"the answer is in the encoding {name[:40]}, which is not understood")

    def _parse(self, text: str, final: bool = False) -> None:
        try:
            self._parser.parse(text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd").encode(), final)
        except expat.ExpatError as error:
            if not self._path and not self._array and not self._fault:
                raise NotAnAnswer("the answer is no XML") from None
            state = "broke off" if final else "is damaged"
            raise NotAnAnswer(f"the answer {state} ({expat.ErrorString(error.code)})") from None

    def close(self) -> str:
        """The answer is at its end: its second element, or raises what it says if it says anything but success."""
        if self._decoder is None:
            if not self._head.strip():
                raise NotAnAnswer("the answer is empty")
            chunk = self._begin()
            assert self._decoder is not None
            self._parse(self._decoder.decode(chunk.translate(_WITHOUT_CONTROLS)))
        self._parse("", final=True)
        if self._fault:
            raise Fault(self._fault.get("faultString", "").strip(), _integer(self._fault.get("faultCode", "")))
        if not self._array:
            raise NotAnAnswer("the answer holds no result")
        if not self._succeeded():
            message, code = [*self._array[1:], "", ""][:2]
            raise refusal(message, _integer(code))
        if len(self._array) < 2:
            raise NotAnAnswer("the answer holds no result")
        return self._array[1]

    def _succeeded(self) -> bool:
        return self._array[0].strip().lower() in ("1", "true")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]  # Apache's Java library writes ex:i8
        if not self._path and name != "methodResponse":
            kind = "a web page" if name.lower() == "html" else f"a <{name[:40]}> document"
            raise NotAnAnswer(f"the answer is {kind}, not XML-RPC")
        if len(self._path) > 32:
            raise NotAnAnswer("the answer is nested too deeply")
        self._path.append(name)
        self._text.clear()
        self._hold(_ELEMENT_COST)

    def _data(self, text: str) -> None:
        if self._sink is not None and not self._sinking and self._at_document() and not text.isspace():
            # Blanks before the document would stand before its XML declaration, where none may be.
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
            raise NotAnAnswer(f"a message in the answer is larger than {LARGEST_DOCUMENT >> 20} MiB")

    def _at_document(self) -> bool:
        return len(self._array) == 1 and self._path[-1] != "data" and self._succeeded()

    def _end(self, name: str) -> None:
        name = self._path.pop()
        if name == "name":
            self._member = "".join(self._text)
        elif name == "value" and self._path[-1] == "member":
            self._fault.setdefault(self._member, "".join(self._text))
        elif name == "value" and self._path[-1] == "data" and self._path.count("data") == 1:
            self._array.append("".join(self._text))
            self._sinking = False


class _Documents:
    """The inner parser: builds one element called ``tag`` after the other.

    The text of the element that is being read is kept: where it is not well-formed, it is mended, or a mark takes its place (see
    :data:`DAMAGE`), and reading goes on behind it.
    """

    def __init__(self, tag: str, mends: bool = True) -> None:
        self._tag = tag
        self._mends = mends
        self._end_tag = f"</{tag}>".encode()
        self._root = ""
        self._depth = 0
        self._cost = 0
        self._builder: TreeBuilder | None = None
        self._builder_depth = 0
        self._ready: list[Element] = []
        self._text = bytearray()
        self._text_at = 0  # which byte of the parser's text is the first of it
        self._begin = 0  # where the element that is being read begins there
        self._damage = ""  # what is wrong with it, until its end is found
        self._searched = 0  # how far the end has been looked for
        self._is_closed = False
        self._parser = _Parser(self._start, self._end, self._data)

    def feed(self, text: str) -> None:
        data = text.encode()
        self._text += data
        if self._damage:
            self._count(len(text))
        else:
            self._parse(data)
        while self._damage and self._is_passed():
            self._parse(bytes(self._text))
        if not self._damage:
            self._forget(self._begin if self._builder is not None else self._parser.position)

    def close(self) -> None:
        while not self._is_closed:
            if not self._damage:
                self._parse(b"", final=True)
            elif self._is_passed():
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
            if self._builder is None or not self._mends:
                raise self._damaged() from None
            self._forget(self._begin)
            self._searched = 0

    def _damaged(self) -> NotAnAnswer:
        return NotAnAnswer(f"the document in the answer is damaged ({self._damage})")

    def _is_passed(self) -> bool:
        """Whether the end of the element that is not well-formed is there; a new parser is to read what is behind it then."""
        end = self._text.find(self._end_tag, max(self._searched - len(self._end_tag), 0))
        self._searched = len(self._text)
        if end < 0:
            return False
        end += len(self._end_tag)
        self._ready.append(_mended(bytes(self._text[:end]), self._tag, self._damage))
        # The root's begin is put before the rest; an element that was the root itself is followed by nothing.
        self._text[:end] = f"<{self._root}>".encode() if self._builder_depth == 2 else b"<x/>"
        self._parser = _Parser(self._start, self._end, self._data)
        self._builder, self._depth, self._damage, self._text_at = None, 0, "", 0
        return True

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > 64:
            raise NotAnAnswer("the document in the answer is nested too deeply")
        if self._builder is None:
            if name != self._tag or self._depth > 2:
                self._root = name if self._depth == 1 else self._root
                return
            self._builder, self._builder_depth, self._cost = TreeBuilder(), self._depth, 0
            self._begin = self._parser.position
        self._count(_ELEMENT_COST + (sum(map(len, attributes.values())) if attributes else 0))
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
            raise NotAnAnswer(f"a {self._tag} document in the answer is larger than {LARGEST_DOCUMENT >> 20} MiB")


def _mended(data: bytes, tag: str, damage: str) -> Element:
    """The element whose text is not well-formed, as it was meant; where that cannot be found out, an empty one with its ID and
    the mark. Raises NotAnAnswer where not even the ID can be read."""
    inner = _Documents(tag, mends=False)
    try:
        inner.feed(escaped_sections(data).decode())
        (element,) = inner.take()
        return element
    except (NotAnAnswer, ValueError):
        number = re.match(rb"<[A-Z_]{1,40}>\s{0,40}<ID>([0-9]{1,12})</ID>", data)
    if number is None:
        raise NotAnAnswer(f"the document in the answer is damaged ({damage})")
    element = Element(tag, {DAMAGE: damage})
    SubElement(element, "ID").text = number[1].decode()
    return element


def escaped_sections(data: bytes) -> bytes:
    """The text with its CDATA sections escaped instead, each up to the end that an element's end follows: 3.x does not look for
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


def _refuse_document_type(*declaration: object) -> None:
    raise NotAnAnswer("the answer is a web page or declares a document type, not XML-RPC")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0
