"""A proxy between the client and a cloud that passes requests on, and does or loses them as a test says."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit
from xmlrpc.client import loads

from tests.fakes.mishaps import CARRIED_OUT, Mishap
from tests.fakes.scripted_server import PATIENCE, Conversation, Request, ScriptedServer

_LATE = "(late)"  # among the methods that arrived


class Late(NamedTuple):
    """A mishap of a busy cloud: the connection ends, and the request is carried out before so many calls from then."""

    calls: int


class Delayed(NamedTuple):
    """The connection ends, and the request arrives so many seconds later."""

    seconds: float


class Twice(NamedTuple):
    """The request arrives a second time: at once, so that the answer is the second one's, or so many seconds after the first."""

    seconds: float = 0.0


Fault = Mishap | Late | Delayed | Twice
"""What goes wrong with one request."""


class FaultyProxy:
    """Stands in front of the server at ``origin``.

    ``faults`` holds for an XML-RPC method what goes wrong with its calls, one after the other (None: nothing); after those all
    goes well. ``always`` holds what goes wrong with every call of a method, and ``choose`` says it for every other call.
    """

    def __init__(
        self,
        origin: str,
        faults: Mapping[str, Iterable[Fault | None]] | None = None,
        always: Mapping[str, Fault] | None = None,
        choose: Callable[[str], Fault | None] = lambda method: None,
    ) -> None:
        self._origin = urlsplit(origin)
        self._faults = {method: list(coming) for method, coming in (faults or {}).items()}
        self._always = always or {}
        self._choose = choose
        self._methods: list[str] = []
        self._late: list[tuple[int, Request]] = []
        self._timers: list[threading.Timer] = []
        self._lock = threading.Lock()
        self._server = ScriptedServer(self._converse)

    @property
    def url(self) -> str:
        return self._server.url + self._origin.path

    def counted(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(self._methods)

    def close(self) -> None:
        """End, once everything that is on its way has arrived."""
        self.drain()
        self._server.close()

    def drain(self) -> None:
        """Wait until everything that is on its way has arrived."""
        for timer in self._timers:
            timer.join()
        with self._lock:
            due, self._late = [late for _, late in self._late], []
        for late in due:
            self._forwarded(late)

    def _converse(self, conversation: Conversation) -> None:
        request = conversation.read_request()
        method = str(loads(request.body)[1])
        with self._lock:
            self._methods.append(method)
            coming = self._faults.get(method)
            fault = coming.pop(0) if coming else self._always.get(method) or self._choose(method)
            self._late = [(calls - 1, late) for calls, late in self._late]
            due = [late for calls, late in self._late if calls == 0]
        for late in due:
            self._deliver(late)
        if isinstance(fault, Late):
            with self._lock:
                self._late.append((fault.calls, request))
            return
        if isinstance(fault, Delayed):
            self._after(fault.seconds, request)
            return
        if isinstance(fault, Twice):
            if fault.seconds:
                self._after(fault.seconds, request)
            else:
                self._forwarded(request)
            fault = None
        answer = self._forwarded(request) if fault is None or fault in CARRIED_OUT else b""
        if fault is None:
            conversation.send(answer)
        else:
            fault(conversation, method, answer)

    def late_since_the_last_look(self) -> int:
        """How many requests arrived late since the client last listed machines."""
        calls = self._methods[::-1]
        looks = [place for place, method in enumerate(calls) if method.startswith("one.vmpool.")]
        return calls[: looks[0] if looks else None].count(_LATE)

    def _after(self, seconds: float, request: Request) -> None:
        timer = threading.Timer(seconds, self._deliver, [request])
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _deliver(self, request: Request) -> None:
        self._methods.append(_LATE)
        self._forwarded(request)

    def _forwarded(self, request: Request) -> bytes:
        """Pass the request on; the whole answer."""
        headers = {**request.headers, "connection": "close"}
        lines = [f"{request.method} {request.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        answer = b""
        assert self._origin.hostname is not None
        with socket.create_connection((self._origin.hostname, self._origin.port or 80), PATIENCE) as origin:
            origin.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + request.body)
            while data := origin.recv(1 << 16):
                answer += data
        return answer
