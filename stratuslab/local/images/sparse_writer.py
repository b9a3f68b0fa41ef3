"""Writing what an image holds: uncompressed, with holes where there are zeros, its sums taken on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass

from stratuslab.files import size_text
from stratuslab.local.images import ImageError
from stratuslab.local.images.checksums import USUAL, Summing, Sums
from stratuslab.local.images.free_space import free
from stratuslab.local.images.progress_listener import SILENT, Listener
from stratuslab.marketplace.compression import MAGIC_SIZE, Readable, packing, unpacked

_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)
_CHECKED = 8 << 20  # bytes that are written between two looks at the space that is left


class SparseFile:
    """Writes to the end of a file, by its descriptor. Zeros become holes; the file has its length after :meth:`finish`.

    Raises OSError (ENOSPC) before the disk is so full that the store itself has no space.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unchecked = 0
        self.size = os.fstat(descriptor).st_size

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            # Cut where the file's blocks begin, so that a block of zeros is met as a whole.
            piece = view[: _BLOCK - self.size % _BLOCK]
            if piece != _ZEROS[: len(piece)]:
                self._write(piece)
            self.size += len(piece)
            view = view[len(piece) :]

    def finish(self) -> None:
        os.ftruncate(self._descriptor, self.size)

    def _write(self, data: memoryview) -> None:
        self._unchecked += len(data)
        if self._unchecked >= _CHECKED:
            self._unchecked = 0
            if not free(self._descriptor):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        offset = self.size
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written


@dataclass(frozen=True)
class Read:
    """What a stream held: the sums of its content, and of the stream itself as it came, which may be compressed."""

    content: Sums
    came: Sums
    packing: str


def read(
    stream: Readable,
    descriptor: int | None,
    *,
    size: int | None = None,
    limit: int | None = None,
    algorithms: Iterable[str] = USUAL,
    listener: Listener = SILENT,
) -> Read:
    """Read a stream to its end, and write its content to a file unless there is none.

    ``size`` is the stream's length if that is known. Raises ImageError where the content is longer than ``limit``, and
    StratusLabError where compressed data is damaged.
    """
    algorithms = tuple(algorithms)
    source = _Counted(stream, algorithms)
    summing = Summing(algorithms)
    file = None if descriptor is None else SparseFile(descriptor)
    for piece in unpacked(source):
        if limit is not None and summing.bytes + len(piece) > limit:
            raise ImageError(f"its content is larger than the {size_text(limit)} that it should have")
        summing.add(piece)
        if file is not None:
            file.write(piece)
        listener.moved("Reading", source.bytes, size)
    if file is not None:
        file.finish()
    content = summing.sums()
    return Read(content, source.sums() or content, source.packing)


class _Counted:
    """A stream whose bytes are counted, and added up where they are not the content themselves."""

    def __init__(self, stream: Readable, algorithms: Iterable[str]) -> None:
        self._stream = stream
        self._summing = Summing(algorithms)
        self._head = b""
        self.bytes = 0

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.bytes += len(data)
        if len(self._head) < MAGIC_SIZE:
            self._head += data[:MAGIC_SIZE]
        if self.packing or len(self._head) < MAGIC_SIZE:
            self._summing.add(data)
        return data

    @property
    def packing(self) -> str:
        return packing(self._head)

    def sums(self) -> Sums | None:
        """The sums of the stream; None where it is the content itself."""
        return self._summing.sums() if self.packing else None
