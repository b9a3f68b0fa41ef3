"""Writes a metadata document, as the embedded cloud's Marketplace has one for each of its own images."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stratuslab.marketplace.metadata import DCTERMS, NAMESPACES, RDF, SLREQ, SLTERMS, TEXTS, Metadata, date_text

if TYPE_CHECKING:
    from lxml.etree import _Element

# What XML has no place for, however it is written.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def written(metadata: Metadata) -> str:
    """The document of an entry, without an XML declaration."""
    from lxml import etree

    root = etree.Element(f"{RDF}RDF", nsmap=NAMESPACES)
    description = etree.SubElement(root, f"{RDF}Description", {f"{RDF}about": f"#{metadata.identifier}"})

    def add(parent: _Element, name: str, text: str = "") -> _Element:
        element = etree.SubElement(parent, name)
        element.text = _UNWRITABLE.sub("?", text)
        return element

    def resource(parent: _Element, name: str) -> _Element:
        return etree.SubElement(parent, name, {f"{RDF}parseType": "Resource"})

    add(description, f"{DCTERMS}identifier", metadata.identifier)
    add(description, f"{SLREQ}bytes", "" if metadata.bytes is None else str(metadata.bytes))
    for algorithm, value in metadata.checksums.items():
        checksum = resource(description, f"{SLREQ}checksum")
        add(checksum, f"{SLREQ}algorithm", algorithm)
        add(checksum, f"{SLREQ}value", value)
    endorsement = resource(description, f"{SLREQ}endorsement")
    add(endorsement, f"{DCTERMS}created", date_text(metadata.created))
    endorser = resource(endorsement, f"{SLREQ}endorser")
    add(endorser, f"{SLREQ}email", metadata.email)
    add(endorser, f"{SLREQ}subject", metadata.subject)
    add(endorser, f"{SLREQ}issuer", metadata.subject)
    add(description, f"{DCTERMS}type", "base")
    add(description, f"{SLTERMS}kind", metadata.kind)
    add(description, f"{DCTERMS}compression")
    for tag in metadata.tags:
        add(description, f"{DCTERMS}alternative", tag)
    for location in metadata.locations:
        add(description, f"{SLTERMS}location", location)
    for port in metadata.inbound_ports:
        add(description, f"{SLTERMS}inbound-port", port)
    add(description, f"{DCTERMS}creator", "StratusLab")
    add(description, f"{DCTERMS}publisher", "StratusLab")
    for key, name in TEXTS.items():
        add(description, name, getattr(metadata, key))
    add(description, f"{DCTERMS}valid", date_text(metadata.valid))
    if metadata.deprecated is not None:
        add(description, f"{SLTERMS}deprecated", metadata.deprecated)
    etree.indent(root, "")
    return etree.tostring(root, encoding="unicode")
