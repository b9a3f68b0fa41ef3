"""HTTP requests to the embedded cloud and its responses, whatever carries them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from email.message import Message
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl

_MOST_PARAMETERS = 100

SAFE_HEADERS = {
    # Whoever may add entries writes XML that a browser would show, and run scripts in.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}
"""What keeps a browser from doing with an answer what it is not meant for, or using an old copy unchecked."""


class HttpRequest(NamedTuple):
    """A request: ``path`` is decoded, ``query`` is the query or the form, ``client`` the address that it comes from.

    ``read`` receives so many further bytes of the body, or fewer at its end.
    """

    path: str
    query: str = ""
    headers: Mapping[str, str] | Message = MappingProxyType({})
    method: str = "GET"
    client: str = ""
    read: Callable[[int], bytes] = lambda size: b""

    @property
    def parameters(self) -> dict[str, str]:
        """The last value of each parameter. Raises ValueError if there are too many."""
        return dict(parse_qsl(self.query, errors="replace", max_num_fields=_MOST_PARAMETERS))

    def header(self, name: str, default: str = "") -> str:
        """The value of a header, whose name is written as usual."""
        return str(self.headers.get(name, default))


class HttpResponse(NamedTuple):
    """The answer. The pieces of the body have the length that the headers say."""

    status: int
    headers: dict[str, str]
    body: Iterable[bytes] = ()


def number_of(parameters: Mapping[str, str], name: str, default: int) -> int:
    """The number that a parameter is, the default if it is not one."""
    text = parameters.get(name, "")
    return int(text) if re.match(r"[0-9]{1,9}\Z", text) else default


def bare(status: int, content_type: str, body: bytes, **headers: str) -> HttpResponse:
    """The response with a body and no other headers."""
    return HttpResponse(status, {"Content-Type": content_type, **headers, "Content-Length": str(len(body))}, [body])


def whole(status: int, content_type: str, body: bytes, **headers: str) -> HttpResponse:
    """The response with a body, of which a browser does nothing else."""
    return bare(status, content_type, body, **{**SAFE_HEADERS, **headers})
