"""What the embedded cloud asks of the things that run its instances: a hypervisor's machines, and the processes around them.

One instance is one process, its supervisor. Inside it a :class:`Driver` makes the :class:`Machine`; outside, the engine
starts and stops supervisors through :class:`SupervisorControl`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

_LONGEST_LABEL = 63


class MachineError(Exception):
    """The machine could not be prepared or booted; the text is what the instance's owner reads as the reason."""


class DiskKind(Enum):
    """What is on a disk, and what becomes of it."""

    IMAGE = "image"
    """A copy of an image, the instance's own; or, where it is read-only, the image itself."""
    SWAP = "swap"
    VOLATILE = "volatile"
    """Empty at first; goes with the instance, as the two above."""
    VOLUME = "persistent"
    """A volume, which outlives the instance."""


@dataclass(frozen=True)
class DiskSpec:
    """A disk of a machine. The copy of an image is as large as the image, or ``size_mib`` where that is more.

    ``image`` is an image's Marketplace identifier, and ``metadata_url`` where a Marketplace elsewhere describes it, if one was
    named; ``file`` is a volume's content.
    """

    kind: DiskKind
    size_mib: int = 0
    image: str = ""
    metadata_url: str = ""
    file: Path | None = None
    read_only: bool = False


@dataclass(frozen=True)
class MachineSpec:
    """The machine that an instance is to be.

    ``vcpu`` counts virtual CPUs, ``memory_mib`` is its RAM. ``disks`` are in the order in which the guest sees them, without
    those of size 0. ``addresses`` are the leases in the order of the NICs, the first is the main one. ``authorized_keys``
    holds public keys, one a line. ``context`` is the contextualisation, names in upper case. ``image`` is the first image's
    Marketplace identifier, or its name where it has none. ``hypervisor`` is the one that the machine was placed on, by its
    name. ``directory`` is the instance's own; it exists and is closed to others. ``hold`` is a descriptor that whatever runs the
    machine keeps open until it has ended: the instance's lock.
    """

    id: int
    name: str
    vcpu: int
    memory_mib: int
    addresses: tuple[str, ...]
    authorized_keys: str
    context: Mapping[str, str]
    image: str
    directory: Path = field(repr=False)
    hypervisor: str = "simulated"
    disks: tuple[DiskSpec, ...] = ()
    hold: int | None = None

    @property
    def cloud(self) -> Path:
        """The store's directory, the same for all instances."""
        return self.directory.parents[1]

    @property
    def swap_mib(self) -> int:
        return self._size_of(DiskKind.SWAP)

    @property
    def volatile_mib(self) -> int:
        return self._size_of(DiskKind.VOLATILE)

    @property
    def host_name(self) -> str:
        """The guest's host name: what its context asks for, else its instance's name, as a label of RFC 1123."""
        for wanted in (self.context.get("SET_HOSTNAME", ""), self.context.get("HOSTNAME", ""), self.name):
            plain = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode().lower()
            # The first label of a name with dots is the host's.
            label = re.sub(r"[^a-z0-9]+", "-", plain.split(".")[0]).strip("-")[:_LONGEST_LABEL].strip("-")
            if label:
                return label
        return f"one-{self.id}"

    def _size_of(self, kind: DiskKind) -> int:
        return sum(disk.size_mib for disk in self.disks if disk.kind is kind)


class Machine(Protocol):
    """One machine of a hypervisor, from its disks to its end. It lives inside the supervisor's process."""

    def prepare(self) -> None:
        """Make the disks ready (PROLOG). Raises MachineError."""

    def boot(self) -> tuple[str, int]:
        """Start the guest (BOOT); the address and port where its SSH server answers. Raises MachineError."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the guest to end; True when it has ended."""
        ...

    def usage(self) -> tuple[float, int]:
        """What the machine uses now: percent of one CPU, and memory in KiB."""
        ...

    def halt(self) -> None:
        """Press the power button: the guest is asked to shut down; returns at once."""

    def reboot(self) -> None:
        """Ask the guest to shut down and start it again, also where it does not; returns at once. A halt asked for meanwhile
        wins."""

    def kill(self) -> None:
        """Pull the cord: nothing runs the machine any more when this returns."""


class Driver(Protocol):
    """A way to make machines."""

    @property
    def name(self) -> str:
        """The word that the store and the documents know it by."""
        ...

    def make(self, spec: MachineSpec) -> Machine:
        """A machine for the instance; nothing is started yet."""
        ...


class SupervisorControl(Protocol):
    """The supervisors of a store's instances, as the engine sees them."""

    def spawn(self, instance: int) -> None:
        """Start the instance's supervisor and return at once."""

    def alive(self, instance: int) -> bool:
        """Whether the instance's supervisor lives, or what it has left running."""
        ...

    def kill(self, instance: int) -> None:
        """Pull the cord: the supervisor is gone when this returns. Fine when it is gone already."""

    def halt(self, instance: int) -> None:
        """Ask the guest to shut down; returns at once."""

    def reboot(self, instance: int) -> None:
        """Have the guest shut down and started again; returns at once."""

    def pause(self, instance: int) -> None:
        """Let the machine stand still, supervisor and all. The caller has the store to itself."""

    def resume(self, instance: int) -> None:
        """Let a machine that stands still run on."""
