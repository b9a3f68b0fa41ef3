"""The embedded cloud's Marketplace: the images that its instances can be made of, as StratusLab's REST interface serves them.

Entries are RDF/XML documents of StratusLab's format. It is a local Marketplace: whoever may write to the store, and over
HTTP each of the server's users, may add an entry, and no signature is asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from stratuslab.errors import UsageError
from stratuslab.files import why
from stratuslab.local.markup import escape
from stratuslab.local.store import Store
from stratuslab.marketplace.identifier import identifier_from_sha1, is_identifier

CONTENT_TYPE = "application/xml; charset=utf-8"
LARGEST_ENTRY = 1 << 20
"""Bytes of an entry that are taken at most."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
DCTERMS = "http://purl.org/dc/terms/"
SLREQ = "http://mp.stratuslab.eu/slreq#"
SLTERMS = "http://mp.stratuslab.eu/slterms#"
_NAMES = {"rdf": RDF, "dcterms": DCTERMS, "slreq": SLREQ, "slterms": SLTERMS}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)
_DECLARATION = re.compile(r"\s*<\?xml[^>]*\?>\s*")


class InvalidEntry(UsageError):
    """A document that is no entry of a Marketplace; the text says why."""


@dataclass(frozen=True)
class Entry:
    """What the Marketplace itself reads of a document. ``created`` and ``valid`` as ``2012-10-05T09:14:38Z``, or empty."""

    identifier: str
    email: str
    created: str
    title: str
    bytes: int
    valid: str
    deprecated: bool
    document: str


def read_entry(document: bytes) -> Entry:
    """The entry in an RDF/XML document. Raises InvalidEntry: no well-formed XML, a document type, no identifier, a SHA-1 that
    is another image's, no endorser or date."""
    if len(document) > LARGEST_ENTRY:
        raise InvalidEntry(f"the entry is larger than {LARGEST_ENTRY >> 10} KiB")
    root = _parse(document)
    description = root.find(f"{{{RDF}}}Description") if root.tag == f"{{{RDF}}}RDF" else None
    if description is None:
        raise InvalidEntry("the document is no rdf:RDF with an rdf:Description")
    identifier = _text(description, "dcterms:identifier")
    if not is_identifier(identifier):
        raise InvalidEntry(f"{identifier[:60]!r} is no image identifier" if identifier else "the entry has no dcterms:identifier")
    about = description.get(f"{{{RDF}}}about", "")
    if about != f"#{identifier}":
        raise InvalidEntry(f"rdf:about is {about[:60]!r} where it should be '#{identifier}'")
    sha1 = [_text(sum_, "slreq:value") for sum_ in description.iterfind("slreq:checksum", _NAMES) if _is_sha1(sum_)]
    if len(sha1) != 1:
        raise InvalidEntry("the entry needs exactly one SHA-1 checksum")
    if identifier_from_sha1(sha1[0]) != identifier:
        raise InvalidEntry(f"the SHA-1 {sha1[0][:60]} belongs to another identifier than {identifier}")
    email = _text(description, "slreq:endorsement/slreq:endorser/slreq:email")
    created = _text(description, "slreq:endorsement/dcterms:created")
    if "@" not in email:
        raise InvalidEntry("the entry names no endorser's email")
    valid = _text(description, "dcterms:valid")
    for name, date in (("dcterms:created of the endorsement", created), ("dcterms:valid", valid or created)):
        if not _DATE.match(date):
            raise InvalidEntry(f"{date[:60]!r} is no date for {name}: it is written 2012-10-05T09:14:38Z")
    size = _text(description, "slreq:bytes")
    if not re.match(r"[0-9]{1,18}\Z", size, re.ASCII):
        raise InvalidEntry(f"{size[:60]!r} is no size for slreq:bytes")
    return Entry(
        identifier=identifier,
        email=email,
        created=created,
        title=_text(description, "dcterms:title") or _text(description, "dcterms:alternative") or identifier,
        bytes=int(size),
        valid=valid,
        deprecated=description.find("slterms:deprecated", _NAMES) is not None,
        document=_DECLARATION.sub("", ElementTree.tostring(root, encoding="unicode"), count=1),
    )


class _Builder(ElementTree.TreeBuilder):
    """Builds the tree, and refuses document types: with them come entities and files."""

    def doctype(self, *declaration: object) -> None:
        raise InvalidEntry("the entry declares a document type, which is not accepted")


def _parse(document: bytes) -> ElementTree.Element:
    for prefix, namespace in _NAMES.items():
        ElementTree.register_namespace(prefix, namespace)
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(document)
        return parser.close()
    except ElementTree.ParseError as error:
        raise InvalidEntry(f"the entry is no well-formed XML: {error}") from error


def _text(element: ElementTree.Element, path: str) -> str:
    return (element.findtext(path, "", _NAMES) or "").strip()


def _is_sha1(checksum: ElementTree.Element) -> bool:
    return _text(checksum, "slreq:algorithm").upper() in ("SHA-1", "SHA1")


class Marketplace:
    """The entries in a store. ``now`` is seconds since the epoch: expired entries are not shown."""

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._now = int(now)

    def add(self, document: bytes, *, stranger: bool = False) -> Entry:
        """Keep an entry, or replace the one of the same image, endorser and date. Raises InvalidEntry.

        What a ``stranger`` adds neither replaces an entry nor has the title of another image, which machines are started by.
        """
        entry = read_entry(document)
        with self._store.transaction():
            if stranger:
                self._require_new(entry)
            self.keep(entry)
        return entry

    def _require_new(self, entry: Entry) -> None:
        taken = "(identifier = ? AND email = ? AND created = ?) OR (title = ? AND identifier <> ?)"
        key = (entry.identifier, entry.email, entry.created, entry.title, entry.identifier)
        if self._store.query(f"SELECT 1 FROM entries WHERE {taken}", key):
            raise InvalidEntry(f"the entry, or another image with the title {entry.title[:60]!r}, is already there")

    def keep(self, entry: Entry) -> None:
        """Keep an entry that was read; part of a transaction."""
        key = (entry.identifier, entry.email, entry.created)
        self._store.query("DELETE FROM entries WHERE identifier = ? AND email = ? AND created = ?", key)
        self._store.query(
            "INSERT INTO entries (identifier, email, created, title, bytes, registered, document) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, entry.title, entry.bytes, self._now, entry.document),
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
            newest: dict[tuple[str, str], Entry] = {}
            for entry in entries:
                newest.setdefault((entry.identifier, entry.email), entry)
            entries = list(newest.values())
        status = filters.get("status", "valid")
        return [entry.document for entry in entries if status not in _STATUSES or self._status(entry) == status]

    def _status(self, entry: Entry) -> str:
        if entry.deprecated:
            return "deprecated"
        today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now))
        return "expired" if entry.valid and entry.valid < today else "valid"


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
    documents = Marketplace(store, now).find(chosen)
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


def add_entry(store: Store, now: float, path: Path) -> Entry:
    """Add the entry in a file. Raises UsageError for a file that cannot be read or holds no entry."""
    try:
        with path.open("rb") as stream:
            document = stream.read(LARGEST_ENTRY + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {why(error)}") from error
    try:
        return Marketplace(store, now).add(document)
    except InvalidEntry as error:
        raise InvalidEntry(f"{path}: {error.message}", error.hint) from error
