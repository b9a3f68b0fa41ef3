"""What the embedded cloud asks of the things that run its instances: a hypervisor's machines, and the processes around them.

One instance is one process, its supervisor. Inside it a :class:`Hypervisor` makes the :class:`Machine`; outside, the engine
starts and stops supervisors through :class:`Machines`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class MachineError(Exception):
    """The machine could not be prepared or booted; the text is what the instance's owner reads as the reason."""


@dataclass(frozen=True)
class MachineSpec:
    """The machine that an instance is to be.

    ``vcpu`` counts virtual CPUs; memory and disk sizes are MiB, 0 for a disk that was not asked for. ``addresses`` are the
    leases in the order of the NICs, the first is the main one. ``authorized_keys`` holds public keys, one a line. ``context``
    is the contextualisation, names in upper case. ``image`` is the image's Marketplace identifier, or its name where it has
    none. ``directory`` is the instance's own; it exists and is closed to others.
    """

    id: int
    name: str
    vcpu: int
    memory_mib: int
    swap_mib: int
    volatile_mib: int
    addresses: tuple[str, ...]
    authorized_keys: str
    context: Mapping[str, str]
    image: str
    directory: Path = field(repr=False)


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


class Hypervisor(Protocol):
    """A way to make machines."""

    @property
    def name(self) -> str:
        """The word that the store and the documents know it by."""
        ...

    def make(self, spec: MachineSpec) -> Machine:
        """A machine for the instance; nothing is started yet."""
        ...


class Machines(Protocol):
    """The supervisors of a store's instances, as the engine sees them."""

    def spawn(self, instance: int) -> None:
        """Start the instance's supervisor and return at once."""

    def alive(self, instance: int) -> bool:
        """Whether the instance's supervisor lives."""
        ...

    def kill(self, instance: int) -> None:
        """Pull the cord: the supervisor is gone when this returns. Fine when it is gone already."""

    def halt(self, instance: int) -> None:
        """Ask the guest to shut down; returns at once."""
