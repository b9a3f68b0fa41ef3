"""The log of an instance's serial console: QEMU adds what the guest writes, and this process what becomes of the machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

MOST_BYTES = 4 << 20
KEPT_BYTES = 1 << 20
"""A log beyond the first is cut to its end of the second size: a guest must not fill this computer's disk."""


class ConsoleLog:
    """The log in a file, which only its owner may read. A full disk is no reason for a machine to stop."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, line: str) -> None:
        """Add a line of our own, whatever the guest has left unfinished before it."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError), self._opened() as descriptor:
            size = os.fstat(descriptor).st_size
            unfinished = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, f"{chr(10) * unfinished}{stamp} {line}\n".encode("utf-8", "replace"))

    def size(self) -> int:
        """Bytes in the log; one that is not there has none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def shorten(self) -> None:
        """Keep the log bounded. QEMU goes on adding at the end, wherever that is."""
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
