"""The embedded cloud's HTTP server, based on the standard library's.

A connection is closed after its response. Before a user has logged in, a request has little time and takes little memory, see
:mod:`stratuslab.local.api.client_connections`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import re
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from stratuslab.environment import signals_handled
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.api.accounts import AUTH_FILE, Accounts, administrator_password
from stratuslab.local.api.client_connections import LOOPBACK, ClientConnections, Incoming, TooMuch, client_of
from stratuslab.local.api.http_application import MARKETPLACE_PATH, PROXY_PATH, RPC_PATH, HttpApplication
from stratuslab.local.api.http_request_response import HttpRequest, HttpResponse
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE, ServerProfile
from stratuslab.local.api.xmlrpc_wire import LARGEST_CALL
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.private_files import why
from stratuslab.version import __version__

HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
_SEND_SECONDS = 30.0
"""How long a request's head and body may take, and how long a client may take to read a part of its answer."""

_DISCARD_SECONDS = 5.0
_LARGEST_HEAD = 128 << 10
_SHUTDOWN_SECONDS = 3.0
_POLL_SECONDS = 0.05


class Urls(NamedTuple):
    """The URLs of a server: OpenNebula's XML-RPC, StratusLab's XML-RPC, the Marketplace."""

    rpc: str
    proxy: str
    marketplace: str

    @property
    def endpoint(self) -> str:
        """StratusLab's URL as in the configuration of its clients, which insert ``pswd`` before the last element."""
        return self.proxy.replace("/pswd/", "/")

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer can connect."""
        return client_of(urlsplit(self.rpc).hostname or "") == LOOPBACK

    def __str__(self) -> str:
        return f"{self.rpc} {self.endpoint} {self.marketplace}"


class _RequestHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: CloudServer

    def setup(self) -> None:
        super().setup()
        self._incoming = Incoming(self.connection, self.server.connections, _LARGEST_HEAD, HEAD_SECONDS)
        self.rfile = io.BufferedReader(self._incoming)

    def handle(self) -> None:
        try:
            super().handle()
        except TooMuch:
            self.send_error(431)

    def _respond(self) -> None:
        self._incoming.allow(LARGEST_CALL + 1, BODY_SECONDS)
        body = _Body(self.rfile, self.headers.get("Content-Length", ""))
        # Clients that use a proxy send a whole URL, as in HTTP/1.1.
        path, _, query = re.sub(r"\Ahttps?://[^/]*/?", "/", self.path, flags=re.IGNORECASE).partition("?")
        client = str(self.client_address[0])
        request = HttpRequest(unquote(path, errors="replace"), query, self.headers, self.command, client, body.read)
        try:
            response = self.server.respond(request)
        except ConnectionError:
            raise
        except Exception:
            self.send_error(500)
            raise
        self.server.connections.mark(self.connection, waits=True)
        self.connection.settimeout(_SEND_SECONDS)
        self.send_response(response.status)
        for name, value in {**response.headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.writelines(response.body)
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self._incoming.allow(LARGEST_CALL + 1, _DISCARD_SECONDS)
            body.discard()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _respond  # noqa: N815

    def version_string(self) -> str:
        return f"stratuslab/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class _Body:
    """The body of a request."""

    def __init__(self, stream: Any, length: str) -> None:
        self._stream = stream
        self._left = min(int(length), LARGEST_CALL) if length.isascii() and length.isdigit() and len(length) < 18 else 0

    def read(self, size: int) -> bytes:
        received: bytes = self._stream.read(min(size, self._left))
        self._left -= len(received)
        return received

    def discard(self) -> None:
        """Receive what nobody read: a connection that is closed before that is reset, and the client may not see the answer."""
        while self._left and (piece := self._stream.read1(min(1 << 16, self._left))):
            self._left -= len(piece)


class CloudServer(socketserver.ThreadingTCPServer):
    """A server that is bound to its port. :func:`open_server` creates it, :meth:`running` starts it."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, respond: Callable[[HttpRequest], HttpResponse]) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.respond = respond
        self.connections = ClientConnections()
        self._stopping = threading.Event()
        super().__init__((host, port), _RequestHandler)

    @property
    def urls(self) -> Urls:
        host, port = str(self.server_address[0]), self.server_address[1]
        base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return Urls(base + RPC_PATH, base + PROXY_PATH, base + MARKETPLACE_PATH)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.admit(request, str(client_address[0]), self._stopping.is_set):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.connections.leave(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect or send nothing."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    @contextlib.contextmanager
    def running(self) -> Iterator[Urls]:
        """Answer requests in a thread while the block runs. At its end, open requests have a few seconds to finish."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": _POLL_SECONDS}, daemon=True)
        thread.start()
        try:
            yield self.urls
        finally:
            self._stopping.set()
            self.shutdown()
            thread.join()
            self.server_close()
            self.connections.finish(_SHUTDOWN_SECONDS)


def open_server(
    engine: Engine,
    host: str,
    port: int,
    accounts: Accounts,
    profile: ServerProfile = DEFAULT_PROFILE,
    names: Iterable[str] = (),
) -> CloudServer:
    """A server bound to host and port (0 for any free one). Raises UsageError or StratusLabError if that fails.

    Clients may call it by the host's name and by ``names``, besides its addresses and this computer's own name.
    """
    try:
        here = socket.gethostname()
        known = {"localhost", host, here, here.partition(".")[0], *names}
        return CloudServer(host, port, HttpApplication(engine, accounts, profile, known).respond)
    except (OSError, OverflowError) as error:
        raise _explained(host, port, error) from error


def _explained(host: str, port: int, error: OSError | OverflowError) -> StratusLabError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return StratusLabError(f"port {port} of {host} is in use", "choose another one with --port, or 0 for any free one")
    if number == errno.EACCES:
        return StratusLabError(f"no permission to use port {port} of {host}", "choose one above 1023 with --port")
    if isinstance(error, OverflowError):
        return UsageError(f"invalid port {port}", "use a number from 0 to 65535")
    return UsageError(f"cannot listen on {host}: {why(error)}", "use an address of this computer for --host")


class Serving(NamedTuple):
    """A cloud that is being served. ``administrator`` is the file with the administrator's password if there are no users;
    ``wait`` waits for SIGINT or SIGTERM."""

    urls: Urls
    administrator: Path | None
    wait: Callable[[], object]


@contextlib.contextmanager
def serving(
    directory: Path,
    host: str,
    port: int,
    users: Mapping[str, str],
    environ: Mapping[str, str],
    profile: ServerProfile = DEFAULT_PROFILE,
    names: Iterable[str] = (),
) -> Iterator[Serving]:
    """Serve the cloud in a directory while the block runs. For the main thread, as SIGINT and SIGTERM end the wait.

    ``users`` are passwords by name; without any, the administrator logs in with the password in the directory's one_auth file.
    Raises StratusLabError or UsageError.
    """
    named = Accounts(users)
    engine = Engine(directory, environ=environ)
    accounts = named if users else Accounts({ADMINISTRATOR.name: administrator_password(directory)})
    stop = threading.Event()
    try:
        with (
            signals_handled(lambda *_: stop.set(), signal.SIGINT, signal.SIGTERM),
            open_server(engine, host, port, accounts, profile, names).running() as urls,
        ):
            engine.reconciler.reconcile()
            yield Serving(urls, None if users else directory / AUTH_FILE, stop.wait)
    finally:
        engine.close()
