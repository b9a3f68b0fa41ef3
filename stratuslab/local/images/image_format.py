"""Detects the format of an image by its content: a raw disk, a qcow2 disk, or a kernel to boot directly.

Images can come from anybody, and a qcow2 can include other files of this computer, so it is checked. QEMU's
``docs/interop/qcow2.txt`` explains its fields. A kernel with its initial file system is in a tar (POSIX ustar).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Literal

from stratuslab.local.images import ImageError

Format = Literal["raw", "qcow2", "kernel"]

_MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_3 = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")

_CORRUPT, _EXTERNAL_DATA, _KNOWN_FEATURES = 1 << 1, 1 << 2, 0b11111
_DATA_FILE_NAME = 0x44415441
_LARGEST_L1 = 32 << 20  # bytes, QEMU's own limit
_LARGEST_DISK = 16 << 40  # bytes
_SECTOR = 512

_TAR = b"ustar"
_MEMBERS = ("vmlinuz", "initrd", "cmdline")
_LONGEST_PARAMETERS = 2047  # bytes that Linux takes on x86 (COMMAND_LINE_SIZE, less the NUL)


def detect_format(path: Path) -> Format:
    """The format of the image in a file. Raises ImageError for a damaged or forbidden qcow2 or kernel image, and OSError."""
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
    """Whether a raw disk has no boot sector for a BIOS. Raises like :func:`detect_format`."""
    if detect_format(path) != "raw":
        return False
    with path.open("rb") as file:
        return not file.read(_SECTOR).endswith(b"\x55\xaa")


def virtual_size(path: Path) -> int:
    """The size of the disk that a guest sees, in bytes. Raises like :func:`detect_format`."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return _qcow2_size(file)
    return -(-path.stat().st_size // _SECTOR) * _SECTOR


def kernel_members(path: Path) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of ``vmlinuz``, ``initrd`` and ``cmdline`` in a kernel image.

    Raises ImageError unless it is a tar of exactly these plain files in this order, and OSError.
    """
    found: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file:
        length, offset = file.seek(0, 2), 0
        for name in _MEMBERS:
            file.seek(offset)
            offset, size = offset + _SECTOR, _member_size(file.read(_SECTOR), name)
            if offset + size > length:
                raise _no_kernel(f"{name} is truncated")
            found[name] = (offset, size)
            offset += -(-size // _SECTOR) * _SECTOR
        file.seek(offset)
        if file.read(_SECTOR).strip(b"\0"):
            raise _no_kernel(f"it holds more than {', '.join(_MEMBERS)}")
    return found


def _member_size(header: bytes, name: str) -> int:
    """The size in the header of a member of that name. Extended headers, which are members of their own, are refused."""
    import tarfile

    if not header.strip(b"\0"):
        raise _no_kernel(f"{name} is missing")
    try:
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _no_kernel(f"the header of {name} is damaged") from error
    if member.name != name:
        raise _no_kernel(f"expected {name}, found {member.name[:40]!r}")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise _no_kernel(f"{name} is not a plain file")
    # The field may hold a negative number.
    if member.size < 0:
        raise _no_kernel(f"{name} has no size")
    if name != "cmdline" and not member.size:
        raise _no_kernel(f"{name} is empty")
    if name == "cmdline" and member.size > _LONGEST_PARAMETERS:
        raise _no_kernel(f"{name} is longer than {_LONGEST_PARAMETERS} bytes")
    return member.size


def _qcow2_size(file: BinaryIO) -> int:
    """The size of the disk in a qcow2 image, which must not refer to other files."""
    length = file.seek(0, 2)
    file.seek(0)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise _damaged("its header is truncated")
    (_, version, backing, backing_length, cluster_bits, size, encryption, l1_entries, l1, refcounts, _, _, _) = _HEADER.unpack(
        header
    )
    if version not in (2, 3):
        raise ImageError(f"it is a qcow2 image of version {version}; only 2 and 3 are supported", "convert it with qemu-img")
    if backing or backing_length:
        raise ImageError("it is a qcow2 image with a backing file", "make it whole: qemu-img convert -O qcow2 IMAGE WHOLE")
    if encryption:
        raise ImageError("it is an encrypted qcow2 image", "decrypt it: qemu-img convert")
    if not 9 <= cluster_bits <= 21:
        raise _damaged(f"its cluster size is 2^{cluster_bits} bytes")
    _check_features(file, version, 1 << cluster_bits)
    covered = 1 << (2 * cluster_bits - 3)  # bytes of the disk for each entry of the L1 table
    if not size:
        raise _damaged("its disk size is 0")
    if size > _LARGEST_DISK:
        raise ImageError(f"it is a qcow2 image of a disk of {size >> 40} TiB; at most {_LARGEST_DISK >> 40} are supported")
    if l1_entries < -(-size // covered) or l1_entries * 8 > _LARGEST_L1:
        raise _damaged("its cluster table does not match its size")
    for table, end in ((l1, l1 + l1_entries * 8), (refcounts, refcounts + 8)):
        if table % (1 << cluster_bits) or not table or end > length:
            raise _damaged("its tables are misplaced or beyond the end of the file")
    return int(size)


def _check_features(file: BinaryIO, version: int, cluster: int) -> None:
    """Refuse an image with an external data file or unknown features."""
    features, header_length = 0, _HEADER.size
    if version == 3:
        more = file.read(_HEADER_3.size)
        if len(more) < _HEADER_3.size:
            raise _damaged("its header is truncated")
        features, _, _, _, header_length = _HEADER_3.unpack(more)
        if not _HEADER.size + _HEADER_3.size <= header_length <= cluster or header_length % 8:
            raise _damaged(f"its header length is {header_length} bytes")
    if features & _EXTERNAL_DATA or _DATA_FILE_NAME in _extensions(file, header_length, cluster):
        raise ImageError("it is a qcow2 image with an external data file", "make it whole: qemu-img convert -O qcow2 IMAGE WHOLE")
    if features & ~_KNOWN_FEATURES:
        raise ImageError(f"it is a qcow2 image with unknown features ({features:#x})", "convert it with qemu-img")
    if features & _CORRUPT:
        raise _damaged("it is marked as corrupt")


def _extensions(file: BinaryIO, offset: int, cluster: int) -> set[int]:
    """The types of the header extensions, up to type 0 or the end of the first cluster."""
    found: set[int] = set()
    while offset + _EXTENSION.size <= cluster:
        file.seek(offset)
        head = file.read(_EXTENSION.size)
        if len(head) < _EXTENSION.size:
            raise _damaged("its header is truncated")
        kind, length = _EXTENSION.unpack(head)
        if not kind:
            break
        found.add(kind)
        offset += _EXTENSION.size + -(-length // 8) * 8
        if offset > cluster:
            raise _damaged("its header extensions are too long")
    return found


def _damaged(why: str) -> ImageError:
    return ImageError(f"the qcow2 image is damaged: {why}")


def _no_kernel(why: str) -> ImageError:
    return ImageError(f"the kernel image is invalid: {why}")
