"""Compressed images read as what is inside."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import StratusLabError
from stratuslab.marketplace.image_decompression import packing, unpacked

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def content(data: bytes) -> bytes:
    return b"".join(unpacked(io.BytesIO(data)))


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.sampled_from(sorted(PACKERS)), st.integers(0, 3))
def test_several_members_with_zeros_behind_them(parts: list[bytes], kind: str, words: int) -> None:
    packed = b"".join(PACKERS[kind](part) + bytes(4 * words) for part in parts)
    assert packing(packed) == kind
    assert content(packed) == b"".join(parts)


@given(st.binary(max_size=300))
def test_anything_else_is_the_content(data: bytes) -> None:
    if not packing(data):
        assert content(data) == data


@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=2000))
def test_rubbish_that_looks_packed(kind: str, data: bytes) -> None:
    try:
        content(PACKERS[kind](b"")[:6] + data)
    except StratusLabError as error:
        assert str(error).startswith("the compressed image is damaged")


@pytest.mark.parametrize("kind", PACKERS)
def test_what_ends_too_early(kind: str) -> None:
    packed = PACKERS[kind](bytes(range(256)) * 2000)
    for end in (7, 30, len(packed) // 2, len(packed) - 1):
        with pytest.raises(StratusLabError, match="the file ends too early"):
            content(packed[:end])


@pytest.mark.parametrize("kind", PACKERS)
def test_something_behind_it(kind: str) -> None:
    with pytest.raises(StratusLabError, match="unknown data"):
        content(PACKERS[kind](b"disk") + b"and more")


def test_the_memory_that_an_xz_file_may_ask_for_is_bounded() -> None:
    greedy = lzma.compress(b"disk", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])
    # The dictionary's size is the property of the filter in the block's header (xz file format, 5.3.1), which a CRC covers.
    block = bytearray(greedy[12:24])
    assert block[2:4] == bytes([0x21, 1])
    block[4] = 40
    block[8:12] = struct.pack("<I", zlib.crc32(bytes(block[:8])))
    with pytest.raises(StratusLabError, match="Memory usage limit"):
        content(greedy[:12] + bytes(block) + greedy[24:])


def test_constant_memory() -> None:
    """A bomb is unpacked piece by piece."""
    bomb = b"".join(gzip.compress(bytes(1 << 24)) for _ in range(4))
    assert max(map(len, unpacked(io.BytesIO(bomb)))) <= 1 << 17


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_a_stream_that_gives_a_byte_at_a_time(pack: Callable[[bytes], bytes]) -> None:
    class Drip(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 1))

        def seekable(self) -> bool:
            return False

    content = bytes(range(256)) * 12
    assert b"".join(unpacked(Drip(pack(content)))) == content


@pytest.mark.parametrize("content", [b"", b"\x1f", b"BZ", b"\xfd7zXZ"])
def test_short_files_are_plain_content(content: bytes) -> None:
    assert b"".join(unpacked(io.BytesIO(content))) == content
