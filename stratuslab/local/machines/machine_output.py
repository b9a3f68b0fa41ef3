"""The logs of a machine: its console, and what QEMU says."""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial
from io import FileIO
from pathlib import Path

MOST_BYTES = 4 << 20
KEPT_BYTES = 1 << 20
"""A log larger than the first is cut to its last bytes of the second, so that a guest cannot fill the disk."""


class MachineLog:
    """A log in a file that only its owner can read. Errors of the other methods, as of a full disk, are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, line: str) -> None:
        """Append a line from the supervisor, after finishing the guest's last one."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError), self.opened() as file:
            file.seek(max(file.tell() - 1, 0))
            unfinished = file.read() not in (b"", b"\n")
            file.write(f"{chr(10) * unfinished}{stamp} {line}\n".encode("utf-8", "replace"))

    def shorten(self) -> None:
        """Cut the log if it is too large. QEMU has it open to append, so it continues at the new end."""
        with contextlib.suppress(OSError), self.opened() as file:
            if file.tell() > MOST_BYTES:
                file.seek(-KEPT_BYTES, os.SEEK_END)
                end = file.read(KEPT_BYTES)
                file.truncate(0)
                file.write(end[end.find(b"\n") + 1 :])

    def opened(self) -> FileIO:
        """The file, to append and to read. Raises OSError."""
        return open(self.path, "ab+", buffering=0, opener=partial(os.open, mode=0o600))
