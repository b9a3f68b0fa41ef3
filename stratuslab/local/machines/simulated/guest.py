"""A simulated guest: its name, hardware, files and power switch.

It is made from the instance's description alone and shows nothing of this computer (names, users, kernel, files).
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable

from paramiko import Channel

from stratuslab.local.machines.driver import DiskKind, MachineSpec
from stratuslab.local.machines.simulated.file_tree import CAPACITY, FileTree
from stratuslab.local.machines.simulated.session_streams import Streams

SYSTEM_KIB = 8 * 1024  # memory that the kernel and the SSH server of such a small system would use


class Guest:
    """One guest, shared by all its sessions. ``power`` halts it, or reboots it if True, and returns at once."""

    def __init__(self, spec: MachineSpec, power: Callable[[bool], None]) -> None:
        self.host_name, self.addresses, self.vcpu = spec.host_name, spec.addresses, spec.vcpu
        self.memory_kib, self.swap_kib = spec.memory_mib * 1024, spec.size_mib(DiskKind.SWAP) * 1024
        self.power = power
        self.opened: dict[Channel, Streams] = {}
        self.booted = time.monotonic()
        capacity = max(min(CAPACITY, (self.memory_kib - SYSTEM_KIB) * 1024), 1 << 20)
        # Devices, mount points, and sizes in KiB.
        self.disks = [("/dev/vda", "/", capacity // 1024)]
        if volatile := spec.size_mib(DiskKind.VOLATILE):
            self.disks.append(("/dev/vdc" if self.swap_kib else "/dev/vdb", "/mnt", volatile * 1024))
        self.files = FileTree(capacity)
        for path, mode in {"/etc": 0o755, "/mnt": 0o755, "/root": 0o700, "/root/.ssh": 0o700, "/tmp": 0o1777}.items():
            self.files.mkdir(path)
            self.files.node(path).mode = stat.S_IFDIR | mode
        # The image's name is untrusted, and shells read os-release.
        image = re.sub(r"[^A-Za-z0-9._:/ -]", "_", spec.image)
        self._put("/etc/hostname", f"{self.host_name}\n")
        self._put("/etc/os-release", f'NAME="StratusLab simulated machine"\nID=simulated\nIMAGE_ID="{image}"\n')
        self._put("/root/.ssh/authorized_keys", spec.authorized_keys.rstrip("\n") + "\n", 0o600)

    @property
    def sessions(self) -> list[Streams]:
        """Those that are served."""
        return [streams for streams in list(self.opened.values()) if streams.thread and streams.thread.is_alive()]

    @property
    def used_kib(self) -> int:
        """The memory of the system and the files, at most all that there is."""
        return min(SYSTEM_KIB + self.files.used // 1024, self.memory_kib)

    def _put(self, path: str, text: str, mode: int = 0o644) -> None:
        self.files.open(path, os.O_CREAT).write(0, text.encode(errors="surrogateescape"))
        self.files.node(path).mode = stat.S_IFREG | mode
