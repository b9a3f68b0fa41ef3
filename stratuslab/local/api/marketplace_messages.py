"""Requests to the embedded Marketplace and its responses: what a request is about, and the headers that all responses have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from stratuslab.local.images.entry_search import EntryQuery

_MEDIA = {
    "application/xml": "xml",
    "application/rdf+xml": "xml",
    "text/xml": "xml",
    "application/json": "json",
    "text/html": "html",
    "application/xhtml+xml": "html",
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)
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


class MarketplaceRequest(NamedTuple):
    """A request: ``path`` is decoded and below the Marketplace's own, ``query`` is the query or the form; others are headers."""

    path: str
    query: str = ""
    accept: str = ""
    if_none_match: str = ""
    if_modified_since: str = ""
    is_form: bool = False

    @property
    def parameters(self) -> dict[str, str]:
        """The last value of each parameter. Raises ValueError if there are too many."""
        return dict(parse_qsl(self.query, errors="replace", max_num_fields=_MOST_PARAMETERS))


class MarketplaceResponse(NamedTuple):
    """The answer. The pieces of the body have the length that the headers say."""

    status: int
    headers: dict[str, str]
    body: Iterable[bytes]


def whole(status: int, content_type: str, body: bytes, **headers: str) -> MarketplaceResponse:
    """The response with a body."""
    return MarketplaceResponse(
        status, {"Content-Type": content_type, **SAFE_HEADERS, **headers, **length_header(len(body))}, [body]
    )


def media_of(request: MarketplaceRequest, filters: Mapping[str, str]) -> str:
    """``xml``, ``json`` or ``html``. Who does not say gets XML."""
    if filters.get("media") in _MEDIA.values():
        return filters["media"]
    best, media = 0.0, "xml"
    for part in request.accept[:1000].lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        value = float(quality) if re.match(r"[01](\.[0-9]{0,3})?\Z", quality) else 0.0
        if kind in _MEDIA and value > best:
            best, media = value, _MEDIA[kind]
    return media


def query_of(parts: list[str], filters: Mapping[str, str]) -> EntryQuery | None:
    """What a path and parameters are about; None if there is nothing at the path."""
    asked = {name: filters[name] for name in ("identifier", "email", "created", "tag", "status", "location") if name in filters}
    if len(parts) == 3 and parts[0] == "tag":
        asked = {"email": parts[1], "tag": parts[2]}
    elif not parts or parts[0] != "metadata" or len(parts) > 4:
        return None
    else:
        asked.update({_kind_of(part): part for part in parts[1:]})
        if len(parts) == 4:
            asked["status"] = "all"
    if "tag" in asked:
        asked = {"email": asked.get("email", ""), "tag": asked["tag"].strip('"'), "status": "not deprecated"}
    return EntryQuery(patterns=(), **asked)


def _kind_of(argument: str) -> str:
    if "@" in argument:
        return "email"
    return "created" if _DATE.match(argument) else "identifier"


def length_header(size: int) -> dict[str, str]:
    """The header with the size of a body."""
    return {"Content-Length": str(size)}
