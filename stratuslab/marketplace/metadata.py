"""What the Marketplace says about an image: the metadata document, read.

The format is RDF/XML as StratusLab's technical note on the Marketplace describes it: an ``rdf:RDF`` with one
``rdf:Description``, or a ``<metadata>`` that collects several of these. Whoever endorses an image writes the document, so
nothing in it is trusted: document types, and with them entities and the network, are refused, size and depth are bounded, and
an entry counts only if it is about the requested identifier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.marketplace.identifier import identifier_from_sha1, is_identifier, sha1_from_identifier

if TYPE_CHECKING:
    from lxml.etree import _Element

MAXIMUM_SIZE = 4 << 20
"""Bytes of a document that are read at most; one entry has a few thousand."""

NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dcterms": "http://purl.org/dc/terms/",
    "slreq": "http://mp.stratuslab.eu/slreq#",
    "slterms": "http://mp.stratuslab.eu/slterms#",
}
RDF, DCTERMS, SLREQ, SLTERMS = (f"{{{namespace}}}" for namespace in NAMESPACES.values())

TEXTS = {
    "os": f"{SLTERMS}os",
    "os_version": f"{SLTERMS}os-version",
    "os_arch": f"{SLTERMS}os-arch",
    "version": f"{SLTERMS}version",
    "format": f"{DCTERMS}format",
    "disks_bus": f"{SLTERMS}disks-bus",
    "title": f"{DCTERMS}title",
    "description": f"{DCTERMS}description",
}
"""The elements of simple texts, by fields, in the order in which they are written."""

SAFE: Any = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "huge_tree": False,  # then libxml2 itself limits the depth to 256 elements
    "remove_comments": True,
}
"""lxml's options to read foreign documents."""

_SIGNATURE = "{http://www.w3.org/2000/09/xmldsig#}Signature"

_WEB_PAGE = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Metadata:
    """One entry: what one endorser says about one image. Where it says nothing, text and tuples are empty.

    ``bytes`` is the size of the uncompressed image; ``checksums`` are lower-case hexadecimal digits by algorithm
    (``SHA-1``); ``created`` is when the image was endorsed and ``valid`` when the endorsement ends, both in UTC; ``format``
    is that of the disk (raw, qcow2); ``tags`` are short names that the endorser moves to each newer image; ``kind`` is machine
    or disk; ``signed`` says that the document has a signature, which nobody has checked; ``email`` and ``subject`` are the
    endorser's; ``deprecated`` is the reason why the image should no longer be used (it may be empty), None while it may be used.
    Locations are what the endorser wrote, unchecked.
    """

    identifier: str
    bytes: int | None = None
    checksums: Mapping[str, str] = field(default_factory=dict, hash=False)
    title: str = ""
    description: str = ""
    created: datetime | None = None
    valid: datetime | None = None
    os: str = ""
    os_version: str = ""
    os_arch: str = ""
    version: str = ""
    format: str = "raw"
    locations: tuple[str, ...] = ()
    disks_bus: str = ""
    inbound_ports: tuple[str, ...] = ()
    email: str = ""
    subject: str = ""
    deprecated: str | None = None
    tags: tuple[str, ...] = ()
    kind: str = "machine"
    compression: str = ""
    signed: bool = False

    @property
    def sha1(self) -> str:
        """The SHA-1 of the uncompressed image, 40 hexadecimal digits."""
        return sha1_from_identifier(self.identifier)

    @property
    def names(self) -> tuple[str, ...]:
        """The title and the tags."""
        return tuple(dict.fromkeys(name for name in (self.title, *self.tags) if name))

    def expired(self, now: datetime) -> bool:
        """Whether the endorsement has ended at the given time (which has a time zone)."""
        return self.valid is not None and self.valid < now

    def preference(self, now: datetime) -> tuple[bool, datetime]:
        """The larger, the better among entries about one image: neither deprecated nor expired, then the newest."""
        return self.deprecated is None and not self.expired(now), self.created or _LONG_AGO


def read(document: bytes, identifier: str, now: datetime) -> Metadata:
    """The entry about the image with this identifier.

    If a document has several, the newest one that is neither deprecated nor expired counts; if there is none, the newest of
    all: whether to use such an image is up to the caller. Raises StratusLabError for anything but a metadata document, and
    for one about another image.
    """
    entries: list[Metadata] = []
    invalid: StratusLabError | None = None
    for description in (found for rdf in entry_documents(parsed(document)) for found in rdf.iterfind(f"{RDF}Description")):
        try:
            entries.append(entry_of(description))
        except StratusLabError as error:
            invalid = invalid or error
    matching = [entry for entry in entries if entry.identifier == identifier]
    if matching:
        return max(matching, key=lambda entry: entry.preference(now))
    if invalid is not None:
        raise invalid
    if entries:
        raise StratusLabError(f"the metadata is about another image, {entries[0].identifier}, not {identifier}")
    raise StratusLabError("the metadata document has no entry")


def is_web_page(document: bytes) -> bool:
    """Whether the document is HTML, as gateways and login pages send it instead of the requested document."""
    return _WEB_PAGE.search(document, 0, 1024) is not None


def parsed(document: bytes, *, keep_instructions: bool = False) -> _Element:
    """The root of a document without comments and, as no entry needs them, processing instructions; a signature covers those.

    Raises StratusLabError for anything but well-formed XML, and for a document type."""
    from lxml import etree

    if len(document) > MAXIMUM_SIZE:
        raise StratusLabError(f"the metadata document is larger than {MAXIMUM_SIZE >> 20} MiB")
    if is_web_page(document):
        raise StratusLabError("not image metadata, but a web page")
    try:
        root = etree.fromstring(document, etree.XMLParser(**SAFE, remove_pis=not keep_instructions))
    except (etree.XMLSyntaxError, ValueError) as error:
        raise StratusLabError(f"the metadata is not well-formed XML: {in_message(str(error), 150)}") from error
    refuse_document_type(root)
    return root


def refuse_document_type(element: _Element) -> None:
    """Raise StratusLabError for a document that declares its type, and with it entities."""
    if element.getroottree().docinfo.internalDTD is not None:
        raise StratusLabError("the metadata declares a document type, which is not allowed")


def entry_documents(root: _Element) -> list[_Element]:
    """The ``rdf:RDF`` of one entry, or all in a collection. Raises StratusLabError for any other document."""
    if root.tag not in ("metadata", f"{RDF}RDF"):
        raise StratusLabError(f"this is not image metadata: the document is <{in_message(root.tag.rpartition('}')[2])}>")
    return [root] if root.tag == f"{RDF}RDF" else root.findall(f"{RDF}RDF")


def single(root: _Element) -> Metadata:
    """The entry of a document that is to hold one alone. Raises StratusLabError."""
    found = root.findall(f"{RDF}Description") if root.tag == f"{RDF}RDF" else []
    if len(found) != 1:
        raise StratusLabError("the document is not an rdf:RDF with one rdf:Description")
    return entry_of(found[0])


def entry_of(description: _Element) -> Metadata:
    """The entry of an ``rdf:Description``. Raises StratusLabError if it makes no sense."""
    identifier = _text(description, f"{DCTERMS}identifier")
    if not identifier:
        raise StratusLabError("the metadata has no image identifier")
    if not is_identifier(identifier):
        raise StratusLabError(f"the metadata is about {in_message(identifier)!r}, which is not an image identifier")
    about = description.get(f"{RDF}about", "").strip()
    if about and about.rpartition("#")[2] != identifier:
        raise StratusLabError(f"the metadata of {identifier} says that it is about {in_message(about)!r}")
    endorsement = description.find(f"{SLREQ}endorsement")
    deprecated = description.find(f"{SLTERMS}deprecated")
    texts = {key: _text(description, name) for key, name in TEXTS.items()}
    texts["format"] = texts["format"] or Metadata.format
    document = description.getparent()
    return Metadata(
        **texts,
        identifier=identifier,
        bytes=_count(_text(description, f"{SLREQ}bytes")),
        checksums=_checksums(description, identifier),
        created=_date(_text(endorsement, f"{DCTERMS}created")) or _date(_text(description, f"{DCTERMS}created")),
        valid=_date(_text(description, f"{DCTERMS}valid")),
        locations=_texts(description, f"{SLTERMS}location"),
        inbound_ports=_texts(description, f"{SLTERMS}inbound-port"),
        email=_text(endorsement, f"{SLREQ}endorser/{SLREQ}email"),
        subject=_text(endorsement, f"{SLREQ}endorser/{SLREQ}subject"),
        deprecated=None if deprecated is None else _text(description, f"{SLTERMS}deprecated"),
        tags=_texts(description, f"{DCTERMS}alternative"),
        kind=_text(description, f"{SLTERMS}kind") or Metadata.kind,
        compression=_text(description, f"{DCTERMS}compression"),
        signed=document is not None and document.find(_SIGNATURE) is not None,
    )


def _checksums(description: _Element, identifier: str) -> dict[str, str]:
    """The checksums by algorithm. SHA-1 and identifier are the same number; a document where they differ is refused.

    A document without a SHA-1 is taken: the identifier says it.
    """
    found: dict[str, str] = {}
    for element in description.iterfind(f"{SLREQ}checksum"):
        algorithm = re.sub(r"^SHA-?", "SHA-", _text(element, f"{SLREQ}algorithm").upper())
        value = _text(element, f"{SLREQ}value").lower()
        if algorithm == "SHA-1":
            try:
                agrees = identifier_from_sha1(value) == identifier
            except UsageError:
                agrees = False
            if not agrees:
                raise StratusLabError(f"the metadata of {identifier} gives another image's SHA-1, {in_message(value)!r}")
            value = sha1_from_identifier(identifier)
        if algorithm and value:
            found.setdefault(algorithm, value)
    return found


def _text(element: _Element | None, path: str) -> str:
    found = None if element is None else element.find(path)
    return "" if found is None else (found.text or "").strip()


def _texts(element: _Element, path: str) -> tuple[str, ...]:
    texts = ((found.text or "").strip() for found in element.iterfind(path))
    return tuple(dict.fromkeys(text for text in texts if text))


def _count(text: str) -> int | None:
    return int(text) if re.match(r"[0-9]{1,18}\Z", text) else None


def _date(text: str) -> datetime | None:
    """A date as ``2012-10-05T09:14:38Z``, with another zone or none (then UTC); None for anything else."""
    try:
        date = datetime.fromisoformat(re.sub(r"[Zz]\Z", "+00:00", text))
        # Near the first and the last year a zone can lead out of what a date can hold.
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def date_text(date: datetime | None) -> str:
    """A date in UTC as entries have it, ``2012-10-05T09:14:38Z``; empty for None."""
    return "" if date is None else f"{date.year:04}-{date:%m-%dT%H:%M:%SZ}"


def in_message(text: str, longest: int = 60) -> str:
    """Foreign text made fit for a message: one line, and not a long one."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."
