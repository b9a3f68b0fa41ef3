"""Servers that do what a test tells them, over real sockets: any shape of HTTP answer, TLS in front, a proxy between."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import repeat

PATIENCE = 10.0
"""Seconds after which a server that waits for its client gives up: no test may hang."""


@dataclass(frozen=True)
class Request:
    """One HTTP request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Conversation:
    """One connection of a client."""

    socket: socket.socket
    closing: threading.Event
    requests: list[Request] = field(default_factory=list)
    certificate: object = None

    def read_request(self) -> Request:
        """Read a whole request and remember it."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += self._receive()
        request = Request(method, target, headers, body)
        self.requests.append(request)
        return request

    def _receive(self) -> bytes:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the client went away")
        return data

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reset(self) -> None:
        """End the connection with a reset instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Answer = Callable[[Conversation], object]
"""What a server does with one connection; the connection is closed afterwards."""


class ScriptedServer:
    """Answers its first connection with the first answer of the script, and so on; the last one is for all that follow.

    ``requests`` holds what arrived, ``certificates`` the client certificates that were shown.
    """

    def __init__(self, *script: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.certificates: list[object] = []
        self._tls = tls
        self._connections = 0
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections came."""
        return self._connections

    def close(self) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                answer = self.script[min(self._connections, len(self.script) - 1)]
                self._connections += 1
            thread = threading.Thread(target=self._serve, args=(client, answer), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, answer: Answer) -> None:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The client hangs up on what it does not like; that is what the tests are about.
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            conversation = Conversation(client, self._closing, self.requests)
            if isinstance(client, ssl.SSLSocket):
                self.certificates.append(client.getpeercert())
            answer(conversation)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()


Scripted = Callable[..., ScriptedServer]
"""What the fixture ``scripted`` is."""


def head(status: str = "200 OK", **headers: object) -> bytes:
    """A status line and headers; ``_`` in a name stands for ``-``. It says that the connection will be closed, unless told
    otherwise."""
    stated = {"Connection": "close", **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in stated.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def document(body: bytes, status: str = "200 OK", kind: str = "text/xml", **headers: object) -> Answer:
    """A whole answer with its length."""
    return raw(head(status, Content_Type=kind, Content_Length=len(body), **headers) + body)


def raw(data: bytes) -> Answer:
    """These bytes, once the request was read."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(data)

    return answer


def without_length(body: bytes) -> Answer:
    """An answer that ends where the connection ends."""
    return raw(head(Content_Type="text/xml") + body)


def half(body: bytes, length: int) -> Answer:
    """An answer that announces ``length`` bytes and brings only these."""
    return raw(head(Content_Type="text/xml", Content_Length=length) + body)


def chunked(pieces: Iterable[bytes], *, finished: bool = True) -> Answer:
    """An answer in HTTP's chunked coding; unfinished, it lacks the last chunk."""
    coded = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return raw(head(Content_Type="text/xml", Transfer_Encoding="chunked") + coded + (b"0\r\n\r\n" if finished else b""))


def byte_by_byte(data: bytes) -> Answer:
    """An answer, head included, of which every byte is sent by itself."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        for byte in data:
            conversation.send(bytes([byte]))

    return answer


def stream(begin: bytes, pieces: Iterable[bytes], first: bytes = head(Content_Type="text/xml")) -> Answer:
    """An answer that is made while it is sent, until the client has had enough; ``first`` is its head."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(first + begin)
        for piece in pieces:
            conversation.send(piece)

    return answer


def endless(begin: bytes, piece: bytes, first: bytes = head(Content_Type="text/xml")) -> Answer:
    """An answer that never ends: ``begin``, then ``piece`` again and again."""
    return stream(begin, repeat(piece), first)


def hangs(conversation: Conversation) -> None:
    """Read the request and fall silent until the test is over."""
    conversation.read_request()
    conversation.closing.wait(PATIENCE)


def hangs_in_the_middle(data: bytes) -> Answer:
    """Send the beginning of an answer and fall silent until the test is over."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(data)
        conversation.closing.wait(PATIENCE)

    return answer


def closes_unread(conversation: Conversation) -> None:
    """Drop the connection before anything was read."""
    conversation.reset()


def closes(conversation: Conversation) -> None:
    """Read the request and close the connection in good order."""
    conversation.read_request()


def resets(conversation: Conversation) -> None:
    """Read the request and reset the connection."""
    conversation.read_request()
    conversation.reset()


def resets_after(data: bytes) -> Answer:
    """Send the beginning of an answer and reset the connection."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(data)
        conversation.reset()

    return answer


def forwards(conversation: Conversation) -> None:
    """A proxy: tunnels after CONNECT, else passes on one request that names its whole URL."""
    request = conversation.read_request()
    if request.method == "CONNECT":
        _tunnel(conversation, request.target)
        return
    location, _, path = request.target.removeprefix("http://").partition("/")
    host, _, port = location.rpartition(":")
    lines = [f"{request.method} /{path} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    with socket.create_connection((host, int(port)), PATIENCE) as origin:
        origin.sendall("\r\n".join([*lines, "", ""]).encode() + request.body)
        _pass_on(origin, conversation.socket)


def _tunnel(conversation: Conversation, target: str) -> None:
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as origin:
        conversation.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_pass_on, args=(origin, conversation.socket), daemon=True)
        back.start()
        _pass_on(conversation.socket, origin)
        back.join(PATIENCE)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
