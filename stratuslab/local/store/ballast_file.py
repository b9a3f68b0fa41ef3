"""A reserve of disk space, so that machines can be killed when the disk is full.

Killing a machine frees space, but must be recorded first. The reserve is released only for that, and only after the machines
have stopped writing, as they would take it at once.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from stratuslab.private_files import free_bytes

NAME = "reserve"
_BYTES = 512 << 10
_FULL = 128 << 10
_PLENTY = 16 << 20


def create(directory: Path) -> None:
    """Create the reserve in the store's directory if it is missing and the disk has enough space. Never fails."""
    path = directory / NAME
    with contextlib.suppress(OSError):
        if not path.exists() and free_bytes(directory) > _PLENTY:
            path.touch(0o600, exist_ok=False)
            path.write_bytes(b"\1" * _BYTES)


def release(directory: Path) -> None:
    """Release the reserve. Never fails."""
    with contextlib.suppress(OSError):
        (directory / NAME).unlink()


def is_full(directory: Path) -> bool:
    """Whether the disk of the directory has too little space for the store."""
    with contextlib.suppress(OSError):
        return free_bytes(directory) < _FULL
    return False
