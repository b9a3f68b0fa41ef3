"""The images of a cloud: what their entries say, and where their content is."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from stratuslab.local.images import ImageError
from stratuslab.local.images.embedded_marketplace import read_entry
from stratuslab.local.images.image_format import lacks_boot_loader
from stratuslab.local.images.image_store import content
from stratuslab.local.store.database import Store


class ContentLocation(Enum):
    """Where an image's content is."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    """It is downloaded when the first machine starts."""
    NOWHERE = "none"
    """Machines are simulated."""


class ListedImage(NamedTuple):
    """An image; ``bytes`` is its size according to its entry."""

    identifier: str
    title: str
    bytes: int
    content: ContentLocation
    kind: str
    """``bootable``, ``simulated`` or ``data``."""


def content_location(store: Store, identifier: str, document: str) -> ContentLocation:
    """Where the content of an entry's image is."""
    if content(store.directory, identifier) is not None:
        return ContentLocation.HERE
    locations = read_entry(document.encode()).metadata.locations
    return (
        ContentLocation.ELSEWHERE
        if any(location.startswith(("http:", "https:")) for location in locations)
        else ContentLocation.NOWHERE
    )


def list_images(store: Store) -> list[ListedImage]:
    """Every image once, by its newest entry; the newest last."""
    rows = store.query("SELECT identifier, title, bytes, document FROM entries ORDER BY created, id")
    newest = {identifier: (title, size, document) for identifier, title, size, document in rows}
    return [
        ListedImage(
            identifier, title, size, where := content_location(store, identifier, document), _kind(store, where, document)
        )
        for identifier, (title, size, document) in newest.items()
    ]


def _kind(store: Store, where: ContentLocation, document: str) -> str:
    """What a machine is that boots from the image: real, simulated, or none, because the image is data."""
    entry = read_entry(document.encode()).metadata
    if where is ContentLocation.NOWHERE:
        return "data" if entry.kind == "disk" else "simulated"
    path = content(store.directory, entry.identifier)
    try:
        is_data = entry.kind == "disk" if path is None else lacks_boot_loader(path)
    except (ImageError, OSError):  # damaged, or removed meanwhile
        is_data = True
    return "data" if is_data else "bootable"
