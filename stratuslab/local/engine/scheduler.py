"""The capacity of the one host, what instances take of it, and the choice of the pending instance to start next.

The default capacity is overcommitted, as simulated machines need little: 8 CPUs for each of this computer's (at least 16), and
at least 8 GiB of memory. Real machines must also fit into what is free on this computer, where what they were promised but do
not use yet is not free.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from stratuslab.local.images.free_space import SPARE_MIB
from stratuslab.local.store.database import Store
from stratuslab.local.store.stored_records import QEMU
from stratuslab.local.store.volumes import Volumes, volume_file
from stratuslab.opennebula.states import Phase, State, phase
from stratuslab.private_files import free_bytes

HOST_ID = 0
HOST_NAME = "localhost"
TOO_LARGE = ". No host is that large"
"""The end of a reason to wait that no end of another machine changes."""
CPU_SETTING, MEMORY_SETTING = "host_cpu", "host_memory_mib"
MACHINE_MIB = 160
"""What QEMU and the supervisor need besides the machine's RAM, measured with QEMU 7.2 without KVM."""

_CGROUP = Path("/sys/fs/cgroup")
_HOLDS_CAPACITY = (State.ACTIVE, State.POWEROFF, State.SUSPENDED)


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
        columns, states = ", ".join(cls._fields), (State.PENDING, *_HOLDS_CAPACITY)
        rows = store.query(f"SELECT {columns} FROM instances WHERE state IN (?, ?, ?, ?) ORDER BY id", states)
        return [cls(*row) for row in rows]

    @property
    def is_real(self) -> bool:
        return self.hypervisor == QEMU

    @property
    def is_placed(self) -> bool:
        return self.state in _HOLDS_CAPACITY

    @property
    def is_on(self) -> bool:
        """Whether a machine may be running or suspended, and so has its memory."""
        active = self.state == State.ACTIVE and phase(self.state, self.lcm_state) != Phase.AWAY
        return active or self.state == State.SUSPENDED


class Capacity(NamedTuple):
    """CPUs and memory (MiB) of the host."""

    cpu: float
    memory_mib: int

    @classmethod
    def read(cls, store: Store) -> Capacity:
        cpu = store.setting(CPU_SETTING) or max(16, 8 * (os.cpu_count() or 1))
        memory = store.setting(MEMORY_SETTING) or max(8192, _installed_mib() * 8 // 10)
        return cls(float(cpu), int(memory))

    def used(self, loads: Iterable[InstanceLoad]) -> Capacity:
        """What the placed instances take."""
        held = [load for load in loads if load.is_placed]
        return Capacity(sum(load.cpu for load in held), sum(load.memory_mib for load in held))


class FreeCapacity(NamedTuple):
    """MiB of memory and disk that are free for real machines."""

    memory_mib: int
    disk_mib: int
    volumes: Counter[int]
    """How much the volumes of each instance may still grow."""

    @classmethod
    def left(cls, store: Store, loads: Iterable[InstanceLoad]) -> FreeCapacity:
        """What those of the instances that are real and placed leave free."""
        memory, disk = _free_memory_mib(), free_bytes(store.directory) >> 20
        volumes: Counter[int] = Counter()
        for volume in Volumes(store).all():
            if volume.instance is not None:
                written = _taken_mib([volume_file(store.directory, volume.uuid)])
                volumes[volume.instance] += max(volume.size_mib - written, 0)
        for load in (load for load in loads if load.is_real and load.is_placed):
            memory -= max(load.memory_mib + MACHINE_MIB - load.memory_kib // 1024, 0) if load.is_on else 0
            files = (store.directory / "instances" / str(load.id)).glob("*")
            disk -= max(load.disk_mib - _taken_mib(files), 0) + volumes[load.id]
        return cls(memory, disk, volumes)

    def shortage(self, load: InstanceLoad) -> str:
        """Why a pending instance does not fit; empty if it does."""
        need = load.disk_mib + self.volumes[load.id] + SPARE_MIB
        full = f"[SYSTEM_DS] Not enough free space on this computer's disk: {need} MiB are not free"
        return self.memory_shortage(load) or (full if need > self.disk_mib else "")

    def memory_shortage(self, load: InstanceLoad) -> str:
        """Why a machine that is off cannot be started for lack of memory; empty if it can."""
        need = load.memory_mib + MACHINE_MIB
        return f"[HOST] Not enough MEMORY on this computer: {need} MiB are not free" if need > self.memory_mib else ""


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


def _free_memory_mib() -> int:
    """Memory that is available without swapping, within the limit of our container."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) >> 10
    except (OSError, ValueError, StopIteration):
        free = _installed_mib()
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        # The cache of files that were read counts as used, but is freed on demand.
        cached = re.search(r"^inactive_file (\d+)$", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return free
    return min(free, (limit - used + int(cached[1] if cached else 0)) >> 20)


def _installed_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _taken_mib(files: Iterable[Path]) -> int:
    """The disk space that files take, without holes."""
    try:
        return sum(file.stat().st_blocks * 512 for file in files) >> 20
    except OSError:
        return 0  # removed meanwhile
