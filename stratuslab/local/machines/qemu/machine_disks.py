"""Creates the disks of a real machine in its instance's directory (PROLOG).

A disk gets its name when it is complete, and is then kept: a machine that is started again finds its data, and an interrupted
prolog creates what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from stratuslab.local.images import ImageError, about
from stratuslab.local.images.image_format import detect_format, virtual_size
from stratuslab.local.images.image_store import obtain
from stratuslab.local.machines.driver import DiskKind, DiskSpec, MachineError, MachineSpec
from stratuslab.local.machines.qemu.command_line import QCOW2, RAW, Drive, Hardware, Kernel
from stratuslab.local.machines.qemu.context_files import context_disk
from stratuslab.local.machines.qemu.kernel_tar import unpacked
from stratuslab.local.machines.qemu.overlay import make_overlay
from stratuslab.local.store.leases import address_number, mac_address
from stratuslab.private_files import replacing

_STATE_BYTES = 65536

_LEAST_MIB = 96
"""RAM that a kernel with its root in memory needs: with 80 MiB the tiny image reboots endlessly."""

# Only the features of ext4 in Linux 2.6.28, so that older guests can mount it. Initialized lazily, so that holes remain.
_EXT4 = (
    *("-t", "ext4", "-L", DiskKind.VOLATILE.value, "-E", "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1"),
    "-O",
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,uninit_bg,"
    "dir_nlink,extra_isize",
)
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class MachineDisks:
    """The disks of one machine. ``environ`` has the PATH, and the settings of downloads."""

    def __init__(self, spec: MachineSpec, environ: Mapping[str, str]) -> None:
        self._spec = spec
        self._environ = environ
        self._kernel: Kernel | None = None

    def prepare(self) -> Hardware:
        """Create the missing disks and return the hardware. Raises MachineError, OSError, StratusLabError."""
        spec = self._spec
        drives = list(self._drives())
        mac = mac_address((address_number(spec.addresses[0]) if spec.addresses else None) or spec.id)
        serials = [drive.serial for drive in drives]
        drives.append(self._made("context", RAW, lambda path: path.write_bytes(context_disk(spec, mac, serials)), read_only=True))
        if self._kernel:
            drives.append(self._made("state", RAW, partial(_empty, size=_STATE_BYTES)))
        return Hardware(spec.id, spec.vcpu, spec.memory_mib, mac, tuple(drives), self._kernel)

    def _drives(self) -> Iterator[Drive]:
        names: Counter[str] = Counter()
        for place, disk in enumerate(self._spec.disks):
            kind = "readonly" if disk.kind is DiskKind.IMAGE and disk.read_only else disk.kind.value
            names[kind] += 1
            serial = kind if names[kind] == 1 else f"{kind}{names[kind]}"
            if disk.kind is DiskKind.IMAGE:
                yield self._image(serial, disk, boots=place == 0)
            elif disk.kind is DiskKind.VOLUME:
                yield self._volume(serial, disk)
            else:
                make = self._volatile if disk.kind is DiskKind.VOLATILE else _empty
                yield self._made(serial, RAW, partial(make, size=disk.size_mib << 20))

    def _image(self, serial: str, disk: DiskSpec, boots: bool) -> Drive:
        spec = self._spec
        store = spec.directory.parents[1]
        content = obtain(store, disk.image, self._environ, disk.metadata_url, stranger=spec.stranger)
        try:
            kind = detect_format(content)
            if kind == "kernel" and boots:
                if spec.memory_mib < _LEAST_MIB:
                    asked = f"{spec.memory_mib} MiB of RAM"
                    raise MachineError(f"a machine of this image does not boot with {asked}: it needs {_LEAST_MIB}")
                self._kernel = unpacked(content)
        except ImageError as error:
            raise about(f"image {disk.image}", error) from error
        if kind == "kernel" or disk.read_only:
            return Drive(serial, content, RAW if kind == "kernel" else kind, read_only=True)
        base, size = Drive("", content, kind, read_only=True), max(virtual_size(content), disk.size_mib << 20)
        overlay = self._made(serial, QCOW2, partial(make_overlay, size=size))
        return Drive(serial, overlay.file, QCOW2, base=base)

    def _volume(self, serial: str, disk: DiskSpec) -> Drive:
        if disk.file is None or not disk.file.is_file():
            raise MachineError(f"the persistent disk {disk.file.name if disk.file else serial} no longer exists")
        return Drive(serial, disk.file, RAW, disk.read_only)

    def _volatile(self, path: Path, size: int) -> None:
        """A disk with a file system if mke2fs is installed, else an empty one, which the guest can format."""
        _empty(path, size)
        mke2fs = shutil.which("mke2fs", path=os.pathsep.join((self._environ.get("PATH", os.defpath), _SYSTEM_PATH)))
        if mke2fs:
            silent = subprocess.DEVNULL
            made = subprocess.run([mke2fs, "-q", "-F", *_EXT4, path], stdin=silent, stdout=silent, stderr=silent, check=False)
            if made.returncode:
                _empty(path, size)

    def _made(self, serial: str, form: str, make: Callable[[Path], object], read_only: bool = False) -> Drive:
        file = Path(f"{serial}.{form}")
        path = self._spec.directory / file
        if not path.exists():
            with replacing(path) as new:
                make(new)
        return Drive(serial, file, form, read_only)


def _empty(path: Path, size: int) -> None:
    os.truncate(path, 0)
    os.truncate(path, size)
