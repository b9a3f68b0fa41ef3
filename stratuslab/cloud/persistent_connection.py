"""An HTTP connection that POST requests follow one another on.

This is what XML-RPC needs of HTTP/1.1: a body of known length is sent, an answer of known length, in chunks, or up to the end of
the connection comes back. ``http.client`` can much more, and loading it, with all of TLS and email, takes longer than everything
else that a command does for a small answer.
"""

import re
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.deadline_reader import DeadlineReader

if TYPE_CHECKING:
    from ssl import SSLContext

_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 100
_PIECE = 1 << 16


class NotHTTP(Exception):
    """What came is not an HTTP response; the text says which part of it."""


class Closed(ConnectionError):
    """The connection was closed before a response came."""


class Incomplete(Exception):
    """The connection ended in the middle of a response; the text says how much of the body did not come, if that is known."""


class Head(NamedTuple):
    """The head of a response; the names of ``headers`` are in lower case."""

    version: str
    status: int
    reason: str
    headers: Mapping[str, str]

    @property
    def keeps_connection(self) -> bool:
        words = self.headers.get("connection", "").lower()
        return "close" not in words and (self.version == "1.1" or "keep-alive" in words)


class HttpConnection:
    """A connection to ``host``. ``silence`` is how long the server may send nothing, in seconds.

    Besides what they name, the methods raise OSError.
    """

    def __init__(self, host: str, port: int, silence: float) -> None:
        self.is_reusable = False
        self._silence = silence
        self._socket = socket.create_connection((host, port), silence)
        with suppress(OSError):  # reset already: sending fails too
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def use_tls(self, context: "SSLContext", host: str) -> None:
        """Go on with TLS, and check the server's certificate."""
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def close(self) -> None:
        self._socket.close()

    @property
    def is_stale(self) -> bool:
        """Whether the server closed the connection meanwhile, or sent what nobody asked for."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(0))

    def tunnel(self, host: str, port: int, headers: Mapping[str, str]) -> Head:
        """Ask a proxy for a tunnel to ``host``; its answer. Raises NotHTTP, Closed or Incomplete."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._send("CONNECT", place, {"Host": place, **headers}, b"")
        return self._head(self._reader())

    def post(self, target: str, headers: Mapping[str, str], body: bytes) -> tuple[Head, Iterator[bytes]]:
        """Send a request; the response's head, and its body in pieces as they arrive.

        Raises NotHTTP, Closed or Incomplete, and so does reading the body.
        """
        self.is_reusable = False
        broken = None
        try:
            self._send("POST", target, {**headers, "Content-Length": str(len(body))}, body)
        except TimeoutError:
            raise
        except OSError as error:
            broken = error  # a server that closes the connection early has often sent the reason
        reader = self._reader()
        try:
            head = self._head(reader)
        except Closed:
            if broken is not None:
                raise broken from None
            raise
        reader.restart()
        return head, self._body(head, reader)

    def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._socket.settimeout(self._silence)
        self._socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def _reader(self) -> DeadlineReader:
        return DeadlineReader(self._socket.makefile("rb", buffering=0), self._socket, self._silence)

    def _head(self, reader: DeadlineReader) -> Head:
        while True:
            line = reader.readline(_LONGEST_LINE)
            if not line:
                raise Closed("the connection was closed without a response")
            begin = re.fullmatch(r"HTTP/(1\.[01]) +([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n", line.decode("latin-1"))
            if begin is None:
                raise NotHTTP("its status line")
            headers = _headers(reader)
            if not begin[2].startswith("1"):  # 1xx: the response follows
                return Head(begin[1], int(begin[2]), (begin[3] or "").strip(), headers)

    def _body(self, head: Head, reader: DeadlineReader) -> Iterator[bytes]:
        length = head.headers.get("content-length", "")
        if "chunked" in head.headers.get("transfer-encoding", "").lower():
            while size := _chunk_size(reader):
                yield from _exactly(reader, size)
                if reader.readline(_LONGEST_LINE).strip():
                    raise NotHTTP("the end of a chunk")
            _headers(reader)
        elif length.isascii() and length.isdigit() and len(length) < 16:
            yield from _exactly(reader, int(length))
        else:
            while piece := reader.read1(_PIECE):
                yield piece
            return
        self.is_reusable = head.keeps_connection


def _headers(reader: DeadlineReader) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(_MOST_HEADERS):
        line = reader.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise NotHTTP("a long header") if len(line) == _LONGEST_LINE else Incomplete()
        if not line.strip():
            return found
        name, _, value = line.decode("latin-1").partition(":")
        found[name.strip().lower()] = value.strip()
    raise NotHTTP("too many headers")


def _chunk_size(reader: DeadlineReader) -> int:
    line = reader.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise Incomplete
    size = re.match(rb"\s*([0-9A-Fa-f]{1,12})\s*(;|$)", line)
    if size is None:
        raise NotHTTP("the size of a chunk")
    return int(size[1], 16)


def _exactly(reader: DeadlineReader, size: int) -> Iterator[bytes]:
    while size:
        piece = reader.read1(min(size, _PIECE))
        if not piece:
            raise Incomplete(f": {size} bytes are missing")
        size -= len(piece)
        yield piece
