"""The one host of the embedded cloud: what it can carry, and which of the waiting instances fit.

Its capacity comes from this computer unless the store's settings say otherwise. Simulated machines hardly use what they are
given, so both are overcommitted: 8 CPUs for each of the computer's (16 at least), and at least 8 GiB of memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from stratuslab.errors import UsageError
from stratuslab.local.store import Store
from stratuslab.opennebula.states import State

HOST_ID = 0
HOST_NAME = "localhost"
_CPU_SETTING, _MEMORY_SETTING = "host_cpu", "host_memory_mib"
_HOLDS_CAPACITY = (State.ACTIVE, State.POWEROFF)


@dataclass(frozen=True)
class Load:
    """What an instance takes, or may take: ``state`` and ``waiting`` as in its record."""

    id: int
    state: int
    lcm_state: int
    cpu: float
    memory_mib: int
    waiting: str

    @classmethod
    def read(cls, store: Store) -> list[Load]:
        """Those of all instances that run or wait, oldest first."""
        states = (State.PENDING, *_HOLDS_CAPACITY)
        rows = store.query(
            "SELECT id, state, lcm_state, cpu, memory_mib, waiting FROM instances WHERE state IN (?, ?, ?) ORDER BY id",
            states,
        )
        return [cls(*row) for row in rows]


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
        held = [load for load in loads if load.state in _HOLDS_CAPACITY]
        return Capacity(sum(load.cpu for load in held), sum(load.memory_mib for load in held))

    def next_fit(self, loads: list[Load]) -> tuple[Load | None, dict[int, str]]:
        """The oldest waiting instance that fits, and why those before it (all, where none fits) do not."""
        used = self.used(loads)
        reasons = {}
        for load in loads:
            if load.state != State.PENDING:
                continue
            # CPU is a sum of decimals such as 0.1; a rounding error must not keep the last one out.
            if used.cpu + load.cpu > self.cpu + 1e-6:
                reasons[load.id] = f"[HOST] Not enough CPU on hosts: {HOST_ID}"
            elif used.memory_mib + load.memory_mib > self.memory_mib:
                reasons[load.id] = f"[HOST] Not enough MEMORY on hosts: {HOST_ID}"
            else:
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
