"""Waiting for an SSH server: it is ready once its first line, the banner, was read (RFC 4253, section 4.2).

An open port proves nothing: a forwarding host accepts connections for a machine that has not booted, and a booting machine
accepts them before its sshd answers.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from queue import SimpleQueue

from stratuslab.errors import Unreachable

Point = tuple[str, int]
"""A host name or address, and a port."""

ReadBanner = Callable[[str, int, float], object]
"""What reads a banner, as :func:`read_banner` does: of a host, a port, within so many seconds."""

TRY_TIMEOUT = 4.0
"""Seconds that one attempt may take: a machine may come up behind an address that dropped the first packets."""

_PAUSE = 0.5
_AT_ONCE = 32

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


def banner_from(connection: socket.socket, deadline: float) -> str:
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
    found = re.search(rb"^(SSH-[^\n]*)\n", received, re.MULTILINE)
    return found[1].rstrip(b"\r").decode("ascii", "backslashreplace") if found else ""


def _instead(received: bytearray) -> str:
    if not received:
        return ""
    line = bytes(received).split(b"\n")[0].rstrip(b"\r")[:40]
    return f"not an SSH server, it sent {line.decode('ascii', 'backslashreplace')!r}"


class Knocking:
    """SSH servers of instances, tried in the background again and again, so many at once, until each has sent its banner.

    ``deadline`` is a time of time.monotonic(): no try takes much longer, so that it is known by then what was found instead.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._tries: SimpleQueue[tuple[int, Point, ReadBanner] | None] = SimpleQueue()
        self._threads = 0
        self._over = threading.Event()
        self._news = threading.Event()
        self._seen: dict[int, dict[Point, str]] = {}
        self.answered: dict[int, Point] = {}
        """By instance, the first of its points that sent a banner."""

    def begin(self, instance: int, points: Sequence[Point], read: ReadBanner = read_banner) -> None:
        """Try all points of an instance in parallel; ``read`` is called like :func:`read_banner`."""
        self._seen[instance] = dict.fromkeys(points, "not answered yet")
        for point in self._seen[instance]:
            self._tries.put((instance, point, read))
            if self._threads < _AT_ONCE:
                self._threads += 1
                # Daemons: a hanging name service must not keep the process alive.
                threading.Thread(target=self._knock, name="ssh-banner", daemon=True).start()

    def seen(self, instance: int) -> str:
        """What was found last at each point of the instance; empty before the first try was begun."""
        return "; ".join(f"{host} port {port}: {what}" for (host, port), what in self._seen.get(instance, {}).items())

    def wait(self, seconds: float) -> None:
        """Wait until another server has answered, at most so long."""
        self._news.wait(seconds)
        self._news.clear()  # before the caller looks who has answered

    def close(self) -> None:
        """Try nothing more."""
        self._over.set()
        for _ in range(self._threads):
            self._tries.put(None)

    def _knock(self) -> None:
        while (one := self._tries.get()) is not None and not self._over.is_set():
            instance, point, read = one
            begin = time.monotonic()
            try:
                if instance not in self.answered:
                    read(*point, min(TRY_TIMEOUT, max(self._deadline - begin, 0.2)))
            except Unreachable as error:
                self._seen[instance][point] = error.message
                self._over.wait(max(_PAUSE - (time.monotonic() - begin), 0.1))
                self._tries.put(one)
                continue
            self.answered.setdefault(instance, point)
            self._news.set()
