"""The memory and disk space of this computer that are free for real machines.

What real machines were promised but do not use yet is not free. Simulated machines count against the host's capacity only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
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
    volumes: Mapping[int, int]
    """How much the volumes of each instance may still grow."""

    @classmethod
    def left(cls, store: Store, loads: Iterable[InstanceLoad]) -> FreeCapacity:
        """What those of the instances that are real and placed leave free."""
        memory, disk = _free_memory_mib(), free_bytes(store.directory) >> 20
        volumes = _unwritten(store)
        for load in loads:
            if not (load.is_real and load.is_placed):
                continue
            memory -= max(load.memory_mib + MACHINE_MIB - load.memory_kib // 1024, 0) if load.is_on else 0
            disk -= max(load.disk_mib - _taken_mib(store.directory / "instances" / str(load.id)), 0) + volumes.get(load.id, 0)
        return cls(memory, disk, volumes)

    def shortage(self, load: InstanceLoad) -> str:
        """Why a pending instance does not fit; empty if it does."""
        return self.memory_shortage(load) or self._disk_shortage(load)

    def memory_shortage(self, load: InstanceLoad) -> str:
        """Why there is no memory for a machine that is off; empty if there is."""
        need = load.memory_mib + MACHINE_MIB
        return f"[HOST] Not enough MEMORY on this computer: {need} MiB are not free" if need > self.memory_mib else ""

    def _disk_shortage(self, load: InstanceLoad) -> str:
        need = load.disk_mib + self.volumes.get(load.id, 0) + SPARE_MIB
        if need > self.disk_mib:
            return f"[SYSTEM_DS] Not enough free space on this computer's disk: {need} MiB are not free"
        return ""


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


def _taken_mib(directory: Path) -> int:
    """The disk space that the files of an instance take, without holes."""
    try:
        return sum(entry.stat().st_blocks * 512 for entry in directory.iterdir()) >> 20
    except OSError:
        return 0


def _unwritten(store: Store) -> dict[int, int]:
    unwritten: dict[int, int] = {}
    for volume in Volumes(store).all():
        if volume.instance is not None:
            with suppress(OSError):
                taken = volume_file(store.directory, volume.uuid).stat().st_blocks * 512 >> 20
                unwritten[volume.instance] = unwritten.get(volume.instance, 0) + max(volume.size_mib - taken, 0)
    return unwritten
