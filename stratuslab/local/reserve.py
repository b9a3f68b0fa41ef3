"""A little space of the disk that the store keeps for itself, for the day when machines have filled the rest.

Killing a machine is what makes room then, and it has to be written down first. Whoever opens the store on a full disk gives the
reserve up, and it is made again once there is room.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAME = "reserve"
_BYTES = 512 << 10
_FULL = 128 << 10
_PLENTY = 16 << 20


def tend(directory: Path) -> None:
    """Make the reserve in the store's directory, or give it up, as the disk's free space has it. Never fails."""
    path = directory / NAME
    with contextlib.suppress(OSError):
        facts = os.statvfs(directory)
        free = facts.f_bavail * facts.f_frsize
        if free < _FULL:
            path.unlink(missing_ok=True)
        elif free > _PLENTY and not path.exists():
            _make(path)


def _make(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, _BYTES)
        else:
            os.write(descriptor, b"\1" * _BYTES)
    finally:
        os.close(descriptor)
