"""Reads the stream of an image, uncompresses it into a sparse file, and computes its size and checksums."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection, Iterable
from typing import NamedTuple

from stratuslab.byte_sizes import size_text
from stratuslab.local.images import SILENT, ImageError, ProgressListener
from stratuslab.local.images.free_space import free
from stratuslab.marketplace.identifier import identifier_from_sha1
from stratuslab.marketplace.image_decompression import Readable, unpacked

ALGORITHMS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
"""The names of checksums in entries, by their hexadecimal digits."""

USUAL = ("MD5", "SHA-1", "SHA-256", "SHA-512")
"""The checksums in StratusLab's entries."""

_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)
_CHECKED = 8 << 20  # bytes between two checks of the free space

FREELY = 1 << 30
"""Bytes to which a file of unknown content may always be uncompressed."""

RATIO = 200
"""How many times its size a compressed file may have as content beyond that. Real disks rarely reach 20."""


class SparseFile:
    """Appends to a file by its descriptor. Zeros become holes; :meth:`finish` sets the file's length.

    Raises OSError (ENOSPC) while there is still space for the store itself.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unchecked = 0
        self.size = os.fstat(descriptor).st_size

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Split at block boundaries to find whole blocks of zeros.
            piece = view[: _BLOCK - self.size % _BLOCK]
            if piece != _ZEROS[: len(piece)]:
                self._check_space(len(piece))
                piece = piece[: os.pwrite(self._descriptor, piece, self.size)]
            self.size += len(piece)
            view = view[len(piece) :]

    def finish(self) -> None:
        os.ftruncate(self._descriptor, self.size)

    def _check_space(self, size: int) -> None:
        self._unchecked += size
        if self._unchecked >= _CHECKED:
            self._unchecked = 0
            if not free(self._descriptor):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Checksums:
    """The number of bytes that were added, and their checksums by algorithm, as lower-case hexadecimal digits."""

    def __init__(self, algorithms: Iterable[str] = USUAL) -> None:
        self.bytes = 0
        self._digests = {name: hashlib.new(name.replace("-", "").lower(), usedforsecurity=False) for name in algorithms}

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        for digest in self._digests.values():
            digest.update(data)

    @property
    def checksums(self) -> dict[str, str]:
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    @property
    def identifier(self) -> str:
        """The identifier of an image with these bytes as its content."""
        return identifier_from_sha1(self.checksums["SHA-1"])


class ReadResult(NamedTuple):
    """The checksums of a stream's uncompressed content, and of the stream as it came."""

    content: Checksums
    came: Checksums


def read_image(
    stream: Readable,
    descriptor: int | None,
    *,
    size: int | None = None,
    limit: int | None = None,
    algorithms: Collection[str] = USUAL,
    listener: ProgressListener = SILENT,
) -> ReadResult:
    """Read a stream to its end, and write its content to the file of a descriptor if given.

    ``size`` is the stream's length if known. Raises ImageError if the content is longer than ``limit``, or without one than a
    compressed file of this size may have, and StratusLabError for damaged compression.
    """
    content, packed = Checksums(algorithms), Checksums(algorithms)
    file = None if descriptor is None else SparseFile(descriptor)
    for piece in unpacked(stream, packed.add):
        if limit is not None and content.bytes + len(piece) > limit:
            raise ImageError(f"its content is larger than the expected {size_text(limit)}")
        if limit is None and packed.bytes and content.bytes > max(FREELY, RATIO * packed.bytes):
            raise ImageError(f"its content is more than {RATIO} times as large as the file", "uncompress it and add the result")
        content.add(piece)
        if file is not None:
            file.write(piece)
        listener.moved("Reading", packed.bytes or content.bytes, size)
    if file is not None:
        file.finish()
    return ReadResult(content, packed if packed.bytes else content)
