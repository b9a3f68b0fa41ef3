"""The open connections of a server: how many there may be, how much each may send, and until when.

A client that is silent or slow does not keep others out: where there are too many connections, the oldest one whose request is
not yet complete is closed, of the client that has too many if there is one.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LOOPBACK = "loopback"
MOST = 128
MOST_OF_CLIENT = 64
"""Connections at once, in all and of a client."""

_POLL_SECONDS = 0.05


def client_of(address: str) -> str:
    """The client that an address belongs to: this computer has many, and an IPv6 network usually belongs to one."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback:
        return LOOPBACK
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)


@dataclass
class _Open:
    """An open connection; ``waits`` for its client, while nothing of its request is worked on."""

    client: str
    waits: bool = True


class ClientConnections:
    """The connections that are open. Threads share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[socket.socket, _Open] = {}

    def admit(self, connection: socket.socket, address: str, stopping: Callable[[], bool]) -> bool:
        """Admit a new connection once there is room. False if the server stops meanwhile."""
        entry = _Open(client_of(address))
        with self._changed:
            while crowd := self._crowd(entry.client):
                idle = next((other for other in crowd if self._open[other].waits), None)
                if idle is not None:
                    del self._open[idle]
                    # Its thread, which waits for data, ends with an error and closes it.
                    with contextlib.suppress(OSError):
                        idle.shutdown(socket.SHUT_RDWR)
                elif stopping():
                    return False
                else:
                    self._changed.wait(_POLL_SECONDS)
            self._open[connection] = entry
        return True

    def _crowd(self, client: str) -> list[socket.socket]:
        """The connections of which one must end before this client gets another one, oldest first."""
        own = [connection for connection, entry in self._open.items() if entry.client == client]
        if len(own) >= MOST_OF_CLIENT:
            return own
        return list(self._open) if len(self._open) >= MOST else []

    def mark(self, connection: socket.socket, waits: bool) -> None:
        """Note whether a connection waits for its client. Raises ConnectionAbortedError if it was closed for another one."""
        with self._changed:
            if connection not in self._open:
                raise ConnectionAbortedError
            self._open[connection].waits = waits
            self._changed.notify_all()

    def leave(self, connection: socket.socket) -> None:
        """The connection ends."""
        with self._changed:
            self._open.pop(connection, None)
            self._changed.notify_all()

    def finish(self, seconds: float) -> None:
        """Wait until no request is being answered, but no longer than this."""
        with self._changed:
            self._changed.wait_for(lambda: all(entry.waits for entry in self._open.values()), seconds)


class Incoming(io.RawIOBase):
    """What a client sends. Reading raises TimeoutError after the time that is allowed, TooMuch after the bytes that are, and
    ConnectionAbortedError if the connection was closed for another one."""

    def __init__(self, connection: socket.socket, connections: ClientConnections, left: int, seconds: float) -> None:
        self._connection = connection
        self._connections = connections
        self.allow(left, seconds)

    def allow(self, left: int, seconds: float) -> None:
        """Allow so many further bytes, and so much further time."""
        self._left, self._deadline = left, time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise TooMuch
        # Not 0, which would not wait at all.
        self._connection.settimeout(max(self._deadline - time.monotonic(), 1e-6))
        self._connections.mark(self._connection, waits=True)
        received = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._connections.mark(self._connection, waits=False)
        self._left -= received
        return received


class TooMuch(Exception):
    """A client has sent more than is allowed."""
