"""Searches the entries of the embedded Marketplace in a table of what each says, so that no document has to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from stratuslab.local.store.database import Store
from stratuslab.marketplace.metadata import Metadata, date_text, parsed, single

_LONGEST_TEXT = 2000  # characters of an entry's text that are searched and listed
_LONGEST_PATTERN = 200
_MOST_PATTERNS = 20


class CatalogueRow(NamedTuple):
    """What the catalogue says about an entry. ``tag`` and ``locations`` may be several, separated by line breaks; dates are as in
    the document."""

    id: int
    identifier: str
    email: str
    created: str
    title: str
    bytes: int
    os: str
    os_version: str
    os_arch: str
    kind: str
    tag: str
    valid: str
    deprecated: bool
    locations: str
    description: str


_COLUMNS = ", ".join(CatalogueRow._fields)
_SEARCHED = ("identifier", "created", "email", "title", "os", "os_version", "os_arch", "kind", "locations", "description")


class EntryQuery(NamedTuple):
    """What entries are searched for; empty texts match all. Without ``created`` and ``tag`` only the newest entry of each image
    and endorser counts.

    ``word`` is an identifier, a title or a tag; ``status`` is valid, expired, deprecated or not deprecated, ``location`` web or
    pdisk, any other word means all. ``patterns`` are pairs of a column, or ``searched`` or ``searched and tag`` for all texts,
    and a pattern of :func:`containing` or :func:`matching`.
    """

    identifier: str = ""
    email: str = ""
    created: str = ""
    tag: str = ""
    word: str = ""
    os: str = ""
    os_arch: str = ""
    kind: str = ""
    status: str = "valid"
    location: str = "all"
    patterns: Sequence[tuple[str, str]] = ()


def containing(word: str) -> str:
    """The pattern of texts that contain a word; upper and lower case are the same."""
    return f"%{_literal(word[:_LONGEST_PATTERN])}%"


def matching(regex: str) -> str:
    r"""The pattern for a regular expression with ``.``, ``.*``, ``.+``, ``^``, ``$`` and ``\``. Others can keep a server busy for
    hours; they stand for themselves."""
    special = {".": "_", ".*": "%", ".+": "_%", "^": "\n", "$": "\n"}
    parts = re.findall(r"\\(.)|(\.[*+]?|\^|\$)|([^\\.^$]+|\\)", regex[:_LONGEST_PATTERN], re.DOTALL)
    return f"%{''.join(special.get(operator) or _literal(escaped + text) for escaped, operator, text in parts)}%"


def _literal(text: str) -> str:
    # SQLite's patterns end at a NUL, which no entry has.
    return re.sub(r"([%_\\])", r"\\\1", text.replace("\0", "\ufffd").lower())


def add_to_catalogue(store: Store, number: int, metadata: Metadata, document: str) -> None:
    """Note what the entry with this number says. Part of a transaction."""
    texts = {
        name: getattr(metadata, name)[:_LONGEST_TEXT] for name in ("email", "os", "os_version", "os_arch", "kind", "description")
    }
    row = CatalogueRow(
        id=number,
        identifier=metadata.identifier,
        created=date_text(metadata.created),
        title=(metadata.title or metadata.identifier)[:_LONGEST_TEXT],
        bytes=metadata.bytes or 0,
        tag="\n".join(metadata.tags)[:_LONGEST_TEXT],
        valid=date_text(metadata.valid),
        deprecated=metadata.deprecated is not None,
        locations="\n".join(metadata.locations)[:_LONGEST_TEXT],
        **texts,
    )
    searched = "\n".join(["", *(getattr(row, name) for name in _SEARCHED), ""]).lower()
    marks = ", ".join("?" * (len(row) + 2))
    store.query(f"INSERT INTO catalogue ({_COLUMNS}, size, searched) VALUES ({marks})", (*row, len(document.encode()), searched))


def catalogue_version(store: Store) -> tuple[str, int]:
    """What changes with every entry that is added or removed, and when that was last, in seconds since the epoch."""
    when, _, version = (store.setting("catalogue_version") or "").partition("-")
    return version, int(when or 0)


class EntrySearch:
    """The entries in a store that a query is about. ``now`` is seconds since the epoch, to tell which have expired."""

    def __init__(self, store: Store, now: float, query: EntryQuery) -> None:
        self._store = store
        self._now = date_text(datetime.fromtimestamp(int(now), timezone.utc))
        self._condition, self._arguments = self._sql(query)
        self._complete_catalogue()

    def count(self) -> int:
        return int(self._select("count(*)")[0][0])

    def ids(self) -> list[tuple[int, int]]:
        """The numbers of the entries and the sizes of their documents in bytes, newest first."""
        return self._select("id, size", "ORDER BY created DESC, id")

    def rows(self, offset: int = 0, limit: int = -1, column: str = "created", descending: bool = True) -> list[CatalogueRow]:
        """A part of the entries (by default all), sorted by a column."""
        assert column in CatalogueRow._fields
        order = f"ORDER BY {column} {'DESC' if descending else 'ASC'}, id LIMIT ? OFFSET ?"
        return [CatalogueRow(*row) for row in self._select(_COLUMNS, order, limit, offset)]

    def values(self, column: str, limit: int) -> list[str]:
        """The values that a column has, the most frequent ones in alphabetical order."""
        assert column in CatalogueRow._fields
        found = self._select(column, f"AND {column} <> '' GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT ?", limit)
        return sorted(row[0] for row in found)

    def last_expiry(self) -> str:
        """When an entry last expired; empty if none has."""
        return str(self._store.query("SELECT coalesce(max(valid), '') FROM catalogue WHERE valid < ?", (self._now,))[0][0])

    def status(self, row: CatalogueRow) -> str:
        """``valid``, ``expired`` or ``deprecated``."""
        return "deprecated" if row.deprecated else "expired" if "" < row.valid < self._now else "valid"

    def documents(self, ids: Sequence[tuple[int, int]]) -> Iterator[tuple[str, int]]:
        """The documents with these numbers and sizes, each with the number of the user who added it; one is in memory at a time.

        Raises ConnectionAbortedError if one was removed meanwhile.
        """
        for number, _ in ids:
            found = self._store.query("SELECT document, owner FROM entries WHERE id = ?", (number,))
            if not found:
                raise ConnectionAbortedError("an entry was removed while it was read")
            yield found[0]

    def _select(self, what: str, rest: str = "", *arguments: int) -> list[tuple[Any, ...]]:
        statement = f"SELECT {what} FROM catalogue WHERE {self._condition} {rest}"
        return self._store.query(statement, [*self._arguments, *arguments])

    def _sql(self, query: EntryQuery) -> tuple[str, list[str]]:
        conditions, arguments = ["1"], []
        for column in ("identifier", "email", "created", "os", "os_arch", "kind"):
            if value := getattr(query, column):
                conditions.append(f"{column} = ?")
                arguments.append(value)
        if query.tag:
            conditions.append(_TAGGED)
            arguments.append(query.tag)
        if query.word:
            conditions.append(f"(? IN (identifier, title) OR {_TAGGED})")
            arguments += [query.word, query.word]
        for column, pattern in query.patterns[:_MOST_PATTERNS]:
            assert column in _TEXTS or column in CatalogueRow._fields
            text = _TEXTS.get(column, f"char(10) || {column} || char(10)")
            conditions.append(f"{text} LIKE ? ESCAPE '\\'")
            arguments.append(pattern)
        if not query.created and not query.tag:
            conditions.append(_NEWEST)
        if query.status in _STATUSES:
            conditions.append(_STATUSES[query.status])
            arguments += [self._now] * _STATUSES[query.status].count("?")
        conditions.append(_LOCATIONS.get(query.location, "1"))
        return " AND ".join(conditions), arguments

    def _complete_catalogue(self) -> None:
        """Add the entries that were stored by an earlier version of this program."""
        missing = "SELECT id, document FROM entries WHERE id NOT IN (SELECT id FROM catalogue) LIMIT 500"
        while self._store.query(missing):
            with self._store.transaction():
                for number, document in self._store.query(missing):
                    add_to_catalogue(self._store, number, single(parsed(document.encode())), document)


# StratusLab's search does not look into tags, people do.
_TEXTS = {"searched": "searched", "searched and tag": "searched || tag"}
_NEWEST = """NOT EXISTS (SELECT 1 FROM catalogue AS newer WHERE newer.identifier = catalogue.identifier
    AND newer.email = catalogue.email AND newer.created > catalogue.created)"""
_TAGGED = "instr(char(10) || tag || char(10), char(10) || ? || char(10))"
_STATUSES = {
    "valid": "NOT deprecated AND (valid = '' OR valid >= ?)",
    "expired": "NOT deprecated AND valid <> '' AND valid < ?",
    "deprecated": "deprecated",
    "not deprecated": "NOT deprecated",
}
_LOCATIONS = {
    "web": "(locations = '' OR char(10) || locations LIKE '%' || char(10) || 'http%'"
    " OR char(10) || locations LIKE '%' || char(10) || 'ftp%')",
    "pdisk": "char(10) || locations LIKE '%' || char(10) || 'pdisk%'",
}
