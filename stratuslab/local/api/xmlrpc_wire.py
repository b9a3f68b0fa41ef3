"""Reads XML-RPC calls and writes answers and faults like OpenNebula's daemon.

Its library (xmlrpc-c) is strict: ids must be ``<int>`` or ``<i4>``, and invalid calls are answered with a fault. Document types
are refused, so no entity is expanded.
"""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar
from xml.parsers import expat

from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.api_error import APIError
from stratuslab.local.xml_writer import escape
from stratuslab.opennebula.error_codes import FaultCode

T = TypeVar("T")

CONTENT_TYPE = "text/xml; charset=utf-8"
LARGEST_CALL = 8 << 20
"""The maximum size of a call in bytes."""

UNAUTHENTICATED = 64 << 10
"""How many bytes of a call are read before its user is known."""

_DEEPEST = 64
_LARGEST_TAG = 1 << 20
_MOST_ELEMENTS = 1 << 17  # like LARGEST_DOCUMENT // ELEMENT_COST in the client's own reader


class RpcFault(Exception):
    """A call that is answered with a fault."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


_BEYOND_16_BITS = re.compile(r"[\U00010000-\U0010ffff]")


class _Unmarshaller(xmlrpc.client.Unmarshaller):
    def __init__(self) -> None:
        super().__init__(use_datetime=False, use_builtin_types=True)
        self.xml(None, None)  # type: ignore[arg-type]  # the parser's text is decoded already
        self._elements = self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        self._elements += 1
        self._depth += 1
        if self._depth > _DEEPEST or self._elements > _MOST_ELEMENTS:
            raise _malformed("It is nested too deeply." if self._depth > _DEEPEST else "It has too many elements.")
        super().start(tag, attrs)

    def end(self, tag: str) -> None:
        self._depth -= 1
        super().end(tag)

    def end_string(self, data: str) -> None:
        found = _BEYOND_16_BITS.search(data)
        if found:
            encoded = data.encode("utf-8", "replace")
            raise _malformed(
                f"{len(encoded)}-byte supposed UTF-8 string is not valid UTF-8.  UTF-8 string contains a character not in the "
                f"Basic Multilingual Plane (first byte 0xffffff{found[0].encode()[0]:02x})"
            )
        super().end_string(data)

    _known = xmlrpc.client.Unmarshaller.dispatch
    # An <i8> is not accepted as an <int>.
    dispatch: dict[str, Any] = {**_known, "i8": _known["double"], "string": end_string, "name": end_string}  # noqa: RUF012


class Parameters:
    """The parameters of a call, read by position and type. Methods raise RpcFault. Further parameters are ignored."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def text(self, place: int, default: str | None = None) -> str:
        return self._at(place, str, "a string", default)

    def integer(self, place: int, default: int | None = None) -> int:
        value = self._at(place, int, "integer", default)
        if not -(2**31) <= value < 2**31:
            raise _wrong_type("integer")
        return value

    def array(self, place: int) -> list[Any]:
        return self._at(place, list, "array")

    def flag(self, place: int, default: bool) -> bool:
        return self._at(place, bool, "boolean", default)

    def _at(self, place: int, kind: type[T], name: str, default: T | None = None) -> T:
        if place >= len(self._values):
            if default is None:
                raise RpcFault(FaultCode.TYPE, "Not enough parameters")
            return default
        value = self._values[place]
        if type(value) is not kind:
            raise _wrong_type(name)
        return value


def _wrong_type(kind: str) -> RpcFault:
    return RpcFault(FaultCode.TYPE, f"Parameter that is supposed to be {kind} is not")


def read_call(pieces: Iterable[bytes]) -> tuple[str, Parameters]:
    """The method and the parameters of a call. Raises RpcFault."""
    method, values = _read(pieces, final=True)
    if not method:
        raise _malformed("It has no method name.")
    return method, Parameters(values)


def read_session(beginning: bytes) -> tuple[str, str]:
    """The method and the session string at the beginning of a long call. Raises RpcFault if they are not there."""
    method, values = _read([beginning], final=False)
    if not method or not values or not isinstance(values[0], str):
        raise _malformed(f"It has no session in its first {len(beginning)} bytes.")
    return method, values[0]


def _read(pieces: Iterable[bytes], final: bool) -> tuple[str, Sequence[Any]]:
    """The method and the parameters of a call that is not trusted, within bounds of depth and size; without ``final`` the call
    may go on, and both are what there is of them."""
    call = _Unmarshaller()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = call.start
    parser.EndElementHandler = call.end
    parser.CharacterDataHandler = call.data
    parser.StartDoctypeDeclHandler = _refuse_document_type
    read = 0
    try:
        for piece in pieces:
            read += len(piece)
            parser.Parse(piece, False)
            # Expat keeps an unfinished tag, and reads it again with each piece.
            if read - parser.CurrentByteIndex > _LARGEST_TAG:
                raise _malformed("It has a tag that is too long.")
        if final:
            parser.Parse(b"", True)
        values = call.close() if final else call._stack
    except expat.ExpatError as error:
        raise _malformed(f"Call is not valid XML.  {expat.errors.messages[error.code]}") from None
    except xmlrpc.client.ResponseError:
        raise _malformed("It is not a method call.") from None
    except (xmlrpc.client.Error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The unmarshaller's exception depends on what is invalid.
        raise _malformed(str(error)) from None
    return call.getmethodname() or "", values


def _refuse_document_type(*_: object) -> None:
    raise _malformed("It declares a document type.")


def _malformed(text: str) -> RpcFault:
    return RpcFault(FaultCode.PARSE, f"Call XML not a proper XML-RPC call.  {text}")


# Line ends as the daemon writes them.
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n'
_ARRAY = "<params>\r\n<param><value><array><data>\r\n"
_ARRAY_END = "</data></array></value></param>\r\n</params>\r\n</methodResponse>\r\n"


def number(value: int) -> Iterator[bytes]:
    """The answer with a number."""
    yield f"{_HEAD}{_ARRAY}{_flag(True)}{_integer(value)}{_integer(0)}{_ARRAY_END}".encode()


def document(pieces: Iterable[str]) -> Iterator[bytes]:
    """The answer with a text, written in pieces as they come."""
    yield f"{_HEAD}{_ARRAY}{_flag(True)}<value><string>".encode()
    for piece in pieces:
        yield escape(piece).encode("utf-8", "replace")
    yield f"</string></value>\r\n{_integer(0)}{_ARRAY_END}".encode()


def array(values: Iterable[bytes]) -> Iterator[bytes]:
    """The answer with an array of values that are XML already."""
    yield f"{_HEAD}{_ARRAY}".encode()
    yield from values
    yield _ARRAY_END.encode()


def value(plain: Any) -> Iterator[bytes]:
    """The answer with a plain text or list, as of xmlrpc-c's methods."""
    yield xmlrpc.client.dumps((plain,), methodresponse=True).encode()


def failure(refusal: APIError, method: str, profile: ServerProfile) -> Iterator[bytes]:
    """The answer to a call that failed. The number of elements depends on the version."""
    elements = [
        _flag(False),
        f"<value><string>{escape(f'[{profile.tag(method)}] {refusal.text}')}</string></value>\r\n",
        _integer(refusal.code),
        *([_integer(refusal.object_id), "<value><i8>-1</i8></value>\r\n"] if profile.release >= 5 else []),
    ]
    yield f"{_HEAD}{_ARRAY}{''.join(elements)}{_ARRAY_END}".encode("utf-8", "replace")


def fault(error: RpcFault) -> Iterator[bytes]:
    yield (
        f"{_HEAD}<fault>\r\n<value><struct>\r\n<member><name>faultCode</name>\r\n<value><i4>{error.code:d}</i4></value></member>\r\n"
        f"<member><name>faultString</name>\r\n<value><string>{escape(error.text)}</string></value></member>\r\n"
        "</struct></value>\r\n</fault>\r\n</methodResponse>\r\n"
    ).encode("utf-8", "replace")


def _flag(value: bool) -> str:
    return f"<value><boolean>{value:d}</boolean></value>\r\n"


def _integer(value: int) -> str:
    return f"<value><i4>{value:d}</i4></value>\r\n"
