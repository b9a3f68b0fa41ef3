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
        cpu = store.setting(CPU_SETTING) or max(16, 8 * (os.cpu_count() or 1))
        memory = store.setting(MEMORY_SETTING) or max(8192, installed_mib() * 8 // 10)
        return cls(float(cpu), int(memory))

    def used(self, loads: Iterable[InstanceLoad]) -> Capacity:
        """What the placed instances take."""
        held = [load for load in loads if load.is_placed]
        return Capacity(sum(load.cpu for load in held), sum(load.memory_mib for load in held))


def next_fit(store: Store) -> tuple[InstanceLoad | None, dict[int, str]]:
    """The oldest pending instance that fits, and why those before it do not, unless their messages say so."""
    capacity, loads = Capacity.read(store), InstanceLoad.read(store)
    used = capacity.used(loads)
    free: FreeCapacity | None = None
    reasons: dict[int, str] = {}
    for load in loads:
        if load.state != State.PENDING:
            continue
        reason = _shortage(load, used, capacity)
        if not reason and load.is_real:
            free = free or FreeCapacity.left(store, loads)
            reason = free.shortage(load)
        if not reason:
            return load, reasons
        if not load.sched_message.endswith(reason):
            reasons[load.id] = reason
    return None, reasons


def _shortage(load: InstanceLoad, used: Capacity, capacity: Capacity) -> str:
    # CPU is a sum of decimals such as 0.1; a rounding error must not keep the last one out.
    cpu = capacity.cpu + 1e-6
    if used.cpu + load.cpu > cpu:
        return f"[HOST] Not enough CPU on hosts: {HOST_ID}{TOO_LARGE if load.cpu > cpu else ''}"
    if used.memory_mib + load.memory_mib > capacity.memory_mib:
        return f"[HOST] Not enough MEMORY on hosts: {HOST_ID}{TOO_LARGE if load.memory_mib > capacity.memory_mib else ''}"
    return ""
