"""The Marketplace's JSON: search results as the table on StratusLab's web page wanted them, and an entry as RDF/JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stratuslab.local.api.http_request_response import number_of
from stratuslab.local.images.entry_search import EntryQuery, EntrySearch, matching
from stratuslab.local.store.database import Store
from stratuslab.marketplace.metadata import RDF, parsed

if TYPE_CHECKING:
    from lxml.etree import _Element

_BASE = "http://mp.stratuslab.eu/"
_COLUMNS = ("", "os", "os_version", "os_arch", "email", "kind", "created", "identifier", "locations", "description", "title")
MOST_ROWS = 1000
"""Rows of an answer."""


def search_results(store: Store, now: float, query: EntryQuery, parameters: Mapping[str, str]) -> bytes:
    """The answer to a search with the parameters of DataTables 1.9: ``sSearch``, ``iDisplayStart`` and so on."""
    patterns = [("searched", matching(word)) for word in parameters.get("sSearch", "").split()]
    for number in range(1, 6):
        if word := parameters.get(f"sSearch_{number}"):
            patterns.append((_COLUMNS[number], matching(word)))
    search = EntrySearch(store, now, query._replace(patterns=patterns))
    order = number_of(parameters, "iSortCol_0", 0)
    rows = search.rows(
        number_of(parameters, "iDisplayStart", 0),
        min(number_of(parameters, "iDisplayLength", MOST_ROWS), MOST_ROWS),
        _COLUMNS[order] if 0 < order < len(_COLUMNS) else "created",
        parameters.get("sSortDir_0", "desc").lower() != "asc",
    )
    found = {
        "sEcho": number_of(parameters, "sEcho", 0),
        "iTotalRecords": EntrySearch(store, now, EntryQuery(status=query.status, location=query.location)).count(),
        "iTotalDisplayRecords": search.count(),
        # StratusLab's says so with every answer.
        "rMsg": "no metadata matching query found",
        "aaData": [["", *(getattr(row, name) for name in _COLUMNS[1:])] for row in rows],
    }
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")


def rdf_json(document: str) -> bytes:
    """An entry as RDF/JSON, without its signature."""
    graph: dict[str, dict[str, list[dict[str, str]]]] = {}

    def add(subject: str, elements: _Element) -> None:
        node = graph.setdefault(subject, {})
        for element in elements:
            predicate = element.tag[1:].replace("}", "")
            value: dict[str, Any] = {"type": "literal", "value": element.text or ""}
            if element.get(f"{RDF}parseType") == "Resource":
                value = {"type": "bnode", "value": f"_:b{len(graph)}"}
                add(value["value"], element)
            elif (resource := element.get(f"{RDF}resource")) is not None:
                value = {"type": "uri", "value": resource}
            elif datatype := element.get(f"{RDF}datatype"):
                value["datatype"] = datatype
            node.setdefault(predicate, []).append(value)

    for description in parsed(document.encode()).iterfind(f"{RDF}Description"):
        add(_BASE + description.get(f"{RDF}about", ""), description)
    return json.dumps(graph, ensure_ascii=False).encode("utf-8", "replace")
