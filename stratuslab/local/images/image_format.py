"""What form an image has, told by its content: a disk as it is, a disk in QEMU's qcow2, or a kernel to boot directly.

What is downloaded may be made by anybody, and a qcow2 can name other files of this computer as a part of itself. The fields
and what they mean are in QEMU's ``docs/interop/qcow2.txt``. A kernel with its initial file system is in a tar (POSIX ustar).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Literal

from stratuslab.local.images import ImageError

Form = Literal["raw", "qcow2", "kernel"]

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")

_CORRUPT, _EXTERNAL_DATA, _KNOWN_FEATURES = 1 << 1, 1 << 2, 0b11111
_DATA_FILE_NAME = 0x44415441
_LARGEST_L1 = 32 << 20  # bytes, QEMU's own limit
_SECTOR = 512

_TAR = b"ustar"
_MEMBERS = ("vmlinuz", "initrd", "cmdline")
_LONGEST_PARAMETERS = 2047  # bytes that Linux takes on x86 (COMMAND_LINE_SIZE, less the NUL)


def form(path: Path) -> Form:
    """The form of the image in a file. Raises ImageError for a qcow2 or a kernel image that is damaged or that must not be used,
    and OSError."""
    with path.open("rb") as file:
        head = file.read(_SECTOR)
        if head.startswith(_MAGIC):
            _qcow2_size(file)
            return "qcow2"
    if head[257:262] == _TAR and head[:100].rstrip(b"\0") == _MEMBERS[0].encode():
        kernel_members(path)
        return "kernel"
    return "raw"


def lacks_boot_loader(path: Path) -> bool:
    """Whether a disk as it is has nothing in its first sector that a BIOS would boot. Raises as :func:`form`."""
    if form(path) != "raw":
        return False
    with path.open("rb") as file:
        return not file.read(_SECTOR).endswith(b"\x55\xaa")


def virtual_size(path: Path) -> int:
    """The bytes of the disk that a guest sees. Raises as :func:`form`."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return _qcow2_size(file)
    return -(-path.stat().st_size // _SECTOR) * _SECTOR


def kernel_members(path: Path) -> dict[str, tuple[int, int]]:
    """Where ``vmlinuz``, ``initrd`` and ``cmdline`` are in a kernel image: the offset and the size of each, in bytes.

    Raises ImageError unless it is a tar of these plain files in this order and of no others, and OSError.
    """
    found: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file:
        length, offset = file.seek(0, 2), 0
        for name in _MEMBERS:
            file.seek(offset)
            offset, size = offset + _SECTOR, _member_size(file.read(_SECTOR), name)
            if offset + size > length:
                raise _no_kernel(f"{name} is not complete")
            found[name] = (offset, size)
            offset += -(-size // _SECTOR) * _SECTOR
        file.seek(offset)
        if file.read(_SECTOR).strip(b"\0"):
            raise _no_kernel(f"there is more than {', '.join(_MEMBERS)} in it")
    return found


def _member_size(header: bytes, name: str) -> int:
    """The size of a member of that name by its header alone: what would rename it or spread it is a member of its own."""
    import tarfile

    if not header.strip(b"\0"):
        raise _no_kernel(f"there is no {name}")
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _no_kernel(f"the header of {name} is not complete or wrong") from error
    if member.name != name:
        raise _no_kernel(f"there is {member.name[:40]!r} in place of {name}")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise _no_kernel(f"{name} is no plain file")
    # The field may hold a negative number.
    if member.size < 0:
        raise _no_kernel(f"{name} has no size")
    if name != "cmdline" and not member.size:
        raise _no_kernel(f"{name} is empty")
    if name == "cmdline" and member.size > _LONGEST_PARAMETERS:
        raise _no_kernel(f"{name} is longer than {_LONGEST_PARAMETERS} bytes")
    return member.size


def _qcow2_size(file: BinaryIO) -> int:
    """The size of the disk in a qcow2 image, of which everything is checked that leads out of the file."""
    length = file.seek(0, 2)
    file.seek(0)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise _damaged("its header is not complete")
    (_, version, backing, backing_length, cluster_bits, size, encryption, l1_entries, l1, refcounts, _, _, _) = _HEADER.unpack(
        header
    )
    if version not in (2, 3):
        raise ImageError(f"it is a qcow2 image of version {version}, and only 2 and 3 are known", "convert it with qemu-img")
    if backing or backing_length:
        raise ImageError("it is a qcow2 image with a backing file", "make it whole: qemu-img convert -O qcow2 IMAGE WHOLE")
    if encryption:
        raise ImageError("it is an encrypted qcow2 image", "decrypt it: qemu-img convert")
    if not 9 <= cluster_bits <= 21:
        raise _damaged(f"it has clusters of 2^{cluster_bits} bytes")
    _check_features(file, version, 1 << cluster_bits)
    covered = 1 << (2 * cluster_bits - 3)  # bytes of the disk for each entry of the L1 table
    if not size:
        raise _damaged("its disk has no size")
    if l1_entries < -(-size // covered) or l1_entries * 8 > _LARGEST_L1:
        raise _damaged("its table of clusters does not fit its size")
    for table, end in ((l1, l1 + l1_entries * 8), (refcounts, refcounts + 8)):
        if table % (1 << cluster_bits) or not table or end > length:
            raise _damaged("the file is shorter than its tables say, or they are misplaced")
    return int(size)


def _check_features(file: BinaryIO, version: int, cluster: int) -> None:
    """Refuse an image with an external data file, and one that needs what is not known."""
    features, header_length = 0, _HEADER.size
    if version == 3:
        more = file.read(_HEADER_3.size)
        if len(more) < _HEADER_3.size:
            raise _damaged("its header is not complete")
        features, _, _, _, header_length = _HEADER_3.unpack(more)
        if not _HEADER.size + _HEADER_3.size <= header_length <= cluster or header_length % 8:
            raise _damaged(f"its header has {header_length} bytes")
    if features & _EXTERNAL_DATA or _DATA_FILE_NAME in _extensions(file, header_length, cluster):
        raise ImageError("it is a qcow2 image with an external data file", "make it whole: qemu-img convert -O qcow2 IMAGE WHOLE")
    if features & ~_KNOWN_FEATURES:
        raise ImageError(f"it is a qcow2 image with features that are not known ({features:#x})", "convert it with qemu-img")
    if features & _CORRUPT:
        raise _damaged("it is marked so")


def _extensions(file: BinaryIO, offset: int, cluster: int) -> set[int]:
    """The types of the header's extensions, which end with one of type 0 or with the first cluster."""
    found: set[int] = set()
    while offset + _EXTENSION.size <= cluster:
        file.seek(offset)
        head = file.read(_EXTENSION.size)
        if len(head) < _EXTENSION.size:
            raise _damaged("its header is not complete")
        kind, length = _EXTENSION.unpack(head)
        if not kind:
            break
        found.add(kind)
        offset += _EXTENSION.size + -(-length // 8) * 8
        if offset > cluster:
            raise _damaged("its header does not end")
    return found


def _damaged(why: str) -> ImageError:
    return ImageError(f"the qcow2 image is damaged: {why}")


def _no_kernel(why: str) -> ImageError:
    return ImageError(f"the kernel image cannot be used: {why}")
