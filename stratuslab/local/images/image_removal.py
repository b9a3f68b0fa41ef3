"""Removes an image, with its entries in the embedded Marketplace and its content."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from stratuslab.errors import NotFound, StratusLabError, UsageError
from stratuslab.local.images.image_store import images
from stratuslab.local.store.database import Store
from stratuslab.opennebula.states import State


def remove_image(store: Store, text: str, *, force: bool = False) -> str:
    """Remove the image with this identifier or title, and return its identifier.

    Raises NotFound, UsageError if several have the title, and without ``force`` StratusLabError if instances that are not DONE
    use it: with ``force`` those that run go on, but cannot be started again.
    """
    with store.transaction():
        found = [row[0] for row in store.query("SELECT DISTINCT identifier FROM entries WHERE ? IN (identifier, title)", (text,))]
        if not found:
            raise NotFound(f'the embedded cloud has no image "{text}"', "see stratus-local-cloud images")
        if len(found) > 1:
            raise UsageError(f'several images have the title "{text}": {", ".join(found)}', "use the identifier")
        identifier = str(found[0])
        using = "SELECT id FROM instances WHERE state <> ? AND (image = ? OR instr(attributes, ?)) ORDER BY id"
        users = [str(row[0]) for row in store.query(using, (State.DONE, identifier, identifier))]
        if users and not force:
            raise StratusLabError(
                f"image {identifier} is in use by instance{'s' if len(users) > 1 else ''} {', '.join(users)}",
                f"stratus-kill-instance {' '.join(users)}, or add --force",
            )
        store.query("DELETE FROM entries WHERE identifier = ?", (identifier,))
        # Renamed first, so that a command that adds the same image finds all of it or nothing.
        removed = images(store.directory) / f"removed-{os.urandom(4).hex()}"
        with suppress(FileNotFoundError):
            (images(store.directory) / identifier).rename(removed)
    shutil.rmtree(removed, ignore_errors=True)
    return identifier
