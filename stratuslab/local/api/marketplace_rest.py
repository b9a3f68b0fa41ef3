"""StratusLab's REST interface of the embedded Marketplace: what is answered to a request, over HTTP and in-process.

/                                     pages for people, see :mod:`stratuslab.local.api.marketplace_website`
/metadata[/A[/B]]                     the entries with an identifier, email or date
/metadata/IDENTIFIER/EMAIL/CREATED    one entry
/tag/EMAIL/TAG                        the endorser's newest entry with the tag

All are XML, JSON or HTML, as the header Accept or the parameter ``media`` wants it. Everybody may read them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from email.utils import formatdate, parsedate_to_datetime

from stratuslab.local.api.http_request_response import SAFE_HEADERS, HttpRequest, HttpResponse, whole
from stratuslab.local.images.entry_search import EntryQuery, EntrySearch, catalogue_version
from stratuslab.local.store.database import Store
from stratuslab.local.xml_writer import escape

XML = "application/xml; charset=utf-8"
_RDF = "application/rdf+xml; charset=utf-8"
_MEDIA = {
    "application/xml": "xml",
    "application/rdf+xml": "xml",
    "text/xml": "xml",
    "application/json": "json",
    "text/html": "html",
    "application/xhtml+xml": "html",
}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def respond(store: Store, now: float, request: HttpRequest) -> HttpResponse:
    """The answer to GET, and to a form that is sent to ``/metadata``. ``now`` is seconds since the epoch."""
    try:
        filters = request.parameters
    except ValueError:
        return failure(400, "too many parameters")
    media = "json" if request.method == "POST" else _media_of(request, filters)
    parts = [part for part in request.path.split("/") if part]
    if media == "html" or (parts in ([], ["catalogue.css"]) and filters.get("media") not in ("xml", "json")):
        from stratuslab.local.api.marketplace_website import page

        response = page(store, now, _query_of(parts or ["metadata"], filters), parts, filters)
    elif (query := _query_of(parts, filters)) is None:
        response = failure(404, "no such resource", media)
    elif len(parts) == 4 or query.tag:
        response = _document(store, now, query, media)
    elif media == "json":
        from stratuslab.local.api.marketplace_json import search_results

        response = whole(200, "application/json", search_results(store, now, query, filters))
    else:
        response = _collection(store, now, query, parts, filters)
    return _unless_known(response, request)


def _media_of(request: HttpRequest, filters: Mapping[str, str]) -> str:
    """``xml``, ``json`` or ``html``. Who does not say gets XML."""
    if filters.get("media") in _MEDIA.values():
        return filters["media"]
    best, media = 0.0, "xml"
    for part in request.header("Accept")[:1000].lower().split(","):
        kind, *parameters = (word.strip() for word in part.split(";"))
        quality = next((word[2:] for word in parameters if word.startswith("q=")), "1")
        value = float(quality) if re.match(r"[01](\.[0-9]{0,3})?\Z", quality) else 0.0
        if kind in _MEDIA and value > best:
            best, media = value, _MEDIA[kind]
    return media


def _query_of(parts: list[str], filters: Mapping[str, str]) -> EntryQuery | None:
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


def _document(store: Store, now: float, query: EntryQuery, media: str) -> HttpResponse:
    """The newest entry."""
    search = EntrySearch(store, now, query)
    newest = search.rows(0, 1)
    if not newest:
        return failure(404, "metadata entry not found", media)
    document = next(search.documents([(newest[0].id, 0)]))[0]
    file = {"Content-Disposition": f'attachment; filename="{newest[0].identifier}.{media}"'}
    if media == "json":
        from stratuslab.local.api.marketplace_json import rdf_json

        return whole(200, "application/json", rdf_json(document), **file)
    return whole(200, _RDF, _DECLARATION + f"{document}\n".encode(), **file)


def _collection(store: Store, now: float, query: EntryQuery, parts: list[str], filters: Mapping[str, str]) -> HttpResponse:
    """All entries that match, as they are read from the store."""
    search = EntrySearch(store, now, query)
    version, changed = catalogue_version(store)
    ids = search.ids()
    if not ids and (filters or len(parts) > 1):
        return failure(404, "no metadata matching query found")
    begin, end = _DECLARATION + b"<metadata>", b"</metadata>\n"

    def body() -> Iterator[bytes]:
        yield begin
        for document, _ in search.documents(ids):
            yield document.encode()
        yield end

    digest = hashlib.sha256(repr((version, ids)).encode()).hexdigest()
    headers = {"Content-Type": XML, **SAFE_HEADERS, "ETag": f'"{digest[:32]}"'}
    expired = search.last_expiry()
    modified = max(changed, int(datetime.fromisoformat(expired.replace("Z", "+00:00")).timestamp()) if expired else 0)
    if modified < int(now):  # in the same second there may be another change
        headers["Last-Modified"] = formatdate(modified, usegmt=True)
    headers["Content-Length"] = str(len(begin) + sum(size for _, size in ids) + len(end))
    return HttpResponse(200, headers, body())


def _unless_known(response: HttpResponse, request: HttpRequest) -> HttpResponse:
    """The response, or 304 if the client has it."""
    if response.status != 200 or request.method == "POST":
        return response
    headers = response.headers
    if "ETag" not in headers:
        headers["ETag"] = f'"{hashlib.sha256(b"".join(response.body)).hexdigest()[:32]}"'
    if tags := request.header("If-None-Match"):
        known = "*" in tags or headers["ETag"] in re.findall(r'"[^"]*"', tags)
    else:
        known = _not_modified(headers.get("Last-Modified", ""), request.header("If-Modified-Since"))
    if not known:
        return response
    return HttpResponse(304, {name: value for name, value in headers.items() if not name.startswith("Content-")})


def _not_modified(modified: str, since: str) -> bool:
    try:
        return bool(modified) and parsedate_to_datetime(modified) <= parsedate_to_datetime(since).astimezone(timezone.utc)
    except (ValueError, TypeError, OverflowError):
        return False


def failure(status: int, text: str, media: str = "xml") -> HttpResponse:
    """The response to a request that fails."""
    if media == "json":
        return whole(status, "application/json", json.dumps({str(status): text}).encode())
    return whole(status, XML, _DECLARATION + f"<error>{escape(text)}</error>\n".encode("utf-8", "replace"))
