"""The transport over HTTP and HTTPS: one request, one streamed answer.

The standard library's ``http.client`` is used directly below ``xmlrpc.client``'s marshalling: ``xmlrpc.client.Transport``
sends a request a second time by itself when the connection drops, and a second ``one.vm.allocate`` is a second machine.
"""

from __future__ import annotations

import http.client
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stratuslab.cloud.endpoint import Credentials, Endpoint
from stratuslab.errors import AuthenticationError, PermissionDenied, StratusLabError, Unreachable, UsageError

if TYPE_CHECKING:
    import ssl

_CHUNK = 1 << 16


class NeverSent(Unreachable):
    """The request did not reach the cloud, so it can be sent again without harm."""


class AnswerLost(Unreachable):
    """The request was sent and no whole answer came back: the cloud may have carried it out."""


class ConnectionDropped(AnswerLost):
    """The connection ended before an answer came, as overloaded servers and flaky proxies end it."""


@dataclass(frozen=True)
class HttpTransport:
    """Posts requests to an endpoint.

    ``timeout`` is the longest silence in seconds, of connecting as of reading. ``ca_bundle`` names a file of certificates
    that is trusted instead of the system's. ``environ`` is asked for a proxy (``https_proxy``, ``http_proxy``, ``no_proxy``).
    """

    endpoint: Endpoint
    credentials: Credentials
    timeout: float
    environ: Mapping[str, str]
    ca_bundle: str = ""
    trace: Callable[[str], None] | None = None

    def post(self, body: bytes) -> Iterator[bytes]:
        """Send one request; the pieces of the answer's body.

        Raises NeverSent, AnswerLost, AuthenticationError (HTTP 401), PermissionDenied (403) or Unreachable.
        """
        connection, target = self._connection()
        try:
            try:
                connection.connect()
            except OSError as error:
                raise self._not_connected(error) from None
            yield from self._answer(connection, target, body)
        finally:
            connection.close()

    def _answer(self, connection: http.client.HTTPConnection, target: str, body: bytes) -> Iterator[bytes]:
        try:
            connection.request("POST", target, body, self._headers())
            response = connection.getresponse()
            if self.trace:
                self.trace(f"< HTTP {response.status} {response.reason}, {response.getheader('Content-Type', 'no type')}")
            if response.status != 200:
                raise self._refused(response.status, response.reason)
            while chunk := response.read1(_CHUNK):
                yield chunk
            if response.length:
                raise AnswerLost(f"the answer of {self.endpoint.url} broke off, {response.length} bytes are missing")
        except TimeoutError:
            raise AnswerLost(f"{self.endpoint.url} fell silent for {self.timeout:g} s", "see --timeout") from None
        except http.client.RemoteDisconnected:
            raise ConnectionDropped(f"{self.endpoint.url} closed the connection without an answer") from None
        except http.client.HTTPException as error:
            raise AnswerLost(f"{self.endpoint.url} does not speak HTTP ({type(error).__name__})") from None
        except OSError as error:
            raise ConnectionDropped(f"the connection to {self.endpoint.url} broke: {_reason(error)}") from None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "text/xml", "User-Agent": "stratuslab", "Connection": "close"}
        if self.endpoint.basic:
            pair = f"{self.credentials.username}:{self.credentials.password}".encode()
            headers["Authorization"] = "Basic " + b64encode(pair).decode("ascii")
        return headers

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        url = urlsplit(self.endpoint.url)
        assert url.hostname is not None
        secure = url.scheme == "https"
        proxy = self._proxy(url.scheme, url.hostname)
        host, port = (proxy[0], proxy[1]) if proxy else (url.hostname, url.port)
        connection: http.client.HTTPConnection
        if secure:
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self._tls())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        if proxy and secure:
            connection.set_tunnel(url.hostname, url.port)
        return connection, self.endpoint.url if proxy and not secure else url.path

    def _proxy(self, scheme: str, host: str) -> tuple[str, int] | None:
        if not any(name.lower().endswith("_proxy") for name in self.environ):
            return None
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # documented, not in typeshed

        found = {name.lower()[:-6]: value for name, value in self.environ.items() if name.lower().endswith("_proxy") and value}
        if scheme not in found or proxy_bypass_environment(host, found):
            return None
        proxy = urlsplit(found[scheme] if "://" in found[scheme] else f"http://{found[scheme]}")
        if not proxy.hostname:
            raise UsageError(f"{scheme}_proxy names no host")
        return proxy.hostname, proxy.port or 80

    def _tls(self) -> ssl.SSLContext:
        import ssl

        try:
            context = ssl.create_default_context(cafile=self.ca_bundle or None)
        except OSError as error:
            raise UsageError(f'the CA bundle "{self.ca_bundle}" cannot be used: {_reason(error)}') from None
        if self.credentials.certificate and not self.credentials.username:
            certificate, key = self.credentials.certificate, self.credentials.key or None
            try:
                context.load_cert_chain(certificate, key, password=_no_passphrase)
            except OSError as error:
                raise UsageError(
                    f'the certificate "{certificate}" with the key "{key}" cannot be used: {_reason(error)}',
                    "see --pem-cert and --pem-key; the key must have no passphrase",
                ) from None
        return context

    def _not_connected(self, error: OSError) -> StratusLabError:
        import ssl

        url = self.endpoint.url
        if isinstance(error, ssl.SSLCertVerificationError):
            return NeverSent(
                f"the TLS certificate of {url} is not to be trusted: {error.verify_message}",
                "a private authority is named by --ca-bundle FILE, the key ca_bundle or REQUESTS_CA_BUNDLE",
            )
        if isinstance(error, ssl.SSLError):
            return NeverSent(f"no TLS with {url}: {_reason(error)}", "is it an http:// endpoint, or a client certificate asked?")
        if isinstance(error, TimeoutError):
            return NeverSent(f"{url} does not answer within {self.timeout:g} s", "see --endpoint and --timeout")
        return NeverSent(f"{url} cannot be reached: {_reason(error)}", "see --endpoint")

    def _refused(self, status: int, reason: str) -> StratusLabError:
        url = self.endpoint.url
        if status == 401:
            return AuthenticationError(f"{url} does not accept the credentials (HTTP 401)")
        if status == 403:
            return PermissionDenied(f"{url} does not allow this (HTTP 403)")
        if status in (404, 405):
            return Unreachable(
                f"nothing at {url} speaks XML-RPC (HTTP {status} {reason})",
                "OpenNebula's usual form is http://HOST:2633/RPC2, StratusLab's https://HOST:2634/xmlrpc",
            )
        return Unreachable(f"{url} answers HTTP {status} {reason}")


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal, in the middle of a script.
    return ""


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
