"""What the Marketplace says about an image: the metadata document, read.

The format is RDF/XML as StratusLab's technical note on the Marketplace describes it: an ``rdf:RDF`` with one
``rdf:Description``, or a ``<metadata>`` that collects several of these. Whoever endorses an image writes the document, so
nothing in it is trusted: entities, document types and the network are off, sizes are bounded, and an entry counts only if it
is about the identifier that was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.marketplace.identifier import identifier_from_sha1, is_identifier, sha1_from_identifier

if TYPE_CHECKING:
    from lxml.etree import _Element

MAXIMUM_SIZE = 4 << 20
"""Bytes of a document that are read at most; one entry has a few thousand."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DCTERMS = "{http://purl.org/dc/terms/}"
_SLREQ = "{http://mp.stratuslab.eu/slreq#}"
_SLTERMS = "{http://mp.stratuslab.eu/slterms#}"

_WEB_PAGE = re.compile(rb"<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE)

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Metadata:
    """One entry: what one endorser says about one image. Where it says nothing, text and tuples are empty.

    ``bytes`` is the size of the uncompressed image; ``checksums`` are lower-case hexadecimal digits by algorithm
    (``SHA-1``); ``created`` is when the image was endorsed and ``valid`` when the endorsement ends, both in UTC; ``format``
    is that of the disk (raw, qcow2) and ``compression`` how the file at the ``locations`` is packed (gz, bz2, xz);
    ``deprecated`` is the reason why the image should no longer be used (it may be empty), None while it may be used.
    Locations are what the endorser wrote, unchecked.
    """

    identifier: str
    bytes: int | None = None
    checksums: Mapping[str, str] = field(default_factory=dict, hash=False)
    created: datetime | None = None
    valid: datetime | None = None
    type: str = ""
    kind: str = ""
    os: str = ""
    os_version: str = ""
    os_arch: str = ""
    version: str = ""
    format: str = "raw"
    compression: str = ""
    locations: tuple[str, ...] = ()
    disks_bus: str = ""
    hypervisor: str = ""
    inbound_ports: tuple[str, ...] = ()
    title: str = ""
    alternative: str = ""
    description: str = ""
    creator: str = ""
    publisher: str = ""
    endorser_email: str = ""
    endorser_subject: str = ""
    deprecated: str | None = None

    @property
    def sha1(self) -> str:
        """The SHA-1 of the uncompressed image, 40 hexadecimal digits."""
        return sha1_from_identifier(self.identifier)

    def expired(self, now: datetime) -> bool:
        """Whether the endorsement has ended at the given time (which has a time zone)."""
        return self.valid is not None and self.valid < now


def read(document: bytes, identifier: str, now: datetime) -> Metadata:
    """The entry about the image with this identifier.

    Where a document holds several, it is the newest of those that are neither deprecated nor expired; where all are, the
    newest of all: whether to use such an image is the caller's question. Raises StratusLabError for what is no metadata
    document, and for one that is not about this image.
    """
    entries: list[Metadata] = []
    spoilt: StratusLabError | None = None
    for description in _descriptions(document):
        try:
            entries.append(_entry(description))
        except StratusLabError as error:
            spoilt = spoilt or error
    ours = [entry for entry in entries if entry.identifier == identifier]
    if ours:
        return max(ours, key=lambda entry: (entry.deprecated is None and not entry.expired(now), entry.created or _LONG_AGO))
    if spoilt is not None:
        raise spoilt
    if entries:
        raise StratusLabError(f"the metadata is about another image, {entries[0].identifier}, not {identifier}")
    raise StratusLabError("the metadata document holds no entry")


def is_web_page(document: bytes) -> bool:
    """Whether the document is HTML, as gateways and login pages send it in place of what was asked for."""
    return _WEB_PAGE.search(document, 0, 1024) is not None


def _descriptions(document: bytes) -> Iterator[_Element]:
    root = _parsed(document)
    if root.tag == f"{_RDF}RDF":
        yield from root.iterchildren(f"{_RDF}Description")
    elif root.tag == "metadata":
        yield from root.iterfind(f"{_RDF}RDF/{_RDF}Description")
    else:
        raise StratusLabError(f"this is no image metadata: the document is <{_word(str(root.tag).rpartition('}')[2])}>")


def _parsed(document: bytes) -> _Element:
    if len(document) > MAXIMUM_SIZE:
        raise StratusLabError(f"the metadata document is larger than {MAXIMUM_SIZE >> 20} MiB")
    if is_web_page(document):
        raise StratusLabError("this is no image metadata but a web page")
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise StratusLabError(f"the metadata is no well-formed XML: {_word(str(error), 150)}") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise StratusLabError("the metadata declares a document type, which is not accepted")
    return root


def _entry(description: _Element) -> Metadata:
    identifier = _text(description, f"{_DCTERMS}identifier")
    if not identifier:
        raise StratusLabError("the metadata names no image identifier")
    if not is_identifier(identifier):
        raise StratusLabError(f"the metadata is about {_word(identifier)!r}, which is no image identifier")
    about = description.get(f"{_RDF}about", "").strip()
    if about and about.rpartition("#")[2] != identifier:
        raise StratusLabError(f"the metadata of {identifier} says that it is about {_word(about)!r}")
    endorsement = description.find(f"{_SLREQ}endorsement")
    deprecated = description.find(f"{_SLTERMS}deprecated")
    return Metadata(
        identifier=identifier,
        bytes=_count(_text(description, f"{_SLREQ}bytes")),
        checksums=_checksums(description, identifier),
        created=_date(_text(endorsement, f"{_DCTERMS}created")) or _date(_text(description, f"{_DCTERMS}created")),
        valid=_date(_text(description, f"{_DCTERMS}valid")),
        type=_text(description, f"{_DCTERMS}type"),
        kind=_text(description, f"{_SLTERMS}kind"),
        os=_text(description, f"{_SLTERMS}os"),
        os_version=_text(description, f"{_SLTERMS}os-version"),
        os_arch=_text(description, f"{_SLTERMS}os-arch"),
        version=_text(description, f"{_SLTERMS}version"),
        format=_text(description, f"{_DCTERMS}format") or Metadata.format,
        compression=_text(description, f"{_DCTERMS}compression"),
        locations=_texts(description, f"{_SLTERMS}location"),
        disks_bus=_text(description, f"{_SLTERMS}disks-bus"),
        hypervisor=_text(description, f"{_SLTERMS}hypervisor"),
        inbound_ports=_texts(description, f"{_SLTERMS}inbound-port"),
        title=_text(description, f"{_DCTERMS}title"),
        alternative=_text(description, f"{_DCTERMS}alternative"),
        description=_text(description, f"{_DCTERMS}description"),
        creator=_text(description, f"{_DCTERMS}creator"),
        publisher=_text(description, f"{_DCTERMS}publisher"),
        endorser_email=_text(endorsement, f"{_SLREQ}endorser/{_SLREQ}email"),
        endorser_subject=_text(endorsement, f"{_SLREQ}endorser/{_SLREQ}subject"),
        deprecated=None if deprecated is None else _text(description, f"{_SLTERMS}deprecated"),
    )


def _checksums(description: _Element, identifier: str) -> dict[str, str]:
    """The checksums by algorithm. SHA-1 and identifier are the same number; a document where they differ is refused.

    A document without a SHA-1 is taken: the identifier says it.
    """
    found: dict[str, str] = {}
    for element in description.iterchildren(f"{_SLREQ}checksum"):
        algorithm = re.sub(r"^SHA-?", "SHA-", _text(element, f"{_SLREQ}algorithm").upper())
        value = _text(element, f"{_SLREQ}value").lower()
        if algorithm == "SHA-1":
            try:
                agrees = identifier_from_sha1(value) == identifier
            except UsageError:
                agrees = False
            if not agrees:
                raise StratusLabError(f"the metadata of {identifier} gives another image's SHA-1, {_word(value)!r}")
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


def _word(text: str, longest: int = 60) -> str:
    """Foreign text made fit for a message: one line, and not a long one."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 3] + "..."
