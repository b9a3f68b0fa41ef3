"""A proxy between the client and a cloud that passes requests on, and loses or holds back answers as a test says."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit
from xmlrpc.client import loads

from tests.fakes.scripted_server import PATIENCE, Conversation, Request, ScriptedServer

Fault = Callable[["FaultyProxy", Conversation, Request], None]
"""What goes wrong with one request."""


class FaultyProxy:
    """Stands in front of the server at ``origin``.

    ``faults`` holds for an XML-RPC method what goes wrong with its calls, one after the other (None: nothing); after those all
    goes well. ``always`` holds what goes wrong with every call of a method.
    """

    def __init__(
        self,
        origin: str,
        faults: Mapping[str, Iterable[Fault | None]] | None = None,
        always: Mapping[str, Fault] | None = None,
    ) -> None:
        self._origin = urlsplit(origin)
        self._faults = {method: list(coming) for method, coming in (faults or {}).items()}
        self._always = always or {}
        self._methods: list[str] = []
        self._late: list[tuple[int, Request]] = []
        self._lock = threading.Lock()
        self._server = ScriptedServer(self._converse)

    @property
    def url(self) -> str:
        return self._server.url + self._origin.path

    def counted(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(self._methods)

    def close(self) -> None:
        self._server.close()

    def _converse(self, talk: Conversation) -> None:
        request = talk.read_request()
        method = str(loads(request.body)[1])
        with self._lock:
            self._methods.append(method)
            coming = self._faults.get(method)
            fault = coming.pop(0) if coming else self._always.get(method)
            self._late = [(calls - 1, late) for calls, late in self._late]
            due = [late for calls, late in self._late if calls == 0]
        for late in due:
            self.forwarded(late)
        if fault is None:
            talk.send(self.forwarded(request))
        else:
            fault(self, talk, request)

    def forwarded(self, request: Request) -> bytes:
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

    def forward_after(self, calls: int, request: Request) -> None:
        """Pass the request on before so many calls from now."""
        with self._lock:
            self._late.append((calls, request))


# --- faults ---------------------------------------------------------------------------------------------------------------


def cut(proxy: FaultyProxy, talk: Conversation, request: Request) -> None:
    """It is carried out, and the connection ends before the answer."""
    proxy.forwarded(request)


def halved(proxy: FaultyProxy, talk: Conversation, request: Request) -> None:
    """It is carried out, and half of the answer comes."""
    answer = proxy.forwarded(request)
    talk.send(answer[: len(answer) // 2])


def held_back(proxy: FaultyProxy, talk: Conversation, request: Request) -> None:
    """It is carried out, and the answer is held back for longer than the client waits."""
    proxy.forwarded(request)
    talk.closing.wait(PATIENCE)


def bad_gateway(proxy: FaultyProxy, talk: Conversation, request: Request) -> None:
    """It is carried out, and the proxy says that it has given up."""
    proxy.forwarded(request)
    talk.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


def dropped(proxy: FaultyProxy, talk: Conversation, request: Request) -> None:
    """The connection ends, and nothing is carried out."""


def late(calls: int) -> Fault:
    """The connection ends, and the busy cloud carries the request out before so many calls from then."""

    def fault(proxy: FaultyProxy, talk: Conversation, request: Request) -> None:
        proxy.forward_after(calls, request)

    return fault
