"""The Marketplace's own search, made for the table on its web page (DataTables 1.9): which entries match, of those that it has.

It knows fewer criteria than we do, its rows lack what an entry says of tag, format and size, and its words are regular
expressions. So it is asked for somewhat more than is wanted, and only to learn which documents to fetch.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from stratuslab.marketplace.identifier import is_identifier
from stratuslab.marketplace.image_query import ImageQuery

MOST_HITS = 20
"""Hits whose documents are worth a request each; to find more, the catalogue is read."""

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


class Hit(NamedTuple):
    """What names one entry in the Marketplace."""

    identifier: str
    email: str
    created: str


def form_of(query: ImageQuery) -> dict[str, str] | None:
    """The form that finds at least what the query does; None if the search would not help: it has no criterion for it, or it may
    leave something out."""
    columns = {"sSearch_1": query.os, "sSearch_2": query.os_version, "sSearch_3": query.arch}
    # A whole email is a filter of the catalogue. A missing kind means machine, which a server may not know.
    columns["sSearch_4"] = "" if "@" in query.endorser.strip("@") else query.endorser
    texts = {"sSearch": " ".join(query.words), **columns}
    if query.status != "valid" or not any(text.strip() for text in texts.values()):
        return None
    page = {"sEcho": "1", "iDisplayStart": "0", "iDisplayLength": str(MOST_HITS), "iSortCol_0": "6", "sSortDir_0": "desc"}
    return page | {name: _pattern(text) for name, text in texts.items() if text}


def _pattern(text: str) -> str:
    """A regular expression that matches at least the text. A server may put it unescaped into a query of its own, and knows upper
    and lower case of ASCII only."""
    return re.sub(r"[^\w\s@-]", ".", text, flags=re.ASCII)


def hits_of(answer: bytes) -> list[Hit] | None:
    """All hits of an answer; None if it is not the answer to a search, or has only some of them."""
    try:
        found = json.loads(answer)
        hits = [Hit(row[7], row[4], row[6]) for row in found["aaData"]]
        total = int(found["iTotalDisplayRecords"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    if total != len(hits) or total > MOST_HITS or not all(isinstance(text, str) and text for hit in hits for text in hit):
        return None
    return hits if all(is_identifier(hit.identifier) and _DATE.fullmatch(hit.created) for hit in hits) else None
