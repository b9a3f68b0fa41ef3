"""The embedded Marketplace as web pages for people: the catalogue of images, with a search, and a page for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from stratuslab.byte_sizes import size_text
from stratuslab.local.api.html_elements import ROOT, STYLE, E, missing_page, moment, web_page
from stratuslab.local.api.http_request_response import HttpResponse, number_of, whole
from stratuslab.local.images.entry_search import CatalogueRow, EntryQuery, EntrySearch, containing
from stratuslab.local.images.image_listing import ContentLocation, content_location
from stratuslab.local.store.database import Store
from stratuslab.marketplace.metadata import Metadata, parsed, single

if TYPE_CHECKING:
    from lxml.etree import _Element

_ROWS = 25
_MOST_CHOICES = 100
_LONGEST_WORDS = 200
_CHOICES = (
    ("os", "System", "os"),
    ("arch", "Architecture", "os_arch"),
    ("endorser", "Endorser", "email"),
    ("kind", "Kind", "kind"),
)
_HEADINGS = ("Image", "System", "Architecture", "Size", "Endorser", "Endorsed")
_STATUSES = ["valid", "expired", "deprecated", "all"]
_WEB_ADDRESS = re.compile(r"(?:https?|ftp)://[^\s/]", re.IGNORECASE)
_CONTENT = {
    ContentLocation.HERE: "kept in this cloud",
    ContentLocation.ELSEWHERE: "downloaded when the first machine starts",
    ContentLocation.NOWHERE: "none",
}


def page(store: Store, now: float, query: EntryQuery | None, parts: list[str], filters: Mapping[str, str]) -> HttpResponse:
    """The page at a path below the Marketplace, or its style sheet; ``query`` is what path and parameters are about."""
    if parts == [STYLE]:
        return whole(200, "text/css; charset=utf-8", Path(__file__).with_name(STYLE).read_bytes())
    if query is None:
        return missing_page()
    if len(parts) < 2 and not (query.identifier or query.tag):
        return _catalogue(store, now, query, filters)
    if "status" not in filters and not query.tag:
        query = query._replace(status="all")
    search = EntrySearch(store, now, query)
    rows = search.rows(0, _ROWS)
    if not rows:
        return missing_page("No such image", "This Marketplace has no such image. It may have been removed.")
    if len(rows) > 1 and not query.tag:
        title = "Entries that match" if len({row.identifier for row in rows}) > 1 else "Entries of this image"
        caption = f"The newest {len(rows)}, one for each image and endorser"
        return web_page(200, title, E.h1(title), _table(search, rows, caption))
    return _image(store, search, rows[0])


def _catalogue(store: Store, now: float, query: EntryQuery, filters: Mapping[str, str]) -> HttpResponse:
    words = filters.get("q", "")[:_LONGEST_WORDS]
    chosen = {name: filters[name] for name, _, _ in _CHOICES if filters.get(name)}
    status = query.status if query.status in _STATUSES else "all"
    search = EntrySearch(
        store,
        now,
        query._replace(
            **{column: chosen[name] for name, _, column in _CHOICES if name in chosen},
            patterns=[("searched and tag", containing(word)) for word in words.split()],
        ),
    )
    count = search.count()
    last = max(1, -(-count // _ROWS))
    shown = min(max(number_of(filters, "page", 1), 1), last)
    rows = search.rows((shown - 1) * _ROWS, _ROWS)
    asked = {**({"q": words} if words else {}), **chosen, **({"status": status} if status != "valid" else {})}
    everything = EntrySearch(store, now, EntryQuery(status=status))
    return web_page(
        200,
        "Images" if shown == 1 else f"Images, page {shown}",
        E.h1("Images"),
        _form(everything, words, chosen, status, bool(asked)),
        *([_table(search, rows, _summary(count, shown, last)), *_pages(asked, shown, last)] if rows else [_nothing()]),
    )


def _form(search: EntrySearch, words: str, chosen: Mapping[str, str], status: str, narrowed: bool) -> _Element:
    def choice(name: str, label: str, options: list[str], value: str) -> _Element:
        options = options if value in options else [*options, value]
        made = (E.option({"value": word, **({"selected": ""} if word == value else {})}, word or "any") for word in options)
        return E.p(E.label({"for": name}, label), E.select({"id": name, "name": name}, *made))

    return E.form(
        {"role": "search", "method": "get", "action": ROOT, "aria-label": "Images"},
        E.p(
            {"class": "words"},
            E.label({"for": "q"}, "Words"),
            E.input({"type": "search", "id": "q", "name": "q", "value": words, "maxlength": str(_LONGEST_WORDS)}),
        ),
        *(
            choice(name, label, ["", *search.values(column, _MOST_CHOICES)], chosen.get(name, ""))
            for name, label, column in _CHOICES
        ),
        choice("status", "Status", _STATUSES, status),
        E.p({"class": "buttons"}, E.button({"type": "submit"}, "Search"), *([E.a({"href": ROOT}, "Clear")] if narrowed else [])),
    )


def _summary(count: int, shown: int, last: int) -> str:
    if last == 1:
        return "1 image" if count == 1 else f"{count} images"
    first = (shown - 1) * _ROWS + 1
    return f"Images {first:,} to {min(first + _ROWS - 1, count):,} of {count:,}"


def _table(search: EntrySearch, rows: list[CatalogueRow], caption: str) -> _Element:
    # The roles are those that the elements have anyway. Browsers forget them where the style sheet makes cards of the rows.
    body = E.tbody({"role": "rowgroup"})
    for row in rows:
        status = search.status(row)
        marks: list[Any] = [] if status == "valid" else [" ", E.span({"class": "mark"}, status)]
        cells: list[Any] = [
            _system(row.os, row.os_version),
            row.os_arch or "\u2013",
            size_text(row.bytes),
            E.bdi(row.email or "\u2013"),
            moment(datetime.fromisoformat(row.created.replace("Z", "+00:00"))) if row.created else "\u2013",
        ]
        body.append(
            E.tr(
                {"role": "row"},
                E.th({"scope": "row", "role": "rowheader"}, E.a({"href": _address(row)}, E.bdi(row.title)), *marks),
                *(E.td({"role": "cell"}, cell) for cell in cells),
            )
        )
    heads = (E.th({"scope": "col", "role": "columnheader"}, heading) for heading in _HEADINGS)
    return E.table({"role": "table"}, E.caption(caption), E.thead({"role": "rowgroup"}, E.tr({"role": "row"}, *heads)), body)


def _pages(asked: Mapping[str, str], shown: int, last: int) -> list[_Element]:
    if last == 1:
        return []

    def link(number: int, text: str, **more: str) -> _Element:
        return E.a({"href": f"{ROOT}?{urlencode({**asked, 'page': str(number)}, errors='replace')}", **more}, text)

    links = [link(1, "First"), link(shown - 1, "Previous", rel="prev")] if shown > 1 else []
    links.append(E.span({"aria-current": "page"}, f"Page {shown:,} of {last:,}"))
    links += [link(shown + 1, "Next", rel="next"), link(last, "Last")] if shown < last else []
    return [E.nav({"aria-label": "Pages"}, *links)]


def _nothing() -> _Element:
    return E.div(
        {"class": "notice"},
        E.p(E.strong("No image matches.")),
        E.p("Use fewer words or filters, choose the status \u201call\u201d, or see ", E.a({"href": ROOT}, "all images"), "."),
    )


def _image(store: Store, search: EntrySearch, row: CatalogueRow) -> HttpResponse:
    document = next(search.documents([(row.id, 0)]))[0]
    metadata = single(parsed(document.encode()))
    content = content_location(store, row.identifier, document)
    simulated = content is ContentLocation.NOWHERE and metadata.kind != "disk"
    status = search.status(row)
    paragraphs = [text for text in re.split(r"\n\s*\n", metadata.description[:10_000]) if text.strip()]
    return web_page(
        200,
        row.title,
        E.nav({"aria-label": "Breadcrumb"}, E.a({"href": ROOT}, "All images")),
        E.h1(E.bdi(row.title)),
        *_warning(status, metadata),
        *(E.p({"class": "description", "dir": "auto"}, text) for text in paragraphs),
        *_command(metadata, status),
        E.h2("Details"),
        _details(metadata, status, _CONTENT[content] + ": machines are simulated" * simulated),
        E.h2("Locations"),
        _locations(metadata),
        E.h2("Documents"),
        E.ul(
            E.li(E.a({"href": _address(row, "xml")}, "The entry as its endorser wrote it"), " (RDF/XML)"),
            E.li(E.a({"href": _address(row, "json")}, "The entry for programs"), " (JSON)"),
        ),
    )


def _warning(status: str, metadata: Metadata) -> list[_Element]:
    if status == "deprecated":
        reason = f": {metadata.deprecated}" if metadata.deprecated else "."
        return [E.p({"class": "notice", "dir": "auto"}, E.strong("Deprecated"), reason)]
    if status == "expired" and metadata.valid is not None:
        return [E.p({"class": "notice"}, E.strong("Expired"), " on ", moment(metadata.valid), ".")]
    return []


def _command(metadata: Metadata, status: str) -> list[_Element]:
    if metadata.kind == "disk":
        return [E.p("This image is data: no machine starts from it.")]
    option = "" if status == "valid" else "--allow-expired "
    command = f"stratus-run-instance {option}{metadata.identifier}"
    heading = E.h2({"id": "start"}, "Start a machine")
    return [heading, E.pre({"tabindex": "0", "aria-labelledby": "start"}, E.code(command))]


def _details(metadata: Metadata, status: str, content: str) -> _Element:
    size = "\u2013" if metadata.bytes is None else f"{size_text(metadata.bytes)} ({metadata.bytes:,} bytes)"
    facts: list[tuple[str, Any]] = [
        ("Identifier", E.code(metadata.identifier)),
        ("System", _system(metadata.os, metadata.os_version)),
        ("Architecture", metadata.os_arch),
        ("Version", metadata.version),
        ("Size", size),
        ("Format", f"{metadata.format}, {metadata.compression}" if metadata.compression else metadata.format),
        ("Kind", metadata.kind),
        ("Tag", ", ".join(metadata.tags)),
        ("Status", status),
        ("Endorser", E.bdi(metadata.email)),
        ("Subject", metadata.subject),
        ("Endorsed", moment(metadata.created)),
        ("Valid until", moment(metadata.valid)),
        ("Signature", "present; not checked here" if metadata.signed else "none"),
        ("Content", content),
        *((name, E.code(value)) for name, value in metadata.checksums.items()),
    ]
    described = E.dl()
    for name, value in facts:
        if isinstance(value, str):
            value = E.bdi(value)
        if len(value) or value.text:
            described.append(E.div(E.dt(name), E.dd(value)))
    return described


def _locations(metadata: Metadata) -> _Element:
    if not metadata.locations:
        return E.p("The entry does not say.")
    items = E.ul()
    for location in metadata.locations:
        is_web = _WEB_ADDRESS.match(location)
        text = E.bdi(location)
        items.append(E.li(E.a({"href": location, "rel": "noreferrer nofollow"}, text) if is_web else E.code(text)))
    return items


def _system(name: str, version: str) -> _Element:
    return E.bdi(f"{name} {version}".strip() or "\u2013")


def _address(row: CatalogueRow, media: str = "") -> str:
    """The path of an entry: StratusLab's own, if the endorser has what that takes for an email."""
    shown = {"media": media} if media else {}
    path = f"{ROOT}metadata/{quote(row.identifier)}"
    if "@" in row.email and "/" not in row.email:
        path += f"/{quote(row.email, errors='replace')}/{row.created}"
    else:
        shown |= {name: value for name, value in (("email", row.email), ("created", row.created)) if value}
    return f"{path}?{urlencode(shown, errors='replace')}" if shown else path
