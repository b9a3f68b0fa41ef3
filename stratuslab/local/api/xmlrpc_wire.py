"""Reads XML-RPC calls and writes answers and faults like OpenNebula's daemon.

Its library (xmlrpc-c) is strict: ids must be ``<int>`` or ``<i4>``, and invalid calls are answered with a fault. Document types
are refused, so no entity is expanded.
"""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from xml.parsers import expat

from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.api_error import APIError
from stratuslab.local.xml_writer import escape
from stratuslab.opennebula.numeric_constants import FaultCode

CONTENT_TYPE = "text/xml; charset=utf-8"
LARGEST_CALL = 8 << 20
"""The maximum size of a call in bytes."""


class RpcFault(Exception):
    """A call that is answered with a fault."""

    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class _LongInteger(int):
    """An ``<i8>``, which is not accepted as an ``<int>``."""


def _end_i8(unmarshaller: Any, data: str) -> None:
    unmarshaller.append(_LongInteger(data))
    unmarshaller._value = 0


def _end_string(unmarshaller: Any, data: str) -> None:
    unmarshaller.end_string(data)


_BEYOND_16_BITS = re.compile(r"[\U00010000-\U0010ffff]")


class _Unmarshaller(xmlrpc.client.Unmarshaller):
    def end_string(self, data: str) -> None:
        found = _BEYOND_16_BITS.search(data)
        if found:
            encoded = data.encode("utf-8", "replace")
            raise _malformed(
                f"{len(encoded)}-byte supposed UTF-8 string is not valid UTF-8.  UTF-8 string contains a character not in the "
                f"Basic Multilingual Plane (first byte 0xffffff{found[0].encode()[0]:02x})"
            )
        super().end_string(data)

    dispatch = {**xmlrpc.client.Unmarshaller.dispatch, "i8": _end_i8, "string": _end_string, "name": _end_string}  # noqa: RUF012


class Parameters:
    """The parameters of a call, read by position and type. Methods raise RpcFault. Further parameters are ignored."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values

    def text(self, place: int, default: str | None = None) -> str:
        value = self._at(place, default)
        if not isinstance(value, str):
            raise _wrong_type("a string")
        return value

    def integer(self, place: int, default: int | None = None) -> int:
        value = self._at(place, default)
        if type(value) is not int or not -(2**31) <= value < 2**31:
            raise _wrong_type("integer")
        return value

    def array(self, place: int) -> list[Any]:
        values = self._at(place, None)
        if not isinstance(values, list):
            raise _wrong_type("array")
        return values

    def flag(self, place: int, default: bool) -> bool:
        value = self._at(place, default)
        if not isinstance(value, bool):
            raise _wrong_type("boolean")
        return value

    def _at(self, place: int, default: Any) -> Any:
        if place < len(self._values):
            return self._values[place]
        if default is None:
            raise RpcFault(FaultCode.TYPE, "Not enough parameters")
        return default


def _wrong_type(kind: str) -> RpcFault:
    return RpcFault(FaultCode.TYPE, f"Parameter that is supposed to be {kind} is not")


def read_call(body: bytes) -> tuple[str, Parameters]:
    """The method and the parameters of a call. Raises RpcFault."""
    unmarshaller = _Unmarshaller(use_datetime=False, use_builtin_types=True)
    unmarshaller.xml(None, None)  # type: ignore[arg-type]  # the parser's text is decoded already
    parser = expat.ParserCreate()
    parser.StartElementHandler = unmarshaller.start
    parser.EndElementHandler = unmarshaller.end
    parser.CharacterDataHandler = unmarshaller.data
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(body, True)
        values = unmarshaller.close()
    except expat.ExpatError as error:
        raise _malformed(f"Call is not valid XML.  {expat.errors.messages[error.code]}") from None
    except RpcFault:
        raise
    except xmlrpc.client.ResponseError:
        raise _malformed("It is not a method call.") from None
    except (xmlrpc.client.Error, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The unmarshaller's exception depends on what is invalid.
        raise _malformed(str(error)) from None
    method = unmarshaller.getmethodname()
    if not method:
        raise _malformed("It has no method name.")
    return method, Parameters(values)


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
    elements: list[Callable[[], str]] = [
        lambda: _flag(False),
        lambda: _text(f"[{profile.tag(method)}] {refusal.text}"),
        lambda: _integer(refusal.code),
        lambda: _integer(refusal.object_id),
        lambda: "<value><i8>-1</i8></value>\r\n",
    ]
    yield f"{_HEAD}{_ARRAY}{''.join(make() for make in elements[: profile.failure_length])}{_ARRAY_END}".encode(
        "utf-8", "replace"
    )


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


def _text(value: str) -> str:
    return f"<value><string>{escape(value)}</string></value>\r\n"
