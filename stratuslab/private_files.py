"""Private files, safe against other users, concurrent processes and crashes; and free disk space."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stratuslab.errors import UsageError

WAIT_SECONDS = 10.0
"""Seconds to wait for a lock that is normally held only briefly."""


def private_directory(directory: Path) -> Path:
    """The directory, made closed to others with those above it where they are missing. Raises UsageError as
    :func:`require_own` does."""
    make_directory(directory)
    require_own(directory)
    return directory


def make_directory(directory: Path) -> None:
    """Make a directory and those above it where they are missing, closed to others whatever the umask."""
    if not directory.is_dir():
        make_directory(directory.parent)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            if not directory.is_dir():
                raise
        else:
            directory.chmod(0o700)


def require_own(path: Path, *, or_root: bool = False) -> None:
    """Refuse a file or a directory that belongs to another user, that others can write to, or that they can replace.

    ``or_root`` also accepts root's, as for a configuration of the whole computer. Only files and directories are checked, and
    nothing if there is none. Raises UsageError, which says how to put it right.
    """
    user = os.geteuid()
    # In a container root may have another number.
    trusted = {0, user, Path("/").stat().st_uid}
    ends, todo, seen = {path.absolute()}, [path.absolute()], set[Path]()
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        todo.append(place.parent)
        try:
            facts = place.lstat()
        except OSError:
            continue
        is_end = place in ends
        it = "it" if place == path.absolute() else place
        if stat.S_ISLNK(facts.st_mode):
            target = place.parent / place.readlink()
            todo.append(target)
            ends |= {target} if is_end else set()
        elif is_end and not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
            continue
        elif _others_can_write(facts) and (is_end or not facts.st_mode & stat.S_ISVTX):
            raise UsageError(f"refusing to use {path}: other users can write to {it}", f"close it: chmod go-w {place}")
        if facts.st_uid not in ({user, 0} if is_end and or_root else {user} if is_end else trusted):
            raise UsageError(f"refusing to use {path}: {it} belongs to {_user_name(facts.st_uid)}", "use one of your own")


def _others_can_write(facts: os.stat_result) -> bool:
    # Many systems give each user a group of the same name, and let it write.
    return bool(facts.st_mode & 0o002 or (facts.st_mode & 0o020 and facts.st_gid and not _is_own_group(facts.st_gid)))


def _is_own_group(number: int) -> bool:
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    return user.pw_gid == number and user.pw_name == group.gr_name and set(group.gr_mem) <= {user.pw_name}


def _user_name(number: int) -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


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

    end = time.monotonic() + (seconds or 0)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if seconds is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            facts = os.fstat(descriptor)
            if facts.st_uid != os.geteuid() or not stat.S_ISREG(facts.st_mode):
                # Its owner could keep it locked, or read and change what is written to it.
                raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
            if not acquire(descriptor, 0):
                waits()
                if not acquire(descriptor, seconds):
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
    except (FileNotFoundError, NotADirectoryError):
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


def is_disk_full(error: OSError) -> bool:
    """Whether the error means that the disk, or the user's quota, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def why(error: OSError) -> str:
    """The system's reason, for use within a sentence."""
    return (error.strerror or str(error)).lower()
