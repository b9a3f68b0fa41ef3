"""Writes a metadata document, as the embedded cloud's Marketplace has one for each of its own images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stratuslab.marketplace.metadata import DCTERMS, NAMESPACES, RDF, SLREQ, SLTERMS, TEXTS, Metadata, date_text

if TYPE_CHECKING:
    from lxml.etree import _Element

# What XML has no place for, however it is written.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_RESOURCE = {f"{RDF}parseType": "Resource"}


def written(metadata: Metadata) -> str:
    """The document of an entry, without an XML declaration."""
    from lxml import etree

    root = etree.Element(f"{RDF}RDF", nsmap=NAMESPACES)
    description = etree.SubElement(root, f"{RDF}Description", {f"{RDF}about": f"#{metadata.identifier}"})

    def add(parent: _Element, name: str, *texts: str) -> None:
        for text in texts:
            etree.SubElement(parent, name).text = _UNWRITABLE.sub("?", text)

    add(description, f"{DCTERMS}identifier", metadata.identifier)
    add(description, f"{SLREQ}bytes", "" if metadata.bytes is None else str(metadata.bytes))
    for algorithm, value in metadata.checksums.items():
        checksum = etree.SubElement(description, f"{SLREQ}checksum", _RESOURCE)
        add(checksum, f"{SLREQ}algorithm", algorithm)
        add(checksum, f"{SLREQ}value", value)
    endorsement = etree.SubElement(description, f"{SLREQ}endorsement", _RESOURCE)
    add(endorsement, f"{DCTERMS}created", date_text(metadata.created))
    endorser = etree.SubElement(endorsement, f"{SLREQ}endorser", _RESOURCE)
    add(endorser, f"{SLREQ}email", metadata.email)
    add(endorser, f"{SLREQ}subject", metadata.subject)
    add(endorser, f"{SLREQ}issuer", metadata.subject)
    add(description, f"{DCTERMS}type", "base")
    add(description, f"{SLTERMS}kind", metadata.kind)
    add(description, f"{DCTERMS}compression", "")
    add(description, f"{DCTERMS}alternative", *metadata.tags)
    add(description, f"{SLTERMS}location", *metadata.locations)
    add(description, f"{SLTERMS}inbound-port", *metadata.inbound_ports)
    add(description, f"{DCTERMS}creator", "StratusLab")
    add(description, f"{DCTERMS}publisher", "StratusLab")
    for key, name in TEXTS.items():
        add(description, name, getattr(metadata, key))
    add(description, f"{DCTERMS}valid", date_text(metadata.valid))
    if metadata.deprecated is not None:
        add(description, f"{SLTERMS}deprecated", metadata.deprecated)
    etree.indent(root, "")
    return etree.tostring(root, encoding="unicode")
