"""The images of a cloud, for its owner to see: what their entries say, and whether there is content behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

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


@dataclass(frozen=True)
class Listed:
    """An image; ``bytes`` is its size as its entry has it."""

    identifier: str
    title: str
    bytes: int
    content: Content


def where(store: Store, identifier: str, document: str) -> Content:
    """Where the content of the image of an entry is."""
    if content(store.directory, identifier) is not None:
        return Content.HERE
    locations = read_entry(document.encode()).metadata.locations
    return Content.ELSEWHERE if any(location.startswith(("http:", "https:")) for location in locations) else Content.NOWHERE


def listed(store: Store) -> list[Listed]:
    """Every image once, by its newest entry; those that were added last come last."""
    rows = store.query("SELECT identifier, title, bytes, document FROM entries ORDER BY created, id")
    newest = {identifier: (title, size, document) for identifier, title, size, document in rows}
    return [
        Listed(identifier, title, size, where(store, identifier, document))
        for identifier, (title, size, document) in newest.items()
    ]
