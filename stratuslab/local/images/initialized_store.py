"""Opens the store of a directory, and fills a new one with the first users, networks and images."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.local.images import DISCARDED
from stratuslab.local.store.database import Store
from stratuslab.local.store.leases import Leases

NEXT_INSTANCE = "next_instance"
"""The setting with the number of the next instance. It only grows, so no number is used twice."""


def open_store(directory: Path, now: float) -> Store:
    """The directory's store, created if missing. ``now`` is seconds since the epoch.

    Raises StratusLabError or UsageError if it cannot be used.
    """
    store = Store(directory)
    if any(directory.glob(f"{DISCARDED}*")):
        from stratuslab.local.images.image_removal import delete_discarded

        with suppress(StratusLabError):  # on a full disk, the next command tries again
            delete_discarded(store)
    if store.setting(NEXT_INSTANCE) is None:
        with store.transaction():
            if store.setting(NEXT_INSTANCE) is None:
                store.set_setting(NEXT_INSTANCE, "1")
                initialize(store, now)
    return store


def initialize(store: Store, now: float) -> None:
    """Add the first users, the networks and the built-in images to an empty store. Part of a transaction."""
    from stratuslab.local.images.builtin_images import add_builtin_images

    store.query("INSERT INTO users VALUES (0, 'oneadmin'), (1, 'serveradmin')")
    Leases(store).create_networks()
    add_builtin_images(store, now)
