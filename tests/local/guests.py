"""Simulated guests for tests: their description, a console in memory, a power switch that only remembers."""

from __future__ import annotations

from pathlib import Path

from stratuslab.local.guest.process import Input, Left
from stratuslab.local.guest.shell import Shell
from stratuslab.local.guest.system import Guest
from stratuslab.local.machine import DiskKind, DiskSpec, MachineSpec


def disks(swap: int = 0, volatile: int = 0) -> tuple[DiskSpec, ...]:
    """The disks of a machine with an image; sizes in MiB."""
    image = DiskSpec(DiskKind.IMAGE, image="BN1EEkPiBx87_uLj2-sdybSI-Xb")
    empty = (DiskSpec(DiskKind.SWAP, swap), DiskSpec(DiskKind.VOLATILE, volatile))
    return (image, *(disk for disk in empty if disk.size_mib))


def specified(directory: Path = Path("/nowhere"), **changes: object) -> MachineSpec:
    """The description of an instance of the guide's default type, with changes."""
    values: dict[str, object] = {
        "id": 165,
        "name": "one-165",
        "vcpu": 2,
        "memory_mib": 128,
        "disks": disks(swap=1024, volatile=2048),
        "addresses": ("127.101.0.1",),
        "authorized_keys": "",
        "context": {},
        "image": "BN1EEkPiBx87_uLj2-sdybSI-Xb",
        "directory": directory,
    }
    return MachineSpec(**{**values, **changes})  # type: ignore[arg-type]


class Console:
    """What a session's streams carry, in memory."""

    def __init__(self, given: bytes = b"") -> None:
        self.input = Input([given[start : start + 7] for start in range(0, len(given), 7)])
        self.out = b""
        self.err = b""
        self.slept = 0.0

    def write(self, data: bytes) -> None:
        self.out += data

    def write_error(self, data: bytes) -> None:
        self.err += data

    def pause(self, seconds: float) -> None:
        self.slept += seconds


class Switch:
    """A power switch that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def halt(self, seconds: float = 0.0) -> None:
        self.told.append(("halt", seconds))

    def reboot(self, seconds: float = 0.0) -> None:
        self.told.append(("reboot", seconds))

    def cancel(self) -> bool:
        return bool(self.told)


class Session:
    """A shell session in a guest: ``session("echo $USER")`` gives what was written to both streams, and keeps the status."""

    def __init__(self, **changes: object) -> None:
        self.switch = Switch()
        self.guest = Guest(specified(**changes), self.switch)  # type: ignore[arg-type]
        self.shell = Shell(self.guest, Console())
        self.status = 0
        self.err = ""
        self.slept = 0.0

    def __call__(self, text: str, given: bytes = b"") -> str:
        return self.raw(text, given).decode()

    def raw(self, text: str, given: bytes = b"") -> bytes:
        """The standard output as bytes."""
        console = Console(given)
        self.shell.console = console
        self.shell.complain = console.write_error
        try:
            self.status = self.shell.run(text)
        except Left as left:
            self.status = left.status
        self.err = console.err.decode()
        self.slept = console.slept
        return console.out
