"""The embedded cloud's Marketplace: the images that its instances can be made of, as StratusLab's REST interface serves them.

Entries are RDF/XML documents of StratusLab's format. It is a local Marketplace: whoever may write to the store, and over
HTTP each of the server's users, may add an entry, and no signature is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.files import why
from stratuslab.local.store.database import Store
from stratuslab.local.xml_text import escape
from stratuslab.marketplace.metadata import DCTERMS, Metadata, date_text, parsed, single

CONTENT_TYPE = "application/xml; charset=utf-8"
LARGEST_ENTRY = 1 << 20
"""Bytes of an entry that are taken at most."""

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)


class InvalidEntry(UsageError):
    """A document that is no entry of a Marketplace; the text says why."""


class MarketplaceEntry(NamedTuple):
    """An entry, and the document that it is read from."""

    metadata: Metadata
    document: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What is one entry: image, endorser, and date."""
        return self.metadata.identifier, self.metadata.email, date_text(self.metadata.created)

    @property
    def title(self) -> str:
        return self.metadata.title or self.metadata.identifier


def read_entry(document: bytes) -> MarketplaceEntry:
    """The entry in an RDF/XML document. Raises InvalidEntry for what :mod:`stratuslab.marketplace.metadata` refuses, and for an
    entry without a SHA-1, a size, an endorser or a date."""
    from lxml import etree

    if len(document) > LARGEST_ENTRY:
        raise InvalidEntry(f"the entry is larger than {LARGEST_ENTRY >> 10} KiB")
    try:
        root = parsed(document)
        metadata = single(root)
    except StratusLabError as error:
        raise InvalidEntry(error.message) from error
    if "SHA-1" not in metadata.checksums:
        raise InvalidEntry("the entry has no SHA-1 checksum")
    if "@" not in metadata.email:
        raise InvalidEntry("the entry names no endorser's email")
    if metadata.created is None or (metadata.valid is None and any(valid.text for valid in root.iter(f"{DCTERMS}valid"))):
        name = "dcterms:valid" if metadata.created else "dcterms:created of the endorsement"
        raise InvalidEntry(f"the entry has no date for {name}: it is written 2012-10-05T09:14:38Z")
    if metadata.bytes is None:
        raise InvalidEntry("the entry has no size in slreq:bytes")
    return MarketplaceEntry(metadata, etree.tostring(root, encoding="unicode"))


class MarketplaceEntries:
    """The entries in a store. ``now`` is seconds since the epoch: expired entries are not shown."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._now = int(now)

    def add(self, document: bytes, *, stranger: bool = False) -> MarketplaceEntry:
        """Keep an entry, or replace the one of the same image, endorser and date. Raises InvalidEntry.

        What a ``stranger`` adds neither replaces an entry nor has the title of another image, which machines are started by.
        """
        entry = read_entry(document)
        with self._store.transaction():
            if stranger:
                self._require_new(entry)
            self.keep(entry)
        return entry

    def _require_new(self, entry: MarketplaceEntry) -> None:
        taken = "(identifier = ? AND email = ? AND created = ?) OR (title = ? AND identifier <> ?)"
        if self._store.query(f"SELECT 1 FROM entries WHERE {taken}", (*entry.key, entry.title, entry.metadata.identifier)):
            raise InvalidEntry(f"the entry, or another image with the title {entry.title[:60]!r}, is already there")

    def keep(self, entry: MarketplaceEntry) -> None:
        """Keep an entry that was read; part of a transaction."""
        self._store.query("DELETE FROM entries WHERE identifier = ? AND email = ? AND created = ?", entry.key)
        self._store.query(
            "INSERT INTO entries (identifier, email, created, title, bytes, registered, document) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*entry.key, entry.title, entry.metadata.bytes, self._now, entry.document),
        )

    def find(self, filters: Mapping[str, str]) -> list[str]:
        """The documents that meet all of ``identifier``, ``email`` and ``created``; of an image and endorser only the newest
        unless a date is asked for, and none that is expired or deprecated unless ``status`` says otherwise."""
        wanted = {name: filters[name] for name in ("identifier", "email", "created") if filters.get(name)}
        condition = " AND ".join(f"{name} = ?" for name in wanted) or "1"
        rows = self._store.query(
            f"SELECT document FROM entries WHERE {condition} ORDER BY created DESC, id", list(wanted.values())
        )
        entries = [read_entry(row[0].encode()) for row in rows]
        if "created" not in wanted:
            newest: dict[tuple[str, ...], MarketplaceEntry] = {}
            for entry in entries:
                newest.setdefault(entry.key[:2], entry)
            entries = list(newest.values())
        status = filters.get("status", "valid")
        return [entry.document for entry in entries if status not in _STATUSES or self._status(entry) == status]

    def _status(self, entry: MarketplaceEntry) -> str:
        if entry.metadata.deprecated is not None:
            return "deprecated"
        return "expired" if entry.metadata.expired(datetime.fromtimestamp(self._now, timezone.utc)) else "valid"


_STATUSES = ("valid", "expired", "deprecated")


def answer(store: Store, now: float, path: str, filters: Mapping[str, str]) -> tuple[int, bytes]:
    """What the Marketplace answers to GET of a path below it: HTTP status and an XML document.

    ``/metadata`` lists all, ``/metadata/A[/B[/C]]`` what identifier, email or date narrow it to; the same as ``filters``.
    Identifier, email and date together give the single document.
    """
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] != "metadata" or len(parts) > 4:
        return 404, error_document("no such resource")
    chosen = {**filters, **{_kind_of(part): part for part in parts[1:]}}
    if len(parts) == 4:
        chosen["status"] = "any"
    documents = MarketplaceEntries(store, now).find(chosen)
    if len(parts) > 1 and not documents:
        return 404, error_document("no entry in this Marketplace for " + ", ".join(parts[1:]))
    if not documents and chosen:
        return 404, error_document("no entry in this Marketplace")
    whole = documents[0] if len(parts) == 4 else f"<metadata>{''.join(documents)}</metadata>"
    return 200, f'<?xml version="1.0" encoding="UTF-8"?>\n{whole}\n'.encode()


def _kind_of(argument: str) -> str:
    if "@" in argument:
        return "email"
    return "created" if _DATE.match(argument) else "identifier"


def error_document(text: str) -> bytes:
    """The body of a refusal."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<error>{escape(text)}</error>\n'.encode("utf-8", "replace")


def add_entry(store: Store, now: float, path: Path) -> MarketplaceEntry:
    """Add the entry in a file. Raises UsageError for a file that cannot be read or holds no entry."""
    try:
        with path.open("rb") as stream:
            document = stream.read(LARGEST_ENTRY + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {why(error)}") from error
    try:
        return MarketplaceEntries(store, now).add(document)
    except InvalidEntry as error:
        raise InvalidEntry(f"{path}: {error.message}", error.hint) from error
