"""QEMU's command line.

Devices are the fewest that a Linux guest boots with, which is also what boots fastest. Disks are given as ``-blockdev``
with every layer and format named: QEMU guesses nothing from what is on a disk, and opens no file that a disk's content names.
Of the instance the command line, which every user of this computer can read, has nothing but its number, its size and where its
disks are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stratuslab.local.machines.qemu.accelerator import KVM

CONSOLE_SOCKET = "console.sock"
NETWORK = "net0"

RAW, QCOW2 = "raw", "qcow2"

_TRANSLATED_MIB = 32
"""Memory for translated code under TCG: less than QEMU's own choice, which costs no time that can be measured at boot."""


@dataclass(frozen=True)
class Layer:
    """Content that a drive is laid over: never written to. ``form`` is :data:`RAW` or :data:`QCOW2`."""

    file: Path
    form: str


@dataclass(frozen=True)
class Drive:
    """A disk of the guest. ``serial`` is what the guest knows it by; ``file`` is relative to the instance's directory."""

    serial: str
    file: Path
    form: str = RAW
    read_only: bool = False
    base: Layer | None = None


@dataclass(frozen=True)
class Kernel:
    """What is booted directly. ``parameters`` are the kernel's."""

    file: Path
    initrd: Path
    parameters: str


@dataclass(frozen=True)
class Hardware:
    """The machine as QEMU makes it; ``drives`` are in the guest's order, and the first is booted where there is no kernel."""

    id: int
    vcpu: int
    memory_mib: int
    mac: str
    drives: tuple[Drive, ...]
    kernel: Kernel | None = None


def command(
    program: Path, hardware: Hardware, accelerator: str, monitor: int, console_log: str, sandbox: bool = True
) -> list[str]:
    """The command that runs a machine, to be started in the instance's directory.

    ``monitor`` is the descriptor of a connected socket on which QEMU speaks QMP; the serial port is a socket,
    :data:`CONSOLE_SOCKET`, and what is written to it is added to the file ``console_log``.
    """
    return [
        str(program),
        *("-name", f"one-{hardware.id}"),
        *("-no-user-config", "-nodefaults", "-display", "none"),
        *(_SANDBOX if sandbox else ()),
        *("-machine", "q35,usb=off,smbus=off,sata=off,vmport=off,graphics=off"),
        *_processor(accelerator),
        *("-smp", str(hardware.vcpu), "-m", str(hardware.memory_mib)),
        *("-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"),
        *("-chardev", f"socket,id=console,path={CONSOLE_SOCKET},server=on,wait=off,logfile={console_log},logappend=on"),
        *("-serial", "chardev:console"),
        # Without a ROM there is no boot from the network, which would only delay a disk's.
        *("-netdev", f"user,id={NETWORK},ipv6=off", "-device", f"virtio-net-pci,netdev={NETWORK},mac={hardware.mac},romfile="),
        *("-device", "virtio-rng-pci"),
        *_drives(hardware.drives, hardware.kernel is None),
        *(_kernel(hardware.kernel) if hardware.kernel else ()),
    ]


_SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def _processor(accelerator: str) -> Sequence[str]:
    if accelerator == KVM:
        return ("-accel", "kvm", "-cpu", "host")
    # All features: with RDRAND among them the guest does not wait for entropy.
    return ("-accel", f"tcg,thread=multi,tb-size={_TRANSLATED_MIB}", "-cpu", "max")


def _kernel(kernel: Kernel) -> Sequence[str]:
    return ("-kernel", str(kernel.file), "-initrd", str(kernel.initrd), "-append", kernel.parameters)


def _drives(drives: Sequence[Drive], boots: bool) -> Iterator[str]:
    for place, drive in enumerate(drives):
        yield from ("-blockdev", json.dumps(_node(drive)))
        # What this computer cannot read or write is the guest's I/O error; QEMU's default halts the machine when a disk is full.
        device = f"virtio-blk-pci,drive={drive.serial},serial={drive.serial},werror=report,rerror=report"
        yield from ("-device", f"{device},bootindex=0" if boots and place == 0 else device)


def _node(drive: Drive) -> dict[str, object]:
    node = _layer(Layer(drive.file, drive.form), drive.read_only)
    node["node-name"] = drive.serial
    if drive.base:
        node["backing"] = _layer(drive.base, read_only=True)
    elif drive.form == QCOW2:
        node["backing"] = None
    if not drive.read_only:
        # What the guest frees or fills with zeros becomes a hole.
        node.update({"discard": "unmap", "detect-zeroes": "unmap"})
    return node


def _layer(layer: Layer, read_only: bool) -> dict[str, object]:
    # Two writers would ruin a disk: better none where the file system knows no locks.
    file = {"driver": "file", "filename": str(layer.file), "locking": "auto" if read_only else "on"}
    node: dict[str, object] = {"driver": layer.form, "read-only": read_only, "file": file}
    if read_only and layer.form == QCOW2:
        node["backing"] = None
    return node
