"""Unpacks kernel images: a tar of ``vmlinuz``, ``initrd`` and ``cmdline``, which QEMU boots directly."""

from __future__ import annotations

import shutil
from mmap import ACCESS_READ, mmap
from pathlib import Path

from stratuslab.local.images.image_format import kernel_members
from stratuslab.local.machines.driver import MachineError
from stratuslab.local.machines.qemu.command_line import Kernel
from stratuslab.private_files import locked


def unpacked(content: Path) -> Kernel:
    """The kernel of an image, unpacked beside its content once for all machines. Raises ImageError, MachineError, OSError."""
    place = content.with_name("boot")
    # Locked, so that an incomplete directory can only be left from a killed process.
    with locked(place, None):
        if not place.is_dir():
            _unpack(content, place)
    parameters = (place / "cmdline").read_bytes().decode("ascii", "replace").strip()
    if not parameters.isprintable():
        raise MachineError(f"image {content.parent.name}: the kernel parameters are not a line of text")
    return Kernel(place / "vmlinuz", place / "initrd", parameters)


def _unpack(content: Path, place: Path) -> None:
    """Unpack all files or none."""
    new = place.with_name("boot.new")
    shutil.rmtree(new, ignore_errors=True)
    members = kernel_members(content)
    new.mkdir(0o700)
    try:
        with content.open("rb") as archive, mmap(archive.fileno(), 0, access=ACCESS_READ) as mapped, memoryview(mapped) as view:
            # Only the content is copied: modes and owners in the archive are not trusted.
            for name, (offset, size) in members.items():
                (new / name).write_bytes(view[offset : offset + size])
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
