"""Images that are a kernel with its initial file system: a tar of ``vmlinuz``, ``initrd`` and ``cmdline``, booted directly."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import BinaryIO

from stratuslab.files import locked
from stratuslab.local.images.image_format import kernel_members
from stratuslab.local.machines.driver import MachineError
from stratuslab.local.machines.qemu.command_line import Kernel

_PIECE = 1 << 20


def unpacked(content: Path) -> Kernel:
    """The kernel in an image's content, unpacked beside it once for all machines. Raises ImageError, MachineError, OSError."""
    place = content.with_name("boot")
    if not place.is_dir():
        # One at a time: so what is there half was left by a process that was killed.
        with locked(place, None):
            if not place.is_dir():
                _unpack(content, place)
    parameters = (place / "cmdline").read_bytes().decode("ascii", "replace").strip()
    if not parameters.isprintable():
        raise MachineError(f"the image {content.parent.name} has kernel parameters that are no line of text")
    return Kernel(place / "vmlinuz", place / "initrd", parameters)


def _unpack(content: Path, place: Path) -> None:
    """All of it or nothing."""
    new = place.with_name("boot.new")
    shutil.rmtree(new, ignore_errors=True)
    members = kernel_members(content)
    new.mkdir(0o700)
    try:
        with content.open("rb") as archive:
            # By content only: what else an archive says of a file (modes, owners) is not believed.
            for name, (offset, size) in members.items():
                archive.seek(offset)
                with (new / name).open("xb") as file:
                    _copy(archive, file, size)
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size > 0 and (piece := source.read(min(size, _PIECE))):
        target.write(piece)
        size -= len(piece)
