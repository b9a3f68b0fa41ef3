"""Requests over HTTP and HTTPS, with streamed answers.

The standard library's ``http.client`` is used directly below ``xmlrpc.client``'s marshalling: ``xmlrpc.client.Transport``
sends a request a second time by itself when the connection drops, and a second ``one.vm.allocate`` is a second machine.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from stratuslab.bounded_response import BoundedResponse, TooSlow
from stratuslab.cloud.endpoint import Credentials, Endpoint, host_in
from stratuslab.errors import AuthenticationError, PermissionDenied, StratusLabError, Unreachable, UsageError
from stratuslab.http_proxy import login_wanted, proxy_for

_CHUNK = 1 << 16
_TUNNEL_407 = "Tunnel connection failed: 407"  # the words of http.client


class NeverSent(Unreachable):
    """The request did not reach the cloud, so it can be sent again without harm."""

    nothing_done = True


class DroppedEarly(NeverSent):
    """The connection ended while it was being established, as happens with overloaded servers."""


class AnswerLost(Unreachable):
    """The request was sent but no complete answer came back: the cloud may have carried it out."""


class ConnectionDropped(AnswerLost):
    """The connection ended before any answer came, as happens with overloaded servers and flaky proxies."""


class HttpTransport:
    """Posts requests to an endpoint.

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

    def post(self, body: bytes) -> Iterator[bytes]:
        """Send one request and yield the answer's body in chunks.

        Raises NeverSent, AnswerLost, AuthenticationError (HTTP 401), PermissionDenied (403) or Unreachable.
        """
        url = urlsplit(self.endpoint.url)
        proxy = proxy_for(self.endpoint.url, self.environ)
        connection = self._connection(url, proxy)
        headers, target = self._headers(), url.path
        if proxy and url.scheme == "http":
            headers, target = {**headers, **_authorization_at(proxy)}, self.endpoint.url
        try:
            try:
                connection.connect()
            except (OSError, UnicodeError, http.client.HTTPException) as error:
                raise self._not_connected(error, proxy) from None
            yield from self._answer(connection, target, body, headers, proxy)
        finally:
            connection.close()

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        target: str,
        body: bytes,
        headers: Mapping[str, str],
        proxy: SplitResult | None,
    ) -> Iterator[bytes]:
        url, begun = self.endpoint.url, False
        try:
            # A server that closes the connection early has often sent the reason.
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                connection.request("POST", target, body, headers)
            response = connection.getresponse()
            if self.trace:
                self.trace(f"< HTTP {response.status} {response.reason}, {response.getheader('Content-Type', 'no type')}")
            if response.status != 200:
                if response.status == 407 and proxy:
                    raise NeverSent(*login_wanted(proxy), lasting=True)
                raise self._refused(response)
            begun = True
            while chunk := response.read1(_CHUNK):
                yield chunk
            if response.length:
                raise AnswerLost(f"the answer from {url} is incomplete: {response.length} bytes are missing")
        except TooSlow:
            raise AnswerLost(f"{url} answers too slowly, or without end", "see --timeout") from None
        except TimeoutError:
            raise AnswerLost(f"{url} sent no data for {self.timeout:g} s", "see --timeout") from None
        except http.client.IncompleteRead:
            raise AnswerLost(f"the answer from {url} is incomplete") from None
        except http.client.RemoteDisconnected:
            raise ConnectionDropped(f"{url} closed the connection without an answer") from None
        except http.client.HTTPException as error:
            raise AnswerLost(f"{url} does not speak HTTP ({type(error).__name__})") from None
        except OSError as error:
            if _about_certificate(error):
                # With TLS 1.3 the server checks our certificate only after the handshake seems complete to the client.
                raise self._certificate_refused(error) from None
            kind = AnswerLost if begun else ConnectionDropped
            raise kind(f"the connection to {url} broke: {_reason(error)}") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "text/xml", "User-Agent": "stratuslab", "Connection": "close"}
        host = urlsplit(self.endpoint.url).netloc
        if "%25" in host:
            # The zone means something on this computer only (RFC 6874); Python 3.10 would send it.
            headers["Host"] = re.sub(r"%25[^\]]*", "", host)
        if self.endpoint.basic:
            headers["Authorization"] = _basic(self.credentials.username, self.credentials.password)
        return headers

    def _connection(self, url: SplitResult, proxy: SplitResult | None) -> http.client.HTTPConnection:
        target = host_in(self.endpoint.url)
        host, port = (proxy.hostname or "", proxy.port or 80) if proxy else (target, url.port)
        if url.scheme == "http":
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        else:
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self._tls())
        connection.response_class = BoundedResponse
        if proxy and url.scheme == "https":
            connection.set_tunnel(target, url.port, headers=_authorization_at(proxy))
        return connection

    def _tls(self) -> ssl.SSLContext:
        try:
            if Path(self.ca_bundle or "-").is_dir():
                context = ssl.create_default_context(capath=self.ca_bundle)
            else:
                context = ssl.create_default_context(cafile=self.ca_bundle or None)
        except OSError as error:
            raise UsageError(f'the CA bundle "{self.ca_bundle}" cannot be used: {_reason(error)}') from None
        if self.credentials.certificate and not self.credentials.username:
            certificate, key = self.credentials.certificate, self.credentials.key or None
            try:
                context.load_cert_chain(certificate, key, password=_no_passphrase)
            except OSError as error:
                pair = f'"{certificate}" with the key "{key}"' if key else f'"{certificate}"'
                raise UsageError(
                    f"the certificate {pair} cannot be used: {_reason(error)}",
                    "see --pem-cert and --pem-key; the key must have no passphrase",
                ) from None
        return context

    def _not_connected(self, error: Exception, proxy: SplitResult | None) -> StratusLabError:
        url = self.endpoint.url
        if isinstance(error, ssl.SSLCertVerificationError):
            from stratuslab.certificate_error import certificate_hint

            return NeverSent(
                f"the TLS certificate of {url} is not trusted: {error.verify_message}",
                certificate_hint(error, "name its certificate with --ca-bundle FILE, the key ca_bundle or REQUESTS_CA_BUNDLE"),
                lasting=True,
            )
        if proxy and _TUNNEL_407 in str(error):
            return NeverSent(*login_wanted(proxy), lasting=True)
        if _about_certificate(error):
            return self._certificate_refused(error)
        if proxy is None and isinstance(error, (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return DroppedEarly(f"{url} dropped the connection while it was being established")
        if isinstance(error, ssl.SSLError):
            return NeverSent(f"cannot use TLS with {url}: {_reason(error)}", "is it an http:// endpoint?", lasting=True)
        via = f" through the proxy {proxy.hostname}:{proxy.port or 80}" if proxy else ""
        if isinstance(error, TimeoutError):
            return NeverSent(f"{url} does not answer{via} within {self.timeout:g} s", "see --endpoint and --timeout")
        unknown = isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        return NeverSent(f"cannot reach {url}{via}: {_reason(error)}", "see --endpoint", lasting=unknown)

    def _certificate_refused(self, error: Exception) -> StratusLabError:
        refused = AuthenticationError(
            f"{self.endpoint.url} rejected the TLS client certificate, or requires one: {_reason(error)}", "see --pem-cert"
        )
        refused.nothing_done = True
        return refused

    def _refused(self, response: http.client.HTTPResponse) -> StratusLabError:
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
        place = response.getheader("Location")
        hint = f"it redirects to {place[:200]}, see --endpoint" if place and 300 <= status < 400 else ""
        return Unreachable(f"{url} answers HTTP {status} {reason}", hint, lasting=300 <= status < 400)


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def _authorization_at(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    return {"Proxy-Authorization": _basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _about_certificate(error: Exception) -> bool:
    """Whether the server ended the TLS handshake because of the client certificate, or because there is none."""
    words = (getattr(error, "reason", None) or "").upper() if isinstance(error, ssl.SSLError) else ""
    return "ALERT" in words and ("CERTIFICATE" in words or "UNKNOWN_CA" in words)


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal, in the middle of a script.
    return ""


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError):
        text = re.sub(r"^\[.*?\] | \(_ssl\.c:\d+\)$", "", text)
    return "not a PEM file, or an incomplete one" if text == "PEM lib" else text
