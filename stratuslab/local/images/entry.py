"""Entries of the embedded Marketplace, as they are written: RDF/XML of StratusLab's format."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from stratuslab.local.images import ImageError
from stratuslab.local.images.store import content
from stratuslab.local.marketplace import DCTERMS, RDF, SLREQ, SLTERMS, Entry, Marketplace, read_entry
from stratuslab.local.markup import escape
from stratuslab.local.store import Store

ENDORSER = "images@localhost"
"""Who endorses the images that the owner of the embedded cloud adds."""

_SUBJECT = "CN=Added to the embedded cloud,unsigned"
_VALID = "2099-12-31T23:59:59Z"
# What XML has no place for, however it is written.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Description:
    """What an entry says. ``bytes`` and ``checksums`` are of the uncompressed content; ``created`` and ``valid`` are dates of
    the form ``2012-10-05T09:14:38Z``. Where nothing is known, text is empty."""

    identifier: str
    bytes: int
    checksums: Mapping[str, str]
    title: str
    created: str = ""
    description: str = ""
    os: str = ""
    os_version: str = ""
    os_arch: str = ""
    version: str = "1.0"
    format: str = "raw"
    locations: tuple[str, ...] = ()
    disks_bus: str = "virtio"
    endorser: str = ENDORSER
    subject: str = _SUBJECT
    valid: str = _VALID

    @property
    def document(self) -> str:
        """The entry, without an XML declaration."""
        checksums = "".join(_checksum(name, value) for name, value in self.checksums.items())
        locations = "\n".join(_element("slterms:location", location) for location in self.locations)
        return f"""<rdf:RDF xmlns:rdf="{RDF}" xmlns:dcterms="{DCTERMS}" xmlns:slreq="{SLREQ}" xmlns:slterms="{SLTERMS}" \
xml:base="http://mp.stratuslab.eu/">
<rdf:Description rdf:about="#{_text(self.identifier)}">
{_element("dcterms:identifier", self.identifier)}
{_element("slreq:bytes", str(self.bytes))}
{checksums}<slreq:endorsement rdf:parseType="Resource">
{_element("dcterms:created", self.created)}
<slreq:endorser rdf:parseType="Resource">
{_element("slreq:email", self.endorser)}
{_element("slreq:subject", self.subject)}
{_element("slreq:issuer", self.subject)}
</slreq:endorser>
</slreq:endorsement>
<dcterms:type>base</dcterms:type>
<slterms:kind>machine</slterms:kind>
{_element("slterms:os", self.os)}
{_element("slterms:os-version", self.os_version)}
{_element("slterms:os-arch", self.os_arch)}
{_element("slterms:version", self.version)}
<dcterms:compression></dcterms:compression>
{locations}
{_element("dcterms:format", self.format)}
{_element("slterms:disks-bus", self.disks_bus)}
<dcterms:creator>StratusLab</dcterms:creator>
<dcterms:publisher>StratusLab</dcterms:publisher>
{_element("dcterms:title", self.title)}
{_element("dcterms:description", self.description)}
{_element("dcterms:valid", self.valid)}
</rdf:Description>
</rdf:RDF>"""

    @property
    def entry(self) -> Entry:
        """What the Marketplace keeps."""
        return read_entry(self.document.encode())


def _checksum(algorithm: str, value: str) -> str:
    return f"""<slreq:checksum rdf:parseType="Resource">
{_element("slreq:algorithm", algorithm)}
{_element("slreq:value", value)}
</slreq:checksum>
"""


def _element(name: str, value: str) -> str:
    return f"<{name}>{_text(value)}</{name}>"


def _text(text: str) -> str:
    return escape(_UNWRITABLE.sub("?", text)).replace('"', "&quot;")


def kept_here(identifier: str) -> str:
    """The location of an image in the embedded cloud itself. Entries may be read by all users: it tells nobody's path."""
    return f"local://images/{identifier}"


def register(store: Store, now: float, description: Description, *, rename: bool = False) -> Entry:
    """Add an entry of an image whose content is kept to the Marketplace; the one that is there then.

    An image that has one of this endorser keeps it, and takes the title of the new one only to ``rename`` it. Raises ImageError
    where the content is gone.
    """
    with store.transaction():
        # A reset empties the store first, and removes the content then.
        if content(store.directory, description.identifier) is None:
            raise ImageError(
                f"the image {description.identifier} is gone: the embedded cloud was reset meanwhile", "run the command again"
            )
        query = "SELECT document FROM entries WHERE identifier = ? AND email = ? ORDER BY created DESC LIMIT 1"
        known = [read_entry(row[0].encode()) for row in store.query(query, (description.identifier, description.endorser))]
        if known and not (rename and known[0].title != description.title):
            return known[0]
        # With the date of the one that is there, an entry takes its place.
        created = known[0].created if known else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        entry = replace(description, created=created).entry
        Marketplace(store, now).keep(entry)
    return entry
