"""Decompresses images (gzip, bzip2, xz) while reading. The format is recognized by the first bytes, never by the name.

The standard library's decompressors are used without its file classes, which do not limit the memory that an xz file
requests: an untrusted one may request 4 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from stratuslab.errors import StratusLabError

MAGIC_SIZE = 6
"""Number of bytes that show how a file is compressed."""

_MAGIC = {"gz": b"\x1f\x8b\x08", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_CHUNK = 1 << 17
_XZ_MEMORY = 256 << 20  # bytes; files made with xz -9 need 65 MiB


class Readable(Protocol):
    """A stream to read from: at most ``size`` bytes at a time, and none only at the end."""

    def read(self, size: int, /) -> bytes: ...


def packing(head: bytes) -> str:
    """The compression of a file that begins with these bytes: ``gz``, ``bz2`` or ``xz``; empty for none."""
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


def unpacked(stream: Readable, packed: Callable[[bytes], object] = lambda data: None) -> Iterator[bytes]:
    """The content of a stream, compressed or not, in chunks. The stream need not be seekable. ``packed`` gets what is read of a
    compressed one, as it comes.

    Raises StratusLabError if the compressed data is damaged or ends too early, and OSError from the stream itself.
    """

    def more() -> bytes:
        data = stream.read(_CHUNK)
        packed(data)
        return data

    data = _filled(lambda: stream.read(_CHUNK), b"")
    kind = packing(data)
    if not kind:
        while data:
            yield data
            data = stream.read(_CHUNK)
    packed(data)
    while data:
        if packing(data) != kind:
            raise _damaged("unknown data follows the compressed data")
        rest = yield from _member(_decompressor(kind), more, data)
        # A file may have several members, each followed by zeros.
        data = _filled(more, rest.lstrip(b"\0"), b"\0")


def _filled(more: Callable[[], bytes], data: bytes, skipped: bytes = b"") -> bytes:
    """The data, extended until its compression can be recognized; ``skipped`` bytes are removed from its start."""
    while len(data) < MAGIC_SIZE and (piece := more()):
        data = (data + piece).lstrip(skipped)
    return data


def _decompressor(kind: str) -> Any:
    if kind == "gz":
        import zlib

        return zlib.decompressobj(wbits=31)  # 16 for gzip's header and trailer, and the largest window
    if kind == "bz2":
        import bz2

        return bz2.BZ2Decompressor()
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _member(decompressor: Any, more: Callable[[], bytes], data: bytes) -> Generator[bytes, None, bytes]:
    """The content of one member; returns what was read beyond its end."""
    import lzma
    import zlib

    while not decompressor.eof:
        try:
            piece = decompressor.decompress(data, _CHUNK)
        except (zlib.error, lzma.LZMAError, OSError) as error:  # bzip2 raises OSError
            raise _damaged(str(error)) from error
        # zlib gives back what it has not read yet, the others keep it.
        data = getattr(decompressor, "unconsumed_tail", b"")
        if piece:
            yield piece
        if len(piece) < _CHUNK and not decompressor.eof:
            data = data or more()
            if not data and not piece:
                raise _damaged("the file ends too early")
    return bytes(decompressor.unused_data)


def _damaged(why: str) -> StratusLabError:
    return StratusLabError(f"the compressed image is damaged: {why}")
