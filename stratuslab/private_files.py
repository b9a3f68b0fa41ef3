"""Private files, safe against concurrent processes and crashes; and free disk space."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS = 10.0
"""Seconds to wait for a lock that is normally held only briefly."""


def private_directory(directory: Path) -> Path:
    """The directory, created with its parents and closed to others if it does not exist."""
    if not directory.parent.is_dir():
        private_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[Path]:
    """A new file to write in the block, which then replaces the one at the path.

    At any time, even after a crash, the path has either the old or the new content. Raises OSError.
    """
    new = path.with_name(f"{path.name}.new")
    # Locked, so that there is one writer at a time; the leftovers of a killed one are overwritten.
    descriptor = open_locked(new)
    try:
        os.ftruncate(descriptor, 0)
        yield new
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file as :func:`replacing` does."""
    with replacing(path, mode) as new:
        new.write_bytes(content)


def acquire(descriptor: int, seconds: float | None) -> bool:
    """Lock an open file; False if another process holds the lock for longer than ``seconds`` (None: wait forever)."""
    import fcntl
    import time

    if seconds is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.005)


def open_locked(path: Path, seconds: float | None = WAIT_SECONDS, waits: Callable[[], None] = lambda: None) -> int:
    """A descriptor of the file, created if necessary and locked. ``waits`` is called if another process has the lock.

    The lock ends when the descriptor is closed, or with the process. Raises TimeoutError after ``seconds`` (None: never).
    """
    while True:
        # In a directory that others may write to, their link must not decide which file is opened.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not acquire(descriptor, 0):
                waits()
                if not acquire(descriptor, seconds):
                    import errno

                    raise TimeoutError(errno.ETIMEDOUT, "locked by another process", str(path))
            # The previous holder may have deleted the file; others then would not see our lock.
            if is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path, seconds: float | None = WAIT_SECONDS, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Exclude other processes and threads that use the same lock. Raises as :func:`open_locked` does.

    The lock is on a file beside it (``.NAME.lock``), because the file itself is replaced; it exists only while it is held.
    """
    lock = path.with_name(f".{path.name}.lock")
    descriptor = open_locked(lock, seconds, waits)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def free_bytes(place: Path | int) -> int:
    """The free bytes on the disk of a path or open file. Raises OSError."""
    facts = os.statvfs(place)
    return facts.f_bavail * facts.f_frsize


def size_text(size: int) -> str:
    """A number of bytes with a unit (powers of 1000): ``2.5 GB``."""
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1000, ["TB", "GB", "MB", "KB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop()
    return f"{value:.3g} {units[-1]}" if value < 1000 else f"{value:.0f} {units[-1]}"


def is_disk_full(error: OSError) -> bool:
    """Whether the error means that the disk, or the user's quota, is full."""
    import errno

    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def why(error: OSError) -> str:
    """The system's reason, for use within a sentence."""
    return (error.strerror or str(error)).lower()
