"""Images that are a kernel with its initial file system: a tar of ``vmlinuz``, ``initrd`` and ``cmdline``, booted directly."""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO

from stratuslab.local.machine import MachineError
from stratuslab.local.qemu.arguments import Kernel

_LONGEST_PARAMETERS = 2047
"""Bytes that Linux takes on x86 (COMMAND_LINE_SIZE, less the NUL)."""

_FILES = ("vmlinuz", "initrd", "cmdline")


def unpacked(content: Path) -> Kernel:
    """The kernel in an image's content, unpacked beside it once for all machines. Raises MachineError, OSError."""
    place = content.with_name("boot")
    if not place.is_dir():
        _unpack(content, place)
    text = (place / "cmdline").read_bytes()
    parameters = text.decode("ascii", "replace").strip()
    if len(text) > _LONGEST_PARAMETERS or not parameters.isprintable():
        raise MachineError(f"the image {content.parent.name} has kernel parameters that are no line of text")
    return Kernel(place / "vmlinuz", place / "initrd", parameters)


def _unpack(content: Path, place: Path) -> None:
    """All of it or nothing, also where several machines do it at once."""
    new = Path(tempfile.mkdtemp(prefix="boot.", dir=place.parent))
    try:
        try:
            with tarfile.open(content, "r:") as archive:
                for name in _FILES:
                    # By content only: what else an archive says of a file (modes, owners, links) is not believed.
                    with _member(archive, name) as member, (new / name).open("xb") as file:
                        shutil.copyfileobj(member, file)
        except (tarfile.TarError, KeyError, EOFError) as error:
            raise MachineError(f"the image {content.parent.name} is damaged: {error}") from error
        # Another machine was faster, and its files are the same.
        with contextlib.suppress(FileExistsError):
            new.rename(place)
    except OSError:
        if not place.is_dir():
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    member = archive.getmember(name)
    file = archive.extractfile(member) if member.isfile() else None
    if file is None:
        raise KeyError(f"{name} is no file")
    return file
