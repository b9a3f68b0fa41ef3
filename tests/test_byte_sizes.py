"""Sizes as people write and read them."""

from __future__ import annotations

import pytest

from stratuslab.byte_sizes import read_size, size_text


@pytest.mark.parametrize(
    ("size", "text"), [(999, "999 bytes"), (1500, "1.5 KB"), (512 * 10**6, "512 MB"), (2 * 10**9, "2 GB"), (10**16, "10000 TB")]
)
def test_sizes_have_a_unit(size: int, text: str):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("1.5g", 3 << 29),
        ("2 TiB", 2 << 40),
        ("1KB", 1024),
        ("0G", 0),
        ("512", None),
        ("G", None),
        ("-1G", None),
        ("1e3M", None),
        ("9" * 40 + "G", None),
        ("\u0661G", None),
    ],
)
def test_sizes_are_read_with_a_unit(text: str, size: int | None):
    assert read_size(text) == size
