"""Entries in the embedded Marketplace of images whose content is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

from stratuslab.local.images import ImageError
from stratuslab.local.images.image_store import content
from stratuslab.local.images.marketplace_entries import MarketplaceEntries, MarketplaceEntry, read_entry
from stratuslab.local.store.database import Store
from stratuslab.marketplace.metadata import Metadata, written

ENDORSER = "images@localhost"
"""Who endorses the images that the owner of the embedded cloud adds."""

_SUBJECT = "CN=Added to the embedded cloud,unsigned"
_VALID = datetime(2099, 12, 31, 23, 59, 59, tzinfo=timezone.utc)


def entry(metadata: Metadata, created: datetime) -> MarketplaceEntry:
    """The entry with which the embedded cloud endorses an image, unless it is endorsed already."""
    metadata = replace(
        metadata,
        created=created,
        valid=metadata.valid or _VALID,
        email=metadata.email or ENDORSER,
        subject=metadata.subject or _SUBJECT,
    )
    return MarketplaceEntry(metadata, written(metadata))


def kept_here(identifier: str) -> str:
    """The location of an image in the embedded cloud itself. Entries may be read by all users: it tells nobody's path."""
    return f"local://images/{identifier}"


def register(store: Store, now: float, metadata: Metadata, *, rename: bool = False) -> Metadata:
    """Add an entry of an image whose content is kept to the Marketplace; the one that is there then.

    An image that has one of this endorser keeps it, and takes the title of the new one only to ``rename`` it. Raises ImageError
    where the content is gone.
    """
    added = entry(metadata, datetime.fromtimestamp(int(now), timezone.utc))
    with store.transaction():
        # A reset empties the store first, and removes the content then.
        if content(store.directory, metadata.identifier) is None:
            raise ImageError(
                f"the image {metadata.identifier} is gone: the embedded cloud was reset meanwhile", "run the command again"
            )
        query = "SELECT document FROM entries WHERE identifier = ? AND email = ? ORDER BY created DESC LIMIT 1"
        for (document,) in store.query(query, added.key[:2]):
            known = read_entry(document.encode()).metadata
            if not rename or known.title == metadata.title:
                return known
            # With the date of the one that is there, an entry takes its place.
            added = entry(metadata, known.created or datetime.fromtimestamp(int(now), timezone.utc))
        MarketplaceEntries(store, now).keep(added)
    return added.metadata
