"""The one host of the embedded cloud: what it can carry, and which of the waiting instances fit.

Its capacity comes from this computer unless the store's settings say otherwise. Simulated machines hardly use what they are
given, so both are overcommitted: 8 CPUs for each of the computer's (16 at least), and at least 8 GiB of memory. Real machines
must fit into the room that the computer has left, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from stratuslab.errors import UsageError
from stratuslab.local.engine.free_capacity import Room
from stratuslab.local.engine.host_load import Load
from stratuslab.local.store.database import Store
from stratuslab.opennebula.states import State

HOST_ID = 0
HOST_NAME = "localhost"
_CPU_SETTING, _MEMORY_SETTING = "host_cpu", "host_memory_mib"


@dataclass(frozen=True)
class Capacity:
    """CPUs and memory (MiB) of the host."""

    cpu: float
    memory_mib: int

    @classmethod
    def read(cls, store: Store) -> Capacity:
        cpu, memory = store.setting(_CPU_SETTING), store.setting(_MEMORY_SETTING)
        return cls(float(cpu) if cpu else _default_cpu(), int(memory) if memory else _default_memory())

    def write(self, store: Store) -> None:
        """Keep this capacity in the store's settings. Raises UsageError where it is none."""
        if not (self.cpu > 0 and self.memory_mib > 0):
            raise UsageError("a host has more than 0 CPUs and more than 0 MiB of memory")
        store.set_setting(_CPU_SETTING, str(self.cpu))
        store.set_setting(_MEMORY_SETTING, str(self.memory_mib))

    def used(self, loads: Iterable[Load]) -> Capacity:
        """What the instances take that have been placed."""
        held = [load for load in loads if load.is_placed]
        return Capacity(sum(load.cpu for load in held), sum(load.memory_mib for load in held))

    def next_fit(self, loads: list[Load], store: Store) -> tuple[Load | None, dict[int, str]]:
        """The oldest waiting instance that fits, and why those before it (all, where none fits) do not."""
        used = self.used(loads)
        room: Room | None = None
        reasons = {}
        for load in loads:
            if load.state != State.PENDING:
                continue
            # CPU is a sum of decimals such as 0.1; a rounding error must not keep the last one out.
            if used.cpu + load.cpu > self.cpu + 1e-6:
                reasons[load.id] = f"[HOST] Not enough CPU on hosts: {HOST_ID}"
            elif used.memory_mib + load.memory_mib > self.memory_mib:
                reasons[load.id] = f"[HOST] Not enough MEMORY on hosts: {HOST_ID}"
            elif not load.is_real:
                return load, reasons
            else:
                room = room or Room.left(store, [other for other in loads if other.is_real and other.is_placed])
                reasons[load.id] = room.obstacle(load)
                if not reasons[load.id]:
                    return load, reasons
        return None, reasons


def _default_cpu() -> float:
    return float(max(16, 8 * (os.cpu_count() or 1)))


def _default_memory() -> int:
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        installed = 0
    return max(8192, installed * 8 // 10)
