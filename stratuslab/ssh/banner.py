"""Waiting for an SSH server: it is ready once its first line, the banner, was read (RFC 4253, section 4.2).

An open port proves nothing: a forwarding host accepts connections for a machine that has not booted, and a booting machine
accepts them before its sshd answers.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol

from stratuslab.errors import TimedOut, Unreachable

Point = tuple[str, int]
"""A host name or address, and a port."""

TRY_TIMEOUT = 4.0
"""Seconds that one attempt may take: a machine may come up behind an address that dropped the first packets."""

_PAUSE = 0.5
_TICK = 1.0

_MAXIMUM_SIZE = 16 << 10


def read_banner(host: str, port: int, timeout: float) -> str:
    """The banner of the SSH server at an address, such as ``SSH-2.0-OpenSSH_9.2``.

    A server may send other lines before it. ``timeout`` is in seconds and limits the whole exchange. Raises Unreachable, whose
    message says in a few words what was found instead.
    """
    deadline = time.monotonic() + timeout
    try:
        connection = socket.create_connection((host, port), timeout)
    except socket.gaierror as error:
        raise Unreachable("unknown host name") from error
    except TimeoutError as error:
        raise Unreachable("no answer") from error
    except (OSError, UnicodeError, OverflowError) as error:
        raise Unreachable(getattr(error, "strerror", None) or "no connection") from error
    return banner_from(connection, deadline)


class Connection(Protocol):
    """What a banner is read from: a socket, or a channel through another host that behaves like one."""

    def settimeout(self, seconds: float, /) -> object: ...

    def recv(self, size: int, /) -> bytes: ...

    def close(self) -> object: ...


def banner_from(connection: Connection, deadline: float) -> str:
    """Like read_banner, on an open connection, until a time of time.monotonic(); closes the connection."""
    with closing(connection):
        received = bytearray()
        try:
            while len(received) < _MAXIMUM_SIZE and (left := deadline - time.monotonic()) > 0:
                connection.settimeout(left)
                data = connection.recv(1024)
                received += data
                banner = _banner(received)
                if banner:
                    return banner
                if not data:
                    raise Unreachable(_instead(received) or "it closed the connection")
        except TimeoutError:
            pass
        except OSError as error:
            raise Unreachable(_instead(received) or error.strerror or "the connection was lost") from error
        raise Unreachable(_instead(received) or "it accepts connections but sends nothing")


def _banner(received: bytearray) -> str:
    # Only whole lines count: a server that is being killed may send half a banner.
    for line in bytes(received).split(b"\n")[:-1]:
        if line.startswith(b"SSH-"):
            return line.rstrip(b"\r").decode("ascii", "backslashreplace")
    return ""


def _instead(received: bytearray) -> str:
    if not received:
        return ""
    line = bytes(received).split(b"\n")[0].rstrip(b"\r")[:40]
    return f"not an SSH server, it sent {line.decode('ascii', 'backslashreplace')!r}"


def wait_for_ssh(
    points: Sequence[Point],
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
    on_wait: Callable[[str], None] | None = None,
    read: Callable[[str, int, float], object] = read_banner,
) -> Point:
    """The first of the points at which an SSH server sent its banner.

    All points are tried in parallel, again and again. ``deadline`` is a time of ``clock``; at least one attempt is made.
    ``on_wait`` is called about once a second with what was last seen; an exception from it ends the waiting. ``read`` replaces
    :func:`read_banner`. Raises TimedOut, which says what was last seen at each point, and Unreachable without any point.
    """
    if not points:
        raise Unreachable("the instance has no address to connect to", "stratus-describe-instance -vv shows its interfaces")
    from queue import Empty, SimpleQueue

    found: SimpleQueue[Point] = SimpleQueue()
    over = threading.Event()
    last = dict.fromkeys(points, "not answered yet")

    def knock(point: Point) -> None:
        while not over.is_set():
            begin = clock()
            try:
                read(*point, min(TRY_TIMEOUT, max(deadline - begin, 0.2)))
            except Unreachable as error:
                last[point] = error.message
            else:
                found.put(point)
                return
            over.wait(max(_PAUSE - (clock() - begin), 0.1))

    for point in last:
        # Daemons: a hanging name service must not keep the process alive.
        threading.Thread(target=knock, args=(point,), name="ssh-banner", daemon=True).start()
    try:
        while True:
            left = deadline - clock()
            try:
                return found.get(timeout=min(max(left, 0.25), _TICK))
            except Empty:
                pass
            seen = "; ".join(f"{host} port {port}: {what}" for (host, port), what in last.items())
            if left <= 0.25:
                raise TimedOut(f"no SSH server answered in time ({seen})", "the machine may still be booting: try again")
            if on_wait is not None:
                on_wait(seen)
    finally:
        over.set()
