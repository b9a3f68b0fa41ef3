"""Images that are compressed with gzip, bzip2 or xz, read as what is inside. Their first bytes tell how, never a name.

The standard library's decompressors are used below its file classes, which set no bound to the memory that an xz file asks
for: one that comes from elsewhere may ask for 4 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from stratuslab.errors import StratusLabError

MAGIC_SIZE = 6
"""How many bytes of a file tell how it is packed."""

_MAGIC = {"gz": b"\x1f\x8b\x08", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_CHUNK = 1 << 17
_XZ_MEMORY = 256 << 20  # bytes; what xz -9 makes needs 65 MiB


class Readable(Protocol):
    """What is asked of a stream: at most so many bytes, and none only at its end."""

    def read(self, size: int, /) -> bytes: ...


class _Decompressor(Protocol):
    """The face of the standard library's decompressors of bzip2 and xz; each reads one member of a file."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def packing(head: bytes) -> str:
    """How a file that begins so is compressed: ``gz``, ``bz2`` or ``xz``; empty where it is not."""
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


def unpacked(stream: Readable) -> Iterator[bytes]:
    """The content of a stream, compressed or not, piece by piece. The stream need not be seekable.

    Raises StratusLabError when the compressed data is damaged or ends too early; OSError of the stream itself passes.
    """
    data = _filled(stream, b"")
    kind = packing(data)
    if not kind:
        while data:
            yield data
            data = stream.read(_CHUNK)
    while data:
        if packing(data) != kind:
            raise _damaged("what follows the compressed data is something else")
        rest = yield from _member(_DECOMPRESSORS[kind](), stream, data)
        # A file may have several members, and zeros behind each.
        data = _filled(stream, rest.lstrip(b"\0"), b"\0")


def _filled(stream: Readable, data: bytes, skipped: bytes | None = None) -> bytes:
    """The data with as much behind it as tells how it is packed; bytes to be skipped are taken off its front."""
    while len(data) < MAGIC_SIZE and (more := stream.read(_CHUNK)):
        data += more
        data = data.lstrip(skipped) if skipped else data
    return data


def _member(decompressor: _Decompressor, stream: Readable, data: bytes) -> Generator[bytes, None, bytes]:
    """The content of one member; returns what was read beyond its end."""
    import lzma
    import zlib

    ended = False
    while not decompressor.eof:
        if decompressor.needs_input and not data:
            data = stream.read(_CHUNK)
            ended = not data
        try:
            piece = decompressor.decompress(data, _CHUNK)
        except (zlib.error, lzma.LZMAError, OSError) as error:  # OSError is what bzip2's says
            raise _damaged(str(error)) from error
        data = b""
        if piece:
            yield piece
        elif ended and not decompressor.eof:
            raise _damaged("the file ends too early")
    return decompressor.unused_data


class _Gzip:
    """zlib's decompressor with the face of the others."""

    def __init__(self) -> None:
        import zlib

        self._decompressor = zlib.decompressobj(wbits=31)  # 16 for gzip's header and trailer, and the largest window

    @property
    def eof(self) -> bool:
        return self._decompressor.eof

    @property
    def needs_input(self) -> bool:
        return not self._decompressor.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decompressor.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decompressor.decompress(self._decompressor.unconsumed_tail + data, max_length)


def _bzip2() -> _Decompressor:
    import bz2

    return bz2.BZ2Decompressor()


def _xz() -> _Decompressor:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {"gz": _Gzip, "bz2": _bzip2, "xz": _xz}


def _damaged(why: str) -> StratusLabError:
    return StratusLabError(f"the compressed image is damaged: {why}")
