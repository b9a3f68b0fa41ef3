"""Reads a catalogue of any length, a ``<metadata>`` of many entries, in the memory of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from stratuslab.errors import StratusLabError
from stratuslab.marketplace.metadata import (
    MAXIMUM_SIZE,
    RDF,
    SAFE,
    Metadata,
    entry_documents,
    entry_of,
    in_message,
    is_web_page,
    refuse_document_type,
)


def read_catalogue(chunks: Iterable[bytes]) -> Iterator[Metadata]:
    """The usable entries of a ``<metadata>`` document of any length, as it arrives; no more than one is kept in memory.

    Raises StratusLabError as :func:`read` does, and for an entry that is too large.
    """
    from lxml import etree

    parser = etree.XMLPullParser(("end",), tag=f"{RDF}RDF", **SAFE, remove_pis=True)
    pending = 0
    beginning = b""
    try:
        for chunk in chunks:
            if len(beginning) < 1024:
                beginning += chunk[:1024]
                if is_web_page(beginning):
                    raise StratusLabError("not image metadata, but a web page")
            pending += len(chunk)
            parser.feed(chunk)
            for _, document in parser.read_events():
                pending = len(chunk)
                assert isinstance(document, etree._Element)
                refuse_document_type(document)
                for description in document.iterfind(f"{RDF}Description"):
                    with suppress(StratusLabError):
                        yield entry_of(description)
                # What was read is removed, and so is what stands between entries.
                document.clear()
                parent = document.getparent()
                while parent is not None and len(parent) > 1:
                    del parent[0]
            if pending > MAXIMUM_SIZE:
                raise StratusLabError(f"an entry of the catalogue is larger than {MAXIMUM_SIZE >> 20} MiB")
        root = parser.close()
    except (etree.XMLSyntaxError, ValueError) as error:
        raise StratusLabError(f"the catalogue is not well-formed XML: {in_message(str(error), 150)}") from error
    refuse_document_type(root)
    entry_documents(root)  # checks that it is a catalogue
