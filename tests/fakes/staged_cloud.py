"""An embedded cloud whose machines are only acted, so that a test moves them by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import CPU_SETTING, MEMORY_SETTING, Capacity
from stratuslab.local.images.initialized_store import NEXT_INSTANCE
from stratuslab.local.store.leases import address_number
from stratuslab.opennebula.states import Lcm
from stratuslab.testing.steered_machines import Actors

__all__ = ["Actors", "Stage", "configure"]


class Stage:
    """An embedded cloud whose machines a test moves by hand, with the engine to do so."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time, environ: Mapping[str, str] | None = None) -> None:
        self.actors = Actors()
        # Without an environment this computer has no QEMU.
        self.engine = Engine(directory, self.actors, clock, environ or {"PATH": ""})

    def runs(self, instance: int) -> None:
        """The instance gets to RUNNING."""
        for step in (Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING):
            assert self.engine.machine_reached(instance, step)

    def polled(self, instance: int, cpu_percent: float, memory_kib: int) -> None:
        """The host reports what the instance uses."""
        self.engine.machine_used(instance, cpu_percent, memory_kib)

    def halts(self, instance: int) -> None:
        """The guest halts itself."""
        self.actors.living.discard(instance)
        self.engine.machine_ended(instance)


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
