"""The images of a cloud: what their entries say, and where their content is."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from stratuslab.local.images.image_store import content
from stratuslab.local.images.marketplace_entries import read_entry
from stratuslab.local.store.database import Store


class Content(Enum):
    """Where an image's content is."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    """It is fetched when the first machine of it starts."""
    NOWHERE = "none"
    """Machines of it are simulated."""


class ListedImage(NamedTuple):
    """An image; ``bytes`` is its size according to its entry."""

    identifier: str
    title: str
    bytes: int
    content: Content


def content_of(store: Store, identifier: str, document: str) -> Content:
    """Where the content of an entry's image is."""
    if content(store.directory, identifier) is not None:
        return Content.HERE
    locations = read_entry(document.encode()).metadata.locations
    return Content.ELSEWHERE if any(location.startswith(("http:", "https:")) for location in locations) else Content.NOWHERE


def list_images(store: Store) -> list[ListedImage]:
    """Every image once, by its newest entry; the newest last."""
    rows = store.query("SELECT identifier, title, bytes, document FROM entries ORDER BY created, id")
    newest = {identifier: (title, size, document) for identifier, title, size, document in rows}
    return [
        ListedImage(identifier, title, size, content_of(store, identifier, document))
        for identifier, (title, size, document) in newest.items()
    ]
