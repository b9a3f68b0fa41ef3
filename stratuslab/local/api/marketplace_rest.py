"""StratusLab's REST interface of the embedded Marketplace: what is answered to a request, over HTTP and in-process.

/                                     pages for people, see :mod:`stratuslab.local.api.catalogue_pages`
/metadata[/A[/B]]                     the entries with an identifier, email or date
/metadata/IDENTIFIER/EMAIL/CREATED    one entry
/tag/EMAIL/TAG                        the endorser's newest entry with the tag

All are XML, JSON or HTML, as the header Accept or the parameter ``media`` wants it. Everybody may read them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from email.utils import formatdate, parsedate_to_datetime

from stratuslab.local.api.marketplace_messages import (
    SAFE_HEADERS,
    MarketplaceRequest,
    MarketplaceResponse,
    length_header,
    media_of,
    query_of,
    whole,
)
from stratuslab.local.images.entry_search import EntryQuery, EntrySearch, catalogue_version
from stratuslab.local.store.database import Store
from stratuslab.local.xml_writer import escape

XML = "application/xml; charset=utf-8"
_RDF = "application/rdf+xml; charset=utf-8"
_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


def respond(store: Store, now: float, request: MarketplaceRequest) -> MarketplaceResponse:
    """The answer to GET, and to a form that is sent to ``/metadata``. ``now`` is seconds since the epoch."""
    try:
        filters = request.parameters
    except ValueError:
        return _failure(400, "too many parameters", "xml")
    media = "json" if request.is_form else media_of(request, filters)
    parts = [part for part in request.path.split("/") if part]
    if media == "html" or (parts in ([], ["catalogue.css"]) and filters.get("media") not in ("xml", "json")):
        from stratuslab.local.api.catalogue_pages import page

        response = page(store, now, parts, filters)
    elif (query := query_of(parts, filters)) is None:
        response = _failure(404, "no such resource", media)
    elif len(parts) == 4 or query.tag:
        response = _document(store, now, query, media)
    elif media == "json":
        from stratuslab.local.api.marketplace_json import search_results

        response = whole(200, "application/json", search_results(store, now, query, filters))
    else:
        response = _collection(store, now, query, parts, filters)
    return _unless_known(response, request)


def _document(store: Store, now: float, query: EntryQuery, media: str) -> MarketplaceResponse:
    """The newest entry."""
    search = EntrySearch(store, now, query)
    newest = search.rows(0, 1)
    if not newest:
        return _failure(404, "metadata entry not found", media)
    document = next(search.documents([(newest[0].id, 0)]))[0]
    name = newest[0].identifier
    if media == "json":
        from stratuslab.local.api.marketplace_json import rdf_json

        return whole(200, "application/json", rdf_json(document), **_attachment(f"{name}.json"))
    return whole(200, _RDF, _DECLARATION + f"{document}\n".encode(), **_attachment(f"{name}.xml"))


def _collection(store: Store, now: float, query: EntryQuery, parts: list[str], filters: Mapping[str, str]) -> MarketplaceResponse:
    """All entries that match, as they are read from the store."""
    search = EntrySearch(store, now, query)
    version, changed = catalogue_version(store)
    ids = search.ids()
    if not ids and (filters or len(parts) > 1):
        return _failure(404, "no metadata matching query found", "xml")
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
    return MarketplaceResponse(200, {**headers, **length_header(len(begin) + sum(size for _, size in ids) + len(end))}, body())


def _unless_known(response: MarketplaceResponse, request: MarketplaceRequest) -> MarketplaceResponse:
    """The response, or 304 if the client has it."""
    if response.status != 200 or request.is_form:
        return response
    headers = response.headers
    if "ETag" not in headers:
        headers["ETag"] = f'"{hashlib.sha256(b"".join(response.body)).hexdigest()[:32]}"'
    if request.if_none_match:
        known = "*" in request.if_none_match or headers["ETag"] in re.findall(r'"[^"]*"', request.if_none_match)
    else:
        known = _not_modified(headers.get("Last-Modified", ""), request.if_modified_since)
    if not known:
        return response
    return MarketplaceResponse(304, {name: value for name, value in headers.items() if not name.startswith("Content-")}, [])


def _not_modified(modified: str, since: str) -> bool:
    try:
        return bool(modified) and parsedate_to_datetime(modified) <= parsedate_to_datetime(since).astimezone(timezone.utc)
    except (ValueError, TypeError, OverflowError):
        return False


def _failure(status: int, text: str, media: str) -> MarketplaceResponse:
    if media == "json":
        import json

        return whole(status, "application/json", json.dumps({str(status): text}).encode())
    return whole(status, XML, error_document(text))


def error_document(text: str) -> bytes:
    """The document of an error."""
    return _DECLARATION + f"<error>{escape(text)}</error>\n".encode("utf-8", "replace")


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
