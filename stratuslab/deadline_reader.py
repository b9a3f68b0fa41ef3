"""Reads what a server sends within a time that is bounded as a whole: a socket's own time-out bounds only the silence between
two bytes.

A server can keep a client for ever with a byte from time to time, in headers, in endless "100 Continue" or in the extensions
of chunks. So the status line and the headers must arrive within the time-out of the socket, and the body at
:data:`SLOWEST` bytes in a second, the time-out in advance. A long listing that moves on is never cut off.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

SLOWEST = 1024
"""Bytes of a body that must arrive in a second, on the average."""

_MOST_LINES = 1 << 20  # bytes of lines, and 16 for each byte of content: a chunk of one byte has a line of three


class TooSlow(TimeoutError):
    """A response that goes on, but too slowly."""


class _Pace(io.RawIOBase):
    """Reads from a socket until its time is over."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, silence: float) -> None:
        self._raw = raw
        self._socket = sock
        self._silence = silence
        self.content = 0  # bytes that came, without those of lines
        self.lines = 0
        self.restart()

    def restart(self) -> None:
        """Begin again to count, for the body."""
        self._begin = self._last = time.monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        left = self._begin + self._silence + max(self.content, 0) / SLOWEST - time.monotonic()
        if left <= 0:
            raise TooSlow("the answer goes on too slowly")
        self._socket.settimeout(min(left, self._silence))
        try:
            size = self._raw.readinto(buffer)
        except TimeoutError:
            if time.monotonic() - self._last < 0.9 * self._silence:
                raise TooSlow("the answer goes on too slowly") from None
            raise
        self._last = time.monotonic()
        self.content += size or 0
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


class DeadlineReader(io.BufferedReader):
    """Reads a response from ``raw``, the file of the socket, and raises TooSlow; ``silence`` is the time-out in seconds.

    Only the status, the headers, the sizes of chunks and the trailers are read as lines, which are not the content.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, silence: float) -> None:
        self._pace = _Pace(raw, sock, silence)
        super().__init__(self._pace)

    def restart(self) -> None:
        """Begin again to count the time, for the body."""
        self._pace.restart()

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        pace = self._pace
        pace.content -= len(line)
        pace.lines += len(line)
        if pace.lines > _MOST_LINES + 16 * pace.content:
            raise TooSlow("the answer has hardly any content")
        return line
