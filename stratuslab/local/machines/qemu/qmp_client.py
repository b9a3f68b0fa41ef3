"""A client of QMP, the protocol of QEMU's monitor, over a socket that QEMU has inherited.

QMP is lines of JSON: a greeting, replies to commands by their id, and events. QEMU runs untrusted guests, so messages are
read with limits, and an invalid one ends the connection.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_LINE = 1 << 20
"""The maximum length of a message in bytes."""

GREETING_SECONDS = 60.0
REPLY_SECONDS = 20.0
"""Time-outs, long enough for a busy computer."""

Event = Callable[[str, Mapping[str, Any]], None]


class QmpError(Exception):
    """QEMU refuses a command (the text is QEMU's) or does not answer."""


class QmpClient:
    """The connection to one QEMU. One thread runs :meth:`listen`; any thread can :meth:`execute`.

    ``on_event`` is called in the listening thread with each event's name and data.
    """

    def __init__(self, connection: socket.socket, on_event: Event) -> None:
        self._connection = connection
        self._on_event = on_event
        self._one_at_a_time = threading.Lock()
        self._news = threading.Condition()
        self._greeted = False
        self._over = False
        self._awaited = 0
        self._reply: Mapping[str, Any] | None = None

    def open(self) -> None:
        """Wait for QEMU's greeting and enter the command mode. Raises QmpError."""
        with self._news:
            self._news.wait_for(lambda: self._greeted or self._over, GREETING_SECONDS)
            if not self._greeted:
                raise QmpError("QEMU does not answer")
        self.execute("qmp_capabilities")

    def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """The result of a command. Raises QmpError."""
        with self._one_at_a_time, self._news:
            self._awaited += 1
            self._reply = None
            request = {"execute": command, "arguments": arguments or {}, "id": self._awaited}
            try:
                self._connection.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise QmpError("QEMU has closed its monitor") from error
            self._news.wait_for(lambda: self._reply is not None or self._over, REPLY_SECONDS)
            reply = self._reply
        if reply is None:
            raise QmpError(f"QEMU does not answer {command}")
        if "return" in reply:
            return reply["return"]
        error = reply.get("error")
        raise QmpError(str(error.get("desc", "")) if isinstance(error, Mapping) else "QEMU refused the command")

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def listen(self) -> None:
        """Read messages until QEMU ends or sends something else than QMP."""
        try:
            with self._connection, self._connection.makefile("rb") as lines:
                # A line that is cut off is not JSON.
                while (message := _parsed(lines.readline(LONGEST_LINE))) is not None:
                    self._take(message)
        except OSError:
            pass  # it has closed its monitor
        finally:
            with self._news:
                self._over = True
                self._news.notify_all()

    def _take(self, message: Mapping[str, Any]) -> None:
        name, data = message.get("event"), message.get("data", {})
        if isinstance(name, str):
            self._on_event(name, data if isinstance(data, Mapping) else {})
            return
        with self._news:
            if "QMP" in message:
                self._greeted = True
            elif message.get("id") == self._awaited:
                self._reply = message
            self._news.notify_all()


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    """The message in a line, None if it is not one."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
