"""The store of a directory, opened; a new one holds what a cloud begins with."""

from __future__ import annotations

from pathlib import Path

from stratuslab.local.store.database import Store
from stratuslab.local.store.leases import Leases

NEXT_INSTANCE = "next_instance"
"""The setting that holds the number of the next instance. It only ever grows, so that no number is given twice."""


def open_store(directory: Path, now: float) -> Store:
    """The directory's store, made when it is not there. ``now`` is seconds since the epoch.

    Raises StratusLabError or UsageError where the store cannot be used.
    """
    store = Store(directory)
    if store.setting(NEXT_INSTANCE) is None:
        with store.transaction():
            if store.setting(NEXT_INSTANCE) is None:
                store.set_setting(NEXT_INSTANCE, "1")
                found(store, now)
    return store


def found(store: Store, now: float) -> None:
    """Fill an empty store with the first users, the networks and the cloud's own images; part of a transaction."""
    from stratuslab.local.images.builtin_images import publish_own_entries

    store.query("INSERT INTO users VALUES (0, 'oneadmin'), (1, 'serveradmin')")
    Leases(store).found()
    publish_own_entries(store, now)
