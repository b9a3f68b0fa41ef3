"""QEMU's command line.

It has the fewest devices that a Linux guest needs, which also boot fastest. Disks are ``-blockdev`` with each layer and format
named, so QEMU neither guesses a format nor opens a file that a disk's content names. Every user of this computer can read the
command line, so it has no more of the instance than its number, its size and its disks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CONSOLE_SOCKET = "console.sock"
NETWORK = "net0"

RAW, QCOW2 = "raw", "qcow2"

_TRANSLATED_MIB = 32
"""TCG's memory for translated code: less than QEMU's default, with no measurable effect at boot."""


@dataclass(frozen=True)
class Drive:
    """A disk of the guest, or the content below one (``base``), which has no serial and is only read.

    ``serial`` identifies it in the guest; ``file`` may be relative to the instance's directory; ``format`` is :data:`RAW` or
    :data:`QCOW2`.
    """

    serial: str
    file: Path
    format: str = RAW
    read_only: bool = False
    base: Drive | None = None


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot directly. ``parameters`` are the kernel's."""

    file: Path
    initrd: Path
    parameters: str


@dataclass(frozen=True)
class Hardware:
    """The hardware of a machine. ``drives`` are in the guest's order; without a ``kernel`` it boots from the first."""

    id: int
    vcpu: int
    memory_mib: int
    mac: str
    drives: tuple[Drive, ...]
    kernel: Kernel | None = None


def command(program: Path, hardware: Hardware, kvm: bool, monitor: int, console_log: str, sandbox: bool = True) -> list[str]:
    """The command that runs a machine, to be started in the instance's directory.

    ``monitor`` is the descriptor of a connected socket for QMP. The serial port is the socket :data:`CONSOLE_SOCKET`; its output
    is appended to the file ``console_log``.
    """
    kernel = hardware.kernel
    return [
        str(program),
        *("-name", f"one-{hardware.id}"),
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *(_SANDBOX if sandbox else ()),
        *("-machine", "q35,usb=off,smbus=off,sata=off,vmport=off,graphics=off"),
        *_processor(kvm),
        *("-smp", str(hardware.vcpu), "-m", str(hardware.memory_mib)),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,logfile={console_log},logappend=on"),
        *("-serial", "chardev:console"),
        # Without a ROM there is no attempt to boot from the network, which would cause a delay.
        *("-netdev", f"user,id={NETWORK},ipv6=off", "-device", f"virtio-net-pci,netdev={NETWORK},mac={hardware.mac},romfile="),
        *("-device", "virtio-rng-pci"),
        *_drives(hardware.drives, boots=kernel is None),
        *(("-kernel", str(kernel.file), "-initrd", str(kernel.initrd), "-append", kernel.parameters) if kernel else ()),
    ]


_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def _processor(kvm: bool) -> Sequence[str]:
    if kvm:
        return ("-accel", "kvm", "-cpu", "host")
    # All features, including RDRAND, so that the guest does not wait for entropy.
    return ("-accel", f"tcg,thread=multi,tb-size={_TRANSLATED_MIB}", "-cpu", "max")


def _drives(drives: Sequence[Drive], boots: bool) -> Iterator[str]:
    for place, drive in enumerate(drives):
        yield from ("-blockdev", json.dumps(_node(drive)))
        # Report I/O errors to the guest; by default QEMU pauses the machine when the disk is full.
        device = f"virtio-blk-pci,drive={drive.serial},serial={drive.serial},werror=report,rerror=report"
        yield from ("-device", f"{device},bootindex=0" if boots and place == 0 else device)


def _node(drive: Drive) -> dict[str, object]:
    # Two writers would destroy a disk, so QEMU must lock it, even if that fails on some file systems.
    file = {"driver": "file", "filename": str(drive.file), "locking": "auto" if drive.read_only else "on"}
    node: dict[str, object] = {"driver": drive.format, "read-only": drive.read_only, "file": file}
    if drive.serial:
        node["node-name"] = drive.serial
    if drive.format == QCOW2:
        node["backing"] = _node(drive.base) if drive.base else None
    if not drive.read_only:
        # What the guest discards or fills with zeros becomes a hole.
        node.update({"discard": "unmap", "detect-zeroes": "unmap"})
    return node
