"""The disks of an instance, as VM documents of all versions describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from stratuslab.opennebula.document_values import count

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class Disk(NamedTuple):
    """One DISK. ``source`` is what it was made from (an image's name, a URL, ``pdisk:...``), empty if it was created empty.

    ``size_mib`` is None if the document does not say. ``kind`` is ``image`` (a copy that is deleted with the instance),
    ``persistent`` (data is kept), ``read-only``, ``volatile`` (created empty, deleted with the instance) or ``swap``.
    """

    number: str = ""
    source: str = ""
    size_mib: int | None = None
    target: str = ""
    kind: str = ""


def disks(document: Element) -> tuple[Disk, ...]:
    """The disks in the document's order."""
    return tuple(_disk(element) for element in document.iterfind("TEMPLATE/DISK"))


def _disk(element: Element) -> Disk:
    texts = {child.tag: (child.text or "").strip() for child in element}
    source = texts.get("IMAGE") or texts.get("SOURCE", "")
    return Disk(
        number=texts.get("DISK_ID", ""),
        source=source,
        size_mib=count(texts.get("SIZE", "")),
        target=texts.get("TARGET", ""),
        kind=_kind({name: text.upper() for name, text in texts.items()}, source),
    )


def _kind(texts: dict[str, str], source: str) -> str:
    if texts.get("TYPE") == "SWAP":
        return "swap"
    # StratusLab's persistent disks have a source of their own; OpenNebula marks its images.
    if texts.get("PERSISTENT") == "YES" or source.startswith("pdisk:"):
        return "persistent"
    if not source and not texts.get("IMAGE_ID"):
        return "volatile"
    return "read-only" if texts.get("READONLY") == "YES" else "image"
