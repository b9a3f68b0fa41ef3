"""The capacity of the one host, and the choice of the pending instance to start next.

The default capacity is overcommitted, as simulated machines need little: 8 CPUs for each of this computer's (at least 16), and
at least 8 GiB of memory. Real machines must also fit into what is free on this computer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from stratuslab.local.engine.free_resources import FreeCapacity, installed_mib
from stratuslab.local.engine.resource_demand import InstanceLoad
from stratuslab.local.store.database import Store
from stratuslab.opennebula.states import State

HOST_ID = 0
HOST_NAME = "localhost"
TOO_LARGE = ". No host is that large"
"""The end of a reason to wait that no end of another machine changes."""
CPU_SETTING, MEMORY_SETTING = "host_cpu", "host_memory_mib"


@dataclass(frozen=True)
class Capacity:
    """CPUs and memory (MiB) of the host."""

    cpu: float
    memory_mib: int

    @classmethod
    def read(cls, store: Store) -> Capacity:
        cpu, memory = store.setting(CPU_SETTING), store.setting(MEMORY_SETTING)
        return cls(float(cpu) if cpu else _default_cpu(), int(memory) if memory else _default_memory())

    def used(self, loads: Iterable[InstanceLoad]) -> Capacity:
        """What the placed instances take."""
        held = [load for load in loads if load.is_placed]
        return Capacity(sum(load.cpu for load in held), sum(load.memory_mib for load in held))

    def next_fit(self, loads: list[InstanceLoad], store: Store) -> tuple[InstanceLoad | None, dict[int, str]]:
        """The oldest pending instance that fits, and why each one before it does not."""
        used = self.used(loads)
        free: FreeCapacity | None = None
        reasons = {}
        for load in loads:
            if load.state != State.PENDING:
                continue
            # CPU is a sum of decimals such as 0.1; a rounding error must not keep the last one out.
            if used.cpu + load.cpu > self.cpu + 1e-6:
                never = TOO_LARGE if load.cpu > self.cpu + 1e-6 else ""
                reasons[load.id] = f"[HOST] Not enough CPU on hosts: {HOST_ID}{never}"
            elif used.memory_mib + load.memory_mib > self.memory_mib:
                never = TOO_LARGE if load.memory_mib > self.memory_mib else ""
                reasons[load.id] = f"[HOST] Not enough MEMORY on hosts: {HOST_ID}{never}"
            elif not load.is_real:
                return load, reasons
            else:
                free = free or FreeCapacity.left(store, loads)
                reasons[load.id] = free.shortage(load)
                if not reasons[load.id]:
                    return load, reasons
        return None, reasons


def _default_cpu() -> float:
    return float(max(16, 8 * (os.cpu_count() or 1)))


def _default_memory() -> int:
    return max(8192, installed_mib() * 8 // 10)
