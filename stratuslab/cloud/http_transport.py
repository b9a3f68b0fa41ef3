"""Requests over HTTP and HTTPS, with streamed answers, on connections that are kept where the server keeps them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from stratuslab.cloud.delivery_failures import AnswerLost, ConnectionDropped, DroppedEarly, NeverSent
from stratuslab.cloud.endpoint import Credentials, Endpoint, host_in
from stratuslab.cloud.persistent_connection import Closed, Head, HttpConnection, Incomplete, NotHTTP
from stratuslab.deadline_reader import TooSlow
from stratuslab.errors import AuthenticationError, PermissionDenied, StratusLabError, Unreachable
from stratuslab.http_proxy import login_wanted, proxy_for

if TYPE_CHECKING:
    from ssl import SSLContext

_PORTS = {"http": 80, "https": 443}
_LONGEST_IDLE = 5.0  # seconds; OpenNebula keeps a connection for 15, and has 15 for all its users together


class HttpTransport:
    """Posts requests to an endpoint; threads may share it, and each uses a connection of its own.

    ``timeout`` is the longest silence in seconds, while connecting or reading. ``ca_bundle`` names a file (or a directory as
    OpenSSL's rehash makes it) of certificates to trust instead of the system's. ``environ`` may name a proxy
    (``https_proxy``, ``http_proxy``, ``no_proxy``), whose URL may hold user and password.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        timeout: float,
        environ: Mapping[str, str],
        *,
        ca_bundle: str = "",
        trace: Callable[[str], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.credentials = credentials
        self.timeout = timeout
        self.environ = environ
        self.ca_bundle = ca_bundle
        self.trace = trace
        self._idle: list[tuple[float, HttpConnection]] = []  # since when, on the monotonic clock
        self._tls: SSLContext | None = None

    def __del__(self) -> None:
        for _, connection in self.__dict__.get("_idle", ()):
            connection.close()

    def post(self, body: bytes, *, once: bool = False) -> Iterator[bytes]:
        """Send one request and yield the answer's body in pieces. What must not be sent twice goes (``once``) on a new
        connection, in the place of an idle one, which a server may close in the very moment: nobody would know what it has read.

        Raises NeverSent, AnswerLost, AuthenticationError (HTTP 401), PermissionDenied (403) or Unreachable.
        """
        proxy = proxy_for(self.endpoint.url, self.environ)
        kept = self._kept()
        if kept is not None and once:
            kept.close()  # each open one takes a place at the server, which has 15, until it has been idle for 15 s
        elif kept is not None:
            try:
                yield from self._answer(kept, body, proxy)
                return
            except ConnectionDropped:
                pass  # the server closed it just now
        yield from self._answer(self._connected(proxy), body, proxy)

    def _kept(self) -> HttpConnection | None:
        """The connection that was used last, if there is one and it is still open."""
        with contextlib.suppress(IndexError):
            while True:
                since, connection = self._idle.pop()
                if time.monotonic() - since < _LONGEST_IDLE and not connection.is_stale:
                    return connection
                connection.close()
        return None

    def _answer(self, connection: HttpConnection, body: bytes, proxy: SplitResult | None) -> Iterator[bytes]:
        url, begun = self.endpoint.url, False
        try:
            head, pieces = connection.post(*self._request_head(proxy), body)
            if self.trace:
                self.trace(f"< HTTP {head.status} {head.reason}, {head.headers.get('content-type', 'no type')}")
            if head.status != 200:
                if head.status == 407 and proxy:
                    raise NeverSent(*login_wanted(proxy), lasting=True)
                raise self._refused(head)
            begun = True
            yield from pieces
            if connection.is_reusable:
                self._idle.append((time.monotonic(), connection))
        except TooSlow:
            raise AnswerLost(f"{url} answers too slowly, or without end", "see --timeout") from None
        except TimeoutError:
            raise AnswerLost(f"{url} sent no data for {self.timeout:g} s", "see --timeout") from None
        except Incomplete as error:
            raise AnswerLost(f"the answer from {url} is incomplete{error}") from None
        except Closed:
            raise ConnectionDropped(f"{url} closed the connection without an answer") from None
        except NotHTTP as error:
            raise AnswerLost(f"{url} does not speak HTTP ({error})") from None
        except OSError as error:
            if self._tls is not None:
                from stratuslab.cloud.tls import certificate_refused

                # With TLS 1.3 the server checks our certificate only after the handshake seems complete to the client.
                if refused := certificate_refused(error, url):
                    raise refused from None
            kind = AnswerLost if begun else ConnectionDropped
            raise kind(f"the connection to {url} broke: {_reason(error)}") from None
        finally:
            if not connection.is_reusable:
                connection.close()

    def _request_head(self, proxy: SplitResult | None) -> tuple[str, dict[str, str]]:
        """The request's target and headers."""
        url = urlsplit(self.endpoint.url)
        # The zone of an address means something on this computer only (RFC 6874).
        host = re.sub(r"%25[^\]]*", "", url.netloc)
        headers = {"Host": host, "Content-Type": "text/xml", "User-Agent": "stratuslab", "Connection": "keep-alive"}
        if self.endpoint.basic:
            headers["Authorization"] = _basic(self.credentials.username, self.credentials.password)
        if proxy and url.scheme == "http":
            return self.endpoint.url, {**headers, **_authorization_at(proxy)}
        return url.path, headers

    def _connected(self, proxy: SplitResult | None) -> HttpConnection:
        """A new connection."""
        url = urlsplit(self.endpoint.url)
        host, port = host_in(self.endpoint.url), url.port or _PORTS[url.scheme]
        connection = None
        try:
            if url.scheme == "https" and self._tls is None:
                from stratuslab.cloud.tls import client_context

                self._tls = client_context(self.ca_bundle, self.credentials)
            place = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
            connection = HttpConnection(*place, self.timeout)
            if self._tls is not None:
                if proxy:
                    self._tunnel(connection, host, port, proxy)
                connection.use_tls(self._tls, host)
            return connection
        except (OSError, UnicodeError) as error:
            if connection is not None:
                connection.close()
            raise self._not_connected(error, proxy) from None

    def _tunnel(self, connection: HttpConnection, host: str, port: int, proxy: SplitResult) -> None:
        try:
            head = connection.tunnel(host, port, _authorization_at(proxy))
        except (NotHTTP, Incomplete):
            raise OSError("it does not answer as an HTTP proxy") from None
        if head.status == 407:
            raise NeverSent(*login_wanted(proxy), lasting=True)
        if head.status != 200:
            raise OSError(f"it answers HTTP {head.status} {head.reason}")

    def _not_connected(self, error: Exception, proxy: SplitResult | None) -> StratusLabError:
        url = self.endpoint.url
        if self._tls is not None:
            from stratuslab.cloud.tls import handshake_error

            if failed := handshake_error(error, url, by_proxy=proxy is not None):
                return failed
        elif proxy is None and isinstance(error, ConnectionResetError):
            return DroppedEarly(f"{url} dropped the connection while it was being established")
        via = f" through the proxy {proxy.hostname}:{proxy.port or 80}" if proxy else ""
        if isinstance(error, TimeoutError):
            return NeverSent(f"{url} does not answer{via} within {self.timeout:g} s", "see --endpoint and --timeout")
        import socket

        unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        return NeverSent(f"cannot reach {url}{via}: {_reason(error)}", "see --endpoint", lasting=unknown)

    def _refused(self, response: Head) -> StratusLabError:
        url, status, reason = self.endpoint.url, response.status, response.reason
        if status == 401:
            return AuthenticationError("the credentials were rejected (HTTP 401)")
        if status == 403:
            return PermissionDenied(f"{url} does not allow this (HTTP 403)")
        if status in (404, 405):
            return Unreachable(
                f"{url} does not speak XML-RPC (HTTP {status} {reason})",
                "usually http://HOST:2633/RPC2 for OpenNebula, https://HOST:2634/xmlrpc for StratusLab",
                lasting=True,
            )
        place = response.headers.get("location")
        hint = f"it redirects to {place[:200]}, see --endpoint" if place and 300 <= status < 400 else ""
        return Unreachable(f"{url} answers HTTP {status} {reason}", hint, lasting=300 <= status < 400)


def _basic(user: str, password: str) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def _authorization_at(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    from urllib.parse import unquote

    return {"Proxy-Authorization": _basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
