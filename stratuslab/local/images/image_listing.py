"""The images of a cloud: what their entries say, and where their content is."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from stratuslab.local.images.embedded_marketplace import read_entry
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
        ListedImage(identifier, title, size, content_location(store, identifier, document))
        for identifier, (title, size, document) in newest.items()
    ]
