"""A client of QMP, the protocol of QEMU's monitor, over a socket that QEMU has inherited.

QMP is lines of JSON: a greeting, replies to commands by their id, and events. QEMU runs untrusted guests, so messages are
read with limits, and an invalid one ends the connection.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
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
    """The connection to one QEMU. ``on_event`` is called with each event's name and data, inside the other methods.

    :attr:`closed` is set when QEMU has ended or sends something else than QMP.
    """

    def __init__(self, connection: socket.socket, on_event: Event) -> None:
        self._connection = connection
        self._on_event = on_event
        self._received = b""
        self._asked = 0
        self.closed = False

    def open(self) -> None:
        """Wait for QEMU's greeting and enter the command mode. Raises QmpError."""
        if not any("QMP" in message for message in self._messages(GREETING_SECONDS)):
            raise QmpError("QEMU does not answer")
        self.execute("qmp_capabilities")

    def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """The result of a command. Raises QmpError."""
        self._asked += 1
        request = {"execute": command, "arguments": arguments or {}, "id": self._asked}
        try:
            self._connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise QmpError("QEMU has closed its monitor") from error
        reply = next((message for message in self._messages(REPLY_SECONDS) if message.get("id") == self._asked), None)
        if reply is None:
            raise QmpError(f"QEMU does not answer {command}")
        if "return" in reply:
            return reply["return"]
        refusal = reply.get("error")
        raise QmpError(str(refusal.get("desc", "")) if isinstance(refusal, Mapping) else "QEMU refused the command")

    def watch(self, seconds: float, *wake: socket.socket) -> None:
        """Handle events for so long, at most until QEMU ends or there is something to read from ``wake``."""
        for _ in self._messages(seconds, *wake):
            pass

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._connection.close()

    def _messages(self, seconds: float, *wake: socket.socket) -> Iterator[Mapping[str, Any]]:
        """The messages of this time other than events."""
        end = time.monotonic() + seconds
        while not self.closed:
            line, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                message = _parsed(line)
                if message is None:
                    self.close()
                elif isinstance(name := message.get("event"), str):
                    data = message.get("data")
                    self._on_event(name, data if isinstance(data, Mapping) else {})
                else:
                    yield message
                continue
            left = end - time.monotonic()
            if left < 0 or self._connection not in select.select([self._connection, *wake], [], [], left)[0]:
                return
            read = b""
            with contextlib.suppress(OSError):
                read = self._connection.recv(65536)
            self._received += read
            if not read or len(self._received) > LONGEST_LINE:
                self.close()


def _parsed(line: bytes) -> Mapping[str, Any] | None:
    """The message in a line, None if it is not one."""
    try:
        message = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
