"""Adds the supervisor's lines to an instance's console log, and keeps the log short."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 4 << 20
KEPT_BYTES = 1 << 20
"""A log larger than the first is cut to its last bytes of the second, so that a guest cannot fill the disk."""


class ConsoleLog:
    """The log in a file that only its owner can read. Errors, as of a full disk, are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, line: str) -> None:
        """Append a line from the supervisor, after finishing the guest's last one."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError), self._opened() as descriptor:
            size = os.fstat(descriptor).st_size
            unfinished = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, f"{chr(10) * unfinished}{stamp} {line}\n".encode("utf-8", "replace"))

    def size(self) -> int:
        """The size of the log in bytes, 0 if it does not exist."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def shorten(self) -> None:
        """Cut the log if it is too large. QEMU has it open to append, so it continues at the new end."""
        if self.size() > MOST_BYTES:
            with contextlib.suppress(OSError), self._opened() as descriptor:
                size = os.fstat(descriptor).st_size
                end = os.pread(descriptor, KEPT_BYTES, max(size - KEPT_BYTES, 0))
                os.ftruncate(descriptor, 0)
                os.write(descriptor, end[end.find(b"\n") + 1 :])

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
