"""The images of a cloud: what their entries say, and where their content is."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from stratuslab.local.images import ImageError
from stratuslab.local.images.entry_search import CatalogueRow, EntryQuery, EntrySearch
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
    """An image; ``title`` and ``bytes`` are those of its newest entry, ``names`` are the other titles and tags."""

    identifier: str
    title: str
    names: tuple[str, ...]
    bytes: int
    content: ContentLocation
    kind: str
    """``bootable``, ``simulated`` or ``data``."""


def content_location(store: Store, identifier: str, locations: Iterable[str]) -> ContentLocation:
    """Where the content of an image is whose entry names these locations."""
    if content(store.directory, identifier) is not None:
        return ContentLocation.HERE
    is_known = any(location.lower().startswith(("http:", "https:")) for location in locations)
    return ContentLocation.ELSEWHERE if is_known else ContentLocation.NOWHERE


def list_images(store: Store, now: float) -> list[ListedImage]:
    """Every image once, by its newest entry; the newest last."""
    newest: dict[str, CatalogueRow] = {}
    names: dict[str, list[str]] = {}
    for row in EntrySearch(store, now, EntryQuery(status="all")).rows(descending=False):
        newest[row.identifier] = row
        names.setdefault(row.identifier, []).extend([row.title, *row.tag.splitlines()])
    found = []
    for identifier, row in newest.items():
        where = content_location(store, identifier, row.locations.splitlines())
        others = tuple(name for name in dict.fromkeys(names[identifier]) if name not in (row.title, identifier))
        found.append(ListedImage(identifier, row.title, others, row.bytes, where, _kind(store, where, row)))
    return found


def _kind(store: Store, where: ContentLocation, row: CatalogueRow) -> str:
    path = content(store.directory, row.identifier)
    try:
        is_data = row.kind == "disk" if path is None else lacks_boot_loader(path)
    except (ImageError, OSError):  # damaged, or removed meanwhile
        is_data = True
    return "data" if is_data else "simulated" if where is ContentLocation.NOWHERE else "bootable"
