"""The memory and disk space of this computer that are free for real machines.

What real machines were promised but do not use yet is not free. Simulated machines count against the host's capacity only.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stratuslab.local.engine.resource_demand import InstanceLoad
from stratuslab.local.images.free_space import SPARE_MIB
from stratuslab.local.store.database import Store
from stratuslab.local.store.volumes import Volumes, volume_file
from stratuslab.private_files import free_bytes

MACHINE_MIB = 160
"""What QEMU and the supervisor need besides the machine's RAM, measured with QEMU 7.2 without KVM."""

_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class FreeCapacity:
    """MiB of memory and disk that are free for real machines."""

    memory_mib: int
    disk_mib: int
    volumes: Counter[int]
    """How much the volumes of each instance may still grow."""

    @classmethod
    def left(cls, store: Store, loads: Iterable[InstanceLoad]) -> FreeCapacity:
        """What those of the instances that are real and placed leave free."""
        memory, disk = _free_memory_mib(), free_bytes(store.directory) >> 20
        volumes = _unwritten(store)
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
        """Why there is no memory for a machine that is off; empty if there is."""
        need = load.memory_mib + MACHINE_MIB
        return f"[HOST] Not enough MEMORY on this computer: {need} MiB are not free" if need > self.memory_mib else ""


def _free_memory_mib() -> int:
    """Memory that is available without swapping, within the limit of our container."""
    free = _available_mib()
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        # The cache of files that were read counts as used, but is freed on demand.
        cached = re.search(r"^inactive_file (\d+)$", (_CGROUP / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return free
    return min(free, (limit - used + int(cached[1] if cached else 0)) >> 20)


def _available_mib() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) >> 10
    except (OSError, ValueError, StopIteration):
        return installed_mib()


def installed_mib() -> int:
    """All the memory of this computer, in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _taken_mib(files: Iterable[Path]) -> int:
    """The disk space that files take, without holes."""
    try:
        return sum(file.stat().st_blocks * 512 for file in files) >> 20
    except OSError:
        return 0  # removed meanwhile


def _unwritten(store: Store) -> Counter[int]:
    unwritten: Counter[int] = Counter()
    for volume in Volumes(store).all():
        if volume.instance is not None:
            taken = _taken_mib([volume_file(store.directory, volume.uuid)])
            unwritten[volume.instance] += max(volume.size_mib - taken, 0)
    return unwritten
