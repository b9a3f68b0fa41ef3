"""Sizes as people write them and read them."""

from __future__ import annotations

import re

_POWERS = "KMGT"
_SIZE = re.compile(rf"([0-9]{{1,15}}(?:\.[0-9]{{1,6}})?) ?([{_POWERS}])(?:i?B)?\Z", re.IGNORECASE)


def read_size(text: str) -> int | None:
    """The bytes in ``512M``, ``1.5G`` or ``2 TiB``: powers of 1024, as clouds count. None for anything else, and for a plain
    number, whose unit depends on what it is for."""
    match = _SIZE.match(text.strip())
    return round(float(match[1]) * 1024 ** (_POWERS.index(match[2].upper()) + 1)) if match else None


def size_text(size: int) -> str:
    """A number of bytes with a unit (powers of 1000): ``2.5 GB``."""
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1000, ["TB", "GB", "MB", "KB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop()
    return f"{value:.3g} {units[-1]}" if value < 1000 else f"{value:.0f} {units[-1]}"
