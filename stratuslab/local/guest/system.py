"""The simulated guest itself: what it is called, what it has, its files, its power switch.

It is made from the instance's description alone. Nothing of this computer (names, users, kernel, files) is in it.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from stratuslab.local.guest.files import CAPACITY, CHUNK, FileSystem
from stratuslab.local.machine import MachineSpec

KERNEL = "6.1.0-simulated"
ARCHITECTURE = "x86_64"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SYSTEM_KIB = 8 * 1024
"""What the kernel and the SSH server of so small a system take of the memory."""


class Power(Protocol):
    """The guest's own hand on its power switch."""

    def halt(self, seconds: float = 0.0) -> None:
        """Shut down in so many seconds from now; returns at once."""

    def reboot(self, seconds: float = 0.0) -> None:
        """Start again in so many seconds from now; returns at once."""

    def cancel(self) -> bool:
        """Call off what is still to come; False when nothing was."""
        ...


@dataclass(frozen=True)
class Disk:
    """A disk as ``df``, ``mount`` and ``swapon`` show it; sizes in KiB."""

    device: str
    mount: str
    size_kib: int


class Guest:
    """One guest, shared by all its sessions."""

    def __init__(self, spec: MachineSpec, power: Power) -> None:
        self.hostname = _hostname(spec)
        self.vcpu = spec.vcpu
        self.memory_kib = spec.memory_mib * 1024
        self.addresses = spec.addresses
        self.image = spec.image
        self.power = power
        self.sessions: set[object] = set()
        self.files = FileSystem()
        self.root = Disk("/dev/vda1", "/", CAPACITY // 1024)
        letters = iter("bc")
        self.swap = Disk(f"/dev/vd{next(letters)}", "", spec.swap_mib * 1024) if spec.swap_mib else None
        self.volatile = Disk(f"/dev/vd{next(letters)}", "/mnt", spec.volatile_mib * 1024) if spec.volatile_mib else None
        self._processes = itertools.count(301)
        self.booted()
        self._install(spec)

    def booted(self) -> None:
        """The clock of ``uptime`` starts."""
        self._booted = time.monotonic()

    @property
    def uptime(self) -> float:
        """Seconds since the guest was booted."""
        return time.monotonic() - self._booted

    def next_process(self) -> int:
        """A new process number."""
        return next(self._processes)

    @property
    def swap_kib(self) -> int:
        return self.swap.size_kib if self.swap else 0

    @property
    def used_kib(self) -> int:
        """The memory that the system and the files hold; they are never more than there is."""
        return min(_SYSTEM_KIB + self.files.used // 1024, self.memory_kib)

    def hardware_address(self, number: int) -> str:
        """The MAC address of an interface: OpenNebula's 02:00 and the four numbers of the IPv4 address."""
        return "02:00:" + ":".join(f"{int(part):02x}" for part in self.addresses[number].split("."))

    def _install(self, spec: MachineSpec) -> None:
        files = self.files
        for directory in ("/bin", "/boot", "/dev", "/home", "/mnt", "/opt", "/sbin", "/sys", "/usr/bin", "/var/log"):
            files.make_directories(directory)
        files.make_directory("/root", 0o700)
        files.make_directory("/root/.ssh", 0o700)
        files.make_directory("/tmp", 0o1777)
        files.put("/root/.ssh/authorized_keys", spec.authorized_keys.rstrip("\n") + "\n", 0o600)
        files.put("/etc/hostname", f"{self.hostname}\n")
        named = "".join(f"{address}\t{self.hostname}\n" for address in self.addresses[:1])
        files.put("/etc/hosts", f"127.0.0.1\tlocalhost\n{named}")
        files.put("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        files.put("/etc/group", "root:x:0:\n")
        files.put("/etc/os-release", _os_release(self.image))
        files.put_source("/proc/cpuinfo", self._cpuinfo)
        files.put_source("/proc/meminfo", self._meminfo)
        files.put_source("/proc/swaps", self._swaps)
        files.put_source("/proc/uptime", lambda: f"{self.uptime:.2f} {self.uptime * self.vcpu:.2f}\n")
        files.put_source("/proc/loadavg", lambda: "0.00 0.00 0.00 1/12 300\n")
        files.put_source("/proc/version", lambda: f"Linux version {KERNEL} (simulated)\n")
        files.put_device("/dev/null", lambda: iter(()))
        files.put_device("/dev/zero", lambda: itertools.repeat(bytes(CHUNK)))
        files.put_device("/dev/urandom", _random)

    def _cpuinfo(self) -> str:
        return "\n".join(f"processor\t: {number}\nmodel name\t: Simulated CPU\n" for number in range(self.vcpu))

    def _meminfo(self) -> str:
        free = self.memory_kib - self.used_kib
        rows = {
            "MemTotal": self.memory_kib,
            "MemFree": free,
            "MemAvailable": free,
            "Buffers": 0,
            "Cached": 0,
            "SwapTotal": self.swap_kib,
            "SwapFree": self.swap_kib,
        }
        return "".join(f"{name + ':':<15} {value:>8} kB\n" for name, value in rows.items())

    def _swaps(self) -> str:
        rows = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"]
        if self.swap:
            rows.append(f"{self.swap.device:<40}partition\t{self.swap.size_kib}\t\t0\t\t-2")
        return "\n".join(rows) + "\n"


def _hostname(spec: MachineSpec) -> str:
    wanted = spec.context.get("HOSTNAME") or spec.name
    # RFC 1123: letters, digits, hyphens; the instance's name may hold anything.
    return re.sub(r"[^a-z0-9.-]+", "-", wanted.lower()).strip("-.")[:63] or f"one-{spec.id}"


def _os_release(image: str) -> str:
    # The image's name comes from outside, and the file is read by shells.
    return (
        'NAME="StratusLab simulated machine"\n'
        "ID=simulated\n"
        'PRETTY_NAME="StratusLab simulated machine"\n'
        f'IMAGE_ID="{re.sub(r"[^A-Za-z0-9._:/ -]", "_", image)}"\n'
    )


def _random() -> Iterator[bytes]:
    read: Callable[[], bytes] = lambda: os.urandom(CHUNK)  # noqa: E731
    return iter(read, b"")
