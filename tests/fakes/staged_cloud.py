"""The staged cloud, and what tests of this package configure of it."""

from __future__ import annotations

from collections.abc import Mapping

from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import CPU_SETTING, MEMORY_SETTING, Capacity
from stratuslab.local.images.open_store import NEXT_INSTANCE
from stratuslab.local.store.leases import address_number
from stratuslab.testing.staged_cloud import Actors, Stage

__all__ = ["Actors", "Stage", "configure"]


def configure(
    engine: Engine,
    *,
    first_instance: int = 0,
    capacity: Capacity | None = None,
    ranges: Mapping[str, tuple[str, int]] | None = None,
) -> None:
    """Set the number of the next instance, the host's capacity, and first address and size of the networks' ranges."""
    if first_instance:
        engine.store.set_setting(NEXT_INSTANCE, str(first_instance))
    if capacity is not None:
        engine.store.set_setting(CPU_SETTING, str(capacity.cpu))
        engine.store.set_setting(MEMORY_SETTING, str(capacity.memory_mib))
    for name, (first, size) in (ranges or {}).items():
        change = "UPDATE networks SET first = ?, size = ?, next = 0 WHERE name = ?"
        engine.store.query(change, (address_number(first), size, name))
