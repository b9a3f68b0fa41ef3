"""What the embedded Marketplace's web pages are made of: elements, and the frame that all pages have.

A page is a tree of elements, so that no text of an entry or a query can become markup. It needs no script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from lxml import html
from lxml.builder import ElementMaker

from stratuslab.local.api.http_request_response import HttpResponse, whole

if TYPE_CHECKING:
    from lxml.etree import _Element

ROOT = "/marketplace/"
STYLE = "catalogue.css"
"""The file with the style sheet, beside this one and below ROOT."""

_POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def _shown(text: str) -> str:
    """The text without what a page cannot hold or show, such as controls and marks that reverse the text after them."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)


def _add_text(parent: _Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + _shown(text)
    else:
        parent.text = (parent.text or "") + _shown(text)


def _add_attributes(element: _Element, attributes: Mapping[str, str]) -> None:
    for name, value in attributes.items():
        element.set(name, _shown(value))


class _Makers(Protocol):
    def __getattr__(self, name: str) -> Callable[..., _Element]: ...


E: _Makers = ElementMaker(makeelement=html.html_parser.makeelement, typemap={str: _add_text, dict: _add_attributes})
"""Makes elements: ``E.p({"class": "x"}, "text", E.br())``."""


def missing_page(title: str = "Page not found", text: str = "Nothing was found at this address.") -> HttpResponse:
    """The page where there is none."""
    return web_page(404, title, E.h1(title), E.p(text), E.p(E.a({"href": ROOT}, "All images")))


def web_page(status: int, title: str, *content: _Element) -> HttpResponse:
    """The page with a title and a content."""
    root = E.html(
        {"lang": "en"},
        E.head(
            E.meta({"charset": "utf-8"}),
            E.title(f"{title} \u00b7 Image catalogue"),
            E.meta({"name": "viewport", "content": "width=device-width, initial-scale=1"}),
            E.meta({"name": "color-scheme", "content": "light dark"}),
            E.link({"rel": "stylesheet", "href": ROOT + STYLE}),
        ),
        E.body(
            E.a({"class": "skip", "href": "#content"}, "Skip to the content"),
            E.header(E.p(E.a({"href": ROOT}, "Image catalogue")), E.p("The Marketplace of this embedded cloud")),
            E.main({"id": "content", "tabindex": "-1"}, *content),
        ),
    )
    document = html.tostring(root, encoding="utf-8", doctype="<!DOCTYPE html>")
    return whole(status, "text/html; charset=utf-8", document, **{"Content-Security-Policy": _POLICY})


def moment(date: datetime | None) -> _Element:
    """A day for people, and the moment for programs; empty for None."""
    return E.span() if date is None else E.time({"datetime": date.isoformat()}, f"{date.day} {date:%B} {date.year}")
