"""A little space of the disk that the store keeps for itself, for the day when machines have filled the rest.

Ending a machine is what makes room then, and it has to be written down. So the reserve is given up, but only by what ends
machines, and after they have stopped writing: otherwise they would have it at once.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from stratuslab.files import free_bytes

NAME = "reserve"
_BYTES = 512 << 10
_FULL = 128 << 10
_PLENTY = 16 << 20


def keep(directory: Path) -> None:
    """Make the reserve in the store's directory where it is missing and there is plenty of room. Never fails."""
    path = directory / NAME
    with contextlib.suppress(OSError):
        if not path.exists() and free_bytes(directory) > _PLENTY:
            _make(path)


def give_up(directory: Path) -> None:
    """Let the store have what was reserved. Never fails."""
    with contextlib.suppress(OSError):
        (directory / NAME).unlink()


def is_full(directory: Path) -> bool:
    """Whether the disk of the directory is so full that a store cannot go on."""
    try:
        return free_bytes(directory) < _FULL
    except OSError:
        return False


def _make(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, _BYTES)
        else:
            os.write(descriptor, b"\1" * _BYTES)
    finally:
        os.close(descriptor)
