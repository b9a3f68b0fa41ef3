"""Decompresses images (gzip, bzip2, xz) while reading. The format is recognized by the first bytes, never by the name.

The standard library's decompressors are used without its file classes, which do not limit the memory that an xz file
requests: an untrusted one may request 4 GiB.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from stratuslab.errors import StratusLabError

MAGIC_SIZE = 6
"""Number of bytes that show how a file is compressed."""

_MAGIC = {"gz": b"\x1f\x8b\x08", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00"}
_CHUNK = 1 << 17
_XZ_MEMORY = 256 << 20  # bytes; files made with xz -9 need 65 MiB


class Readable(Protocol):
    """A stream to read from: at most ``size`` bytes at a time, and none only at the end."""

    def read(self, size: int, /) -> bytes: ...


class _Decompressor(Protocol):
    """The interface of the standard library's bzip2 and xz decompressors; each reads one member of a file."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def packing(head: bytes) -> str:
    """The compression of a file that begins with these bytes: ``gz``, ``bz2`` or ``xz``; empty for none."""
    return next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")


def unpacked(stream: Readable) -> Iterator[bytes]:
    """The content of a stream, compressed or not, in chunks. The stream need not be seekable.

    Raises StratusLabError if the compressed data is damaged or ends too early, and OSError from the stream itself.
    """
    data = _filled(stream, b"")
    kind = packing(data)
    if not kind:
        while data:
            yield data
            data = stream.read(_CHUNK)
    while data:
        if packing(data) != kind:
            raise _damaged("unknown data follows the compressed data")
        rest = yield from _member(_DECOMPRESSORS[kind](), stream, data)
        # A file may have several members, each followed by zeros.
        data = _filled(stream, rest.lstrip(b"\0"), b"\0")


def _filled(stream: Readable, data: bytes, skipped: bytes | None = None) -> bytes:
    """The data, extended until its compression can be recognized; ``skipped`` bytes are removed from its start."""
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
        except (zlib.error, lzma.LZMAError, OSError) as error:  # bzip2 raises OSError
            raise _damaged(str(error)) from error
        data = b""
        if piece:
            yield piece
        elif ended and not decompressor.eof:
            raise _damaged("the file ends too early")
    return decompressor.unused_data


class _Gzip:
    """zlib's decompressor with the interface of the others."""

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
