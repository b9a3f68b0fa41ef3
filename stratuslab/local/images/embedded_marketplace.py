"""The entries of the embedded Marketplace: reading, storing and endorsing them.

Entries are RDF/XML documents in StratusLab's format, without a signature. The owner of the cloud can add any; over HTTP each user
can, for images of which nobody else has added one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.images import ImageError, about
from stratuslab.local.images.entry_search import EntryQuery, EntrySearch, add_to_catalogue
from stratuslab.local.images.image_store import content
from stratuslab.local.store.database import Store
from stratuslab.local.store.stored_records import ADMINISTRATOR, User
from stratuslab.marketplace.metadata import DCTERMS, RDF, Metadata, date_text, parsed, single
from stratuslab.marketplace.metadata_writer import written
from stratuslab.private_files import why

LARGEST_ENTRY = 1 << 20
"""The maximum size of an entry in bytes."""

ENDORSER = "images@localhost"
"""The endorser of the images that the owner of the embedded cloud adds."""

_NOBODY = -1  # who added an entry without a password
_SUBJECT = "CN=Added to the embedded cloud,unsigned"
_VALID = datetime(2099, 12, 31, 23, 59, 59, tzinfo=timezone.utc)


class InvalidEntry(UsageError):
    """A document that is not a valid Marketplace entry."""


class EntryTaken(InvalidEntry):
    """An entry that would take the place of somebody else's."""


class MarketplaceEntry(NamedTuple):
    """An entry and its document."""

    metadata: Metadata
    document: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies an entry: image, endorser and date."""
        return self.metadata.identifier, self.metadata.email, date_text(self.metadata.created)

    @property
    def title(self) -> str:
        return self.metadata.title or self.metadata.identifier


def read_entry(document: bytes) -> MarketplaceEntry:
    """The entry in an RDF/XML document. Raises InvalidEntry if :mod:`stratuslab.marketplace.metadata` refuses it, or if it has no
    SHA-1, size or date."""
    if len(document) > LARGEST_ENTRY:
        raise InvalidEntry(f"the entry is larger than {LARGEST_ENTRY >> 10} KiB")
    try:
        root = parsed(document)
        metadata = single(root)
    except StratusLabError as error:
        raise InvalidEntry(error.message) from error
    if "SHA-1" not in metadata.checksums:
        raise InvalidEntry("the entry has no SHA-1 checksum")
    if metadata.email and "@" not in metadata.email:  # StratusLab's own entries may do without
        raise InvalidEntry("the endorser's email in the entry has no @")
    if metadata.created is None or (metadata.valid is None and any(valid.text for valid in root.iter(f"{DCTERMS}valid"))):
        name = "dcterms:valid" if metadata.created else "dcterms:created of the endorsement"
        raise InvalidEntry(f"the entry has no date in {name}, such as 2012-10-05T09:14:38Z")
    if metadata.bytes is None:
        raise InvalidEntry("the entry has no size in slreq:bytes")
    return MarketplaceEntry(metadata, _text(document))


def _text(document: bytes) -> str:
    """The document without its XML declaration, and otherwise as its endorser wrote it and may have signed it."""
    from lxml import etree

    root = parsed(document, keep_instructions=True)
    if (root.getroottree().docinfo.encoding or "UTF-8").upper() not in ("UTF-8", "US-ASCII", "ASCII"):
        return etree.tostring(root, encoding="unicode")
    text = document.decode("utf-8-sig")
    return (text.partition("?>")[2] if re.match(r"<\?xml\s", text) else text).strip()


class MarketplaceEntries:
    """The entries in a store. ``now`` is seconds since the epoch, to tell which entries have expired."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._now = int(now)

    def add(self, document: bytes, user: User | None = ADMINISTRATOR) -> MarketplaceEntry:
        """Add an entry, or replace the user's own of the same image, endorser and date. Raises InvalidEntry.

        Only the administrator can add one for an image that somebody else has added, or with its title, as machines are started
        by either. Without a ``user`` nothing is one's own.
        """
        entry = read_entry(document)
        owner = _NOBODY if user is None else user.id
        with self._store.transaction():
            if owner != ADMINISTRATOR.id:
                self._require_free(entry, owner)
            self.keep(entry, owner)
        return entry

    def _require_free(self, entry: MarketplaceEntry, owner: int) -> None:
        mine = "owner <> ?" if owner != _NOBODY else "? IS NOT NULL"
        taken = f"SELECT 1 FROM entries WHERE {mine} AND (identifier = ? OR title = ?)"
        if self._store.query(taken, (owner, entry.metadata.identifier, entry.title)):
            raise EntryTaken(f"somebody else has an entry for this image, or with the title {entry.title[:60]!r}")

    def keep(self, entry: MarketplaceEntry, owner: int = ADMINISTRATOR.id) -> None:
        """Store an entry. Part of a transaction."""
        same = "FROM entries WHERE identifier = ? AND email = ? AND created = ?"
        number = next((row[0] for row in self._store.query(f"SELECT id {same}", entry.key)), None)
        self._store.query(f"DELETE {same}", entry.key)
        self._store.query(
            "INSERT INTO entries (id, identifier, email, created, title, bytes, registered, document, owner) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, *entry.key, entry.title, entry.metadata.bytes, self._now, entry.document, owner),
        )
        number = self._store.query("SELECT last_insert_rowid()")[0][0]
        add_to_catalogue(self._store, number, entry.metadata, entry.document)

    def register(self, metadata: Metadata) -> tuple[Metadata, bool]:
        """Add the entry of an image in the image store. If the embedded cloud has one for the image already, the title becomes a
        name in that. Returns the entry, and whether it was there and has one name more.

        Raises ImageError if the content is gone.
        """
        with self._store.transaction():
            # A reset empties the store and then removes the content.
            if content(self._store.directory, metadata.identifier) is None:
                raise ImageError(
                    f"image {metadata.identifier} is gone: it was removed, or the embedded cloud reset, meanwhile",
                    "run the command again",
                )
            known = self.own_entry(metadata.identifier)
            if known is not None:
                if metadata.title in known.names:
                    return known, False
                return self._rename(known, (*known.names, metadata.title)), True
            added = endorsed(metadata, datetime.fromtimestamp(self._now, timezone.utc))
            self.keep(added)
            return added.metadata, False

    def own_entry(self, identifier: str) -> Metadata | None:
        """The newest entry of an image that the embedded cloud itself has endorsed."""
        query = "SELECT document FROM entries WHERE identifier = ? AND email = ? ORDER BY created DESC LIMIT 1"
        found = self._store.query(query, (identifier, ENDORSER))
        return read_entry(found[0][0].encode()).metadata if found else None

    def remove_name(self, identifier: str, name: str) -> bool:
        """Remove a name that the embedded cloud's own entry of an image has beside others. Part of a transaction."""
        entry = self.own_entry(identifier)
        others = [other for other in entry.names if other != name] if entry else []
        if entry is None or not others or name not in entry.names:
            return False
        self._rename(entry, others)
        return True

    def _rename(self, entry: Metadata, names: Sequence[str]) -> Metadata:
        """Give the embedded cloud's own entry a title, the first name, and tags. The new one has the same date, so it takes its
        place."""
        assert entry.created is not None
        renamed = endorsed(replace(entry, title=names[0], tags=tuple(names[1:])), entry.created)
        self.keep(renamed)
        return renamed.metadata

    def of_image(self, identifier: str) -> list[tuple[str, int]]:
        """The documents about an image, whatever their status, with the number of the user who added each: of each endorser the
        newest one, newest first."""
        search = EntrySearch(self._store, self._now, EntryQuery(identifier=identifier, status="all"))
        return list(search.documents(search.ids()))


def endorsed(metadata: Metadata, created: datetime) -> MarketplaceEntry:
    """The entry for an image, endorsed by the embedded cloud if nobody else has."""
    metadata = replace(
        metadata,
        created=created,
        valid=metadata.valid or _VALID,
        email=metadata.email or ENDORSER,
        subject=metadata.subject or _SUBJECT,
    )
    return MarketplaceEntry(metadata, written(metadata))


def local_location(identifier: str) -> str:
    """The location of an image in the embedded cloud itself. It has no path, as all users can read entries."""
    return f"local://images/{identifier}"


def add_entries(store: Store, now: float, path: Path) -> list[MarketplaceEntry]:
    """Add the entry in a file, or all in a collection, as the Marketplace sends it. Raises UsageError if the file cannot be read
    or has no entry, or one that is not valid: then none is added."""
    try:
        with path.open("rb") as stream:
            document = stream.read(LARGEST_ENTRY + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {why(error)}") from error
    try:
        entries = [read_entry(entry) for entry in _single_entries(document)]
    except InvalidEntry as error:
        raise about(str(path), error) from error
    with store.transaction():
        for entry in entries:
            MarketplaceEntries(store, now).keep(entry)
    return entries


def _single_entries(document: bytes) -> list[bytes]:
    """The documents in a collection. What is not a collection stays as it is."""
    from lxml import etree

    try:
        root = parsed(document, keep_instructions=True)
    except StratusLabError:
        return [document]  # adding it says why
    if root.tag != "metadata":
        return [document]
    entries = [etree.tostring(entry, encoding="utf-8", with_tail=False) for entry in root.iterfind(f"{RDF}RDF")]
    if not entries:
        raise InvalidEntry("the metadata document has no entry")
    return entries
