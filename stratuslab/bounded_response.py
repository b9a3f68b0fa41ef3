"""HTTP responses whose time is bounded as a whole: a socket's own time-out bounds only the silence between two bytes.

A server can keep a client for ever with a byte from time to time, in headers, in endless "100 Continue" or in the extensions
of chunks. So the status line and the headers must arrive within the time-out of the socket, and the body at
:data:`SLOWEST` bytes in a second, the time-out in advance. A long listing that moves on is never cut off.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests

SLOWEST = 1024
"""Bytes of a body that must arrive in a second, on the average."""

_MOST_LINES = 1 << 20  # bytes of lines, and 16 for each byte of content: a chunk of one byte has a line of three


class TooSlow(TimeoutError):
    """A response that goes on, but too slowly."""


class BoundedResponse(http.client.HTTPResponse):
    """A response that raises TooSlow. Use it as ``response_class`` of a connection; its socket's time-out counts."""

    def __init__(self, sock: socket.socket, *details: Any, **named: Any) -> None:
        super().__init__(sock, *details, **named)
        silence = sock.gettimeout()
        if silence is not None:
            self._pace = _Pace(self.fp.detach(), sock, silence)
            self.fp = _Lines(self._pace)

    def begin(self) -> None:
        super().begin()
        if isinstance(self.fp, _Lines):
            self._pace.restart()


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


class _Lines(io.BufferedReader):
    """Only the status, the headers, the sizes of chunks and the trailers are read as lines, which are not the content."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        pace = self.raw
        assert isinstance(pace, _Pace)
        pace.content -= len(line)
        pace.lines += len(line)
        if pace.lines > _MOST_LINES + 16 * pace.content:
            raise TooSlow("the answer has hardly any content")
        return line


def bounded_session(*kinds: type) -> requests.Session:
    """A session of requests whose responses are bounded like this, and whose connections are also of these kinds."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def pool(usual: Any) -> type:
        connection = type("BoundedConnection", (*kinds, usual.ConnectionCls), {"response_class": BoundedResponse})
        return type(usual.__name__, (usual,), {"ConnectionCls": connection})

    pools = {"http": pool(HTTPConnectionPool), "https": pool(HTTPSConnectionPool)}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *details: Any, **named: Any) -> None:
            super().init_poolmanager(*details, **named)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *details: Any, **named: Any) -> Any:
            manager = super().proxy_manager_for(*details, **named)
            manager.pool_classes_by_scheme = pools
            return manager

    session = requests.Session()
    session.mount("http://", Adapter())
    session.mount("https://", Adapter())
    return session
