"""The CPU, memory and disk that an instance requests, and the memory that it was measured to use."""

from __future__ import annotations

from typing import NamedTuple

from stratuslab.local.store.database import Store
from stratuslab.local.store.instance_record import QEMU
from stratuslab.opennebula.states import Phase, State, phase

HOLDS_CAPACITY = (State.ACTIVE, State.POWEROFF, State.SUSPENDED)


class InstanceLoad(NamedTuple):
    """The resources of an instance. The fields are those of its record; ``memory_kib`` is its measured use."""

    id: int
    state: int
    lcm_state: int
    cpu: float
    memory_mib: int
    sched_message: str
    hypervisor: str
    disk_mib: int
    memory_kib: int

    @classmethod
    def read(cls, store: Store) -> list[InstanceLoad]:
        """Those of all pending and placed instances, oldest first."""
        columns, states = ", ".join(cls._fields), (State.PENDING, *HOLDS_CAPACITY)
        rows = store.query(f"SELECT {columns} FROM instances WHERE state IN (?, ?, ?, ?) ORDER BY id", states)
        return [cls(*row) for row in rows]

    @property
    def is_real(self) -> bool:
        return self.hypervisor == QEMU

    @property
    def is_placed(self) -> bool:
        return self.state in HOLDS_CAPACITY

    @property
    def is_on(self) -> bool:
        """Whether a machine may be running or suspended, and so has its memory."""
        active = self.state == State.ACTIVE and phase(self.state, self.lcm_state) != Phase.AWAY
        return active or self.state == State.SUSPENDED
