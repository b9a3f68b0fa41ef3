"""Removes images, with their entries in the embedded Marketplace and their content, and finishes what a killed process left."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from stratuslab.errors import NotFound, StratusLabError, UsageError
from stratuslab.local.images import DISCARDED
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries
from stratuslab.local.images.entry_search import EntryQuery, EntrySearch
from stratuslab.local.images.image_store import content, images
from stratuslab.local.store.database import Store
from stratuslab.opennebula.states import State


def remove_image(store: Store, now: float, text: str, *, force: bool = False) -> tuple[str, bool]:
    """Remove the image with this identifier or name. Returns its identifier, and whether it is gone: a name that it has beside
    others is removed alone.

    Raises NotFound, UsageError if several have the name, and without ``force`` StratusLabError if instances that are not DONE
    use it: with ``force`` those that run go on, but cannot be started again.
    """
    search = EntrySearch(store, now, EntryQuery(word=text, status="all"))
    with store.transaction():
        found = sorted({row.identifier for row in search.rows()})
        if not found:
            raise NotFound(f'the embedded cloud has no image "{text}"', "see stratus-local-cloud images")
        if len(found) > 1:
            raise UsageError(f'several images have the name "{text}": {", ".join(found)}', "use the identifier")
        identifier = found[0]
        if MarketplaceEntries(store, now).remove_name(identifier, text):
            return identifier, False
        using = "SELECT id FROM instances WHERE state <> ? AND (image = ? OR instr(attributes, ?)) ORDER BY id"
        users = [str(row[0]) for row in store.query(using, (State.DONE, identifier, identifier))]
        if users and not force:
            raise StratusLabError(
                f"image {identifier} is in use by machine{'s' if len(users) > 1 else ''} {', '.join(users)}",
                f"stratus-kill-instance {' '.join(users)}, or add --force",
            )
        store.query("DELETE FROM entries WHERE identifier = ?", (identifier,))
        discard(store.directory, identifier)
    delete_discarded(store)
    return identifier, True


def discard(directory: Path, identifier: str = "") -> None:
    """Take the content of an image, or of all, away. Part of a transaction that removes the entries.

    It is renamed at once and deleted later, so that a command that adds the same image finds all of it or nothing.
    """
    discarded = directory / f"{DISCARDED}{os.urandom(4).hex()}"
    with suppress(OSError):
        if identifier:
            discarded.mkdir(0o700)
            (images(directory) / identifier).rename(discarded / identifier)
        else:
            images(directory).rename(discarded)


def delete_discarded(store: Store) -> None:
    """Delete what was taken away, except for content that still has an entry: its removal was cut short, so it comes back."""
    for discarded in store.directory.glob(f"{DISCARDED}*"):
        with store.transaction():
            for path in discarded.glob("*/image"):
                identifier = path.parent.name
                if content(store.directory, identifier) is None and store.query(
                    "SELECT 1 FROM entries WHERE identifier = ?", (identifier,)
                ):
                    with suppress(OSError):
                        path.parent.rename(images(store.directory) / identifier)
        shutil.rmtree(discarded, ignore_errors=True)
