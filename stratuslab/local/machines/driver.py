"""The driver protocol: what runs an instance's machine, and what controls its process.

Each instance has a process of its own, its supervisor. Inside it a driver runs the :class:`Machine`; from outside the engine
starts and stops it through :class:`SupervisorControl`.
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
    """The machine could not be prepared or booted. The text is the reason, for the instance's owner."""


class DiskKind(Enum):
    """What is on a disk."""

    IMAGE = "image"
    """A copy of an image, or the image itself if read-only."""
    SWAP = "swap"
    VOLATILE = "volatile"
    """Initially empty, and removed with the instance, like the two above."""
    VOLUME = "persistent"
    """A volume, which outlives the instance."""


@dataclass(frozen=True)
class DiskSpec:
    """A disk of a machine. The copy of an image is as large as the image, or ``size_mib`` if that is more.

    ``image`` is an image's Marketplace identifier, ``metadata_url`` the URL of its metadata in another Marketplace if the
    template names one; ``file`` is a volume's.
    """

    kind: DiskKind
    size_mib: int = 0
    image: str = ""
    metadata_url: str = ""
    file: Path | None = None
    read_only: bool = False


@dataclass(frozen=True)
class MachineSpec:
    """Describes the machine of an instance.

    ``disks`` are in the guest's order, without those of size 0. ``addresses`` are those of the NICs in order, the main one
    first. ``authorized_keys`` are public keys, one per line. ``context`` has names in upper case. ``image`` is the first image's
    Marketplace identifier, or its name if it has none. ``directory`` is for the instance's files; it exists and is private.
    ``lock`` is the descriptor of the instance's lock, which the process that runs the machine inherits. A ``stranger`` is a user
    who is not the owner of the cloud.
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
    lock: int | None = None
    stranger: bool = False

    @property
    def main_address(self) -> str:
        """The address that its SSH server is to have."""
        return self.addresses[0] if self.addresses else "127.0.0.1"

    def size_mib(self, kind: DiskKind) -> int:
        """The size of all its disks of a kind."""
        return sum(disk.size_mib for disk in self.disks if disk.kind is kind)

    @property
    def host_name(self) -> str:
        """The guest's host name, a label as in RFC 1123: from its context, else the instance's name."""
        for wanted in (self.context.get("SET_HOSTNAME", ""), self.context.get("HOSTNAME", ""), self.name):
            plain = unicodedata.normalize("NFKD", wanted).encode("ascii", "ignore").decode().lower()
            # Of a name with dots the first label is the host name.
            label = re.sub(r"[^a-z0-9]+", "-", plain.split(".")[0]).strip("-")[:_LONGEST_LABEL].strip("-")
            if label:
                return label
        return f"one-{self.id}"


class Machine(Protocol):
    """One machine, controlled from inside its supervisor's process."""

    end_reason: str
    """What ended the machine, if that was not its guest; else empty."""

    def prepare(self) -> None:
        """Prepare the disks (PROLOG). Raises MachineError."""

    def boot(self) -> tuple[str, int]:
        """Start the guest (BOOT). Returns address and port of its SSH server. Raises MachineError."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the guest to end. Returns whether it has. To be called again and again."""
        ...

    def usage(self) -> tuple[float, int]:
        """The CPU seconds used since it was started, and the memory in use in KiB."""
        ...

    def halt(self) -> None:
        """Press the power button, to ask the guest to shut down. Returns at once. Called in signal handlers, as is reboot."""

    def reboot(self) -> None:
        """Ask the guest to shut down, and start it again in any case. Returns at once. A halt meanwhile takes precedence."""

    def kill(self) -> None:
        """Stop the machine at once; it no longer runs when this returns."""


class SupervisorControl(Protocol):
    """Starts and stops the supervisors of a store's instances. Methods raise OSError."""

    def spawn(self, instance: int) -> None:
        """Start the instance's supervisor unless it is running. Returns at once."""

    def alive(self, instance: int) -> bool:
        """Whether the supervisor, or the machine that it started, is running."""
        ...

    def kill(self, instance: int) -> None:
        """Kill the supervisor and all that it started; they are gone when this returns. Raises TimeoutError."""

    def halt(self, instance: int) -> None:
        """Ask the guest to shut down. Returns at once."""

    def reboot(self, instance: int) -> None:
        """Ask the guest to shut down, and start it again. Returns at once."""

    def pause(self, instance: int) -> None:
        """Pause the machine with its supervisor. The caller has locked the store, so no supervisor stops while it writes."""

    def resume(self, instance: int) -> None:
        """Continue a paused machine."""
