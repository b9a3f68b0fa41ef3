"""Requests to a Marketplace: in bounded time and size, with their errors in our words."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from stratuslab.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    StratusLabError,
    Unreachable,
    UsageError,
)
from stratuslab.known_settings import LOCAL_MARKETPLACE
from stratuslab.marketplace import http_get
from stratuslab.marketplace.metadata import MAXIMUM_SIZE, is_web_page
from stratuslab.url_credentials import shown, split_login

if TYPE_CHECKING:
    import requests

NOT_MODIFIED = 304

CHOOSE = "choose another with --marketplace-endpoint"

_HEADERS = {"Accept": "application/rdf+xml, application/xml;q=0.9"}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_CONNECT_TIMEOUT = 10.0

_Found = TypeVar("_Found")
_HOST = re.compile(r"(?:[^\W_](?:[\w.-]*\w)?\.?|\[[0-9A-Fa-f:.]+(?:%25[\w.-]+)?\])\Z")
_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f<>\"\\]")


def normalise_endpoint(text: str) -> str:
    """The Marketplace's base URL: ``https://`` is added to a bare host, trailing slashes are removed.

    ``local`` and ``local://marketplace`` are the Marketplace inside this package. Raises UsageError for an invalid address.
    """
    endpoint = text.strip().rstrip("/")
    if endpoint in ("local", LOCAL_MARKETPLACE):
        return LOCAL_MARKETPLACE
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    try:
        parts = urlsplit(endpoint)
        # Reading the port is what checks it.
        is_host = _HOST.match(parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}")) and parts.port != 0
    except ValueError:
        is_host = False
    if not is_host or parts.scheme not in ("http", "https") or parts.query or parts.fragment or _UNUSABLE.search(endpoint):
        raise UsageError(f"{shown(text)[:200]!r} is not the address of a Marketplace", "expected a host name or an http(s) URL")
    return endpoint


class MarketplaceConnection:
    """The way to the Marketplace at an endpoint (a base URL or a bare host).

    ``timeout`` limits a whole request in seconds: name service, connection, complete answer. ``verify`` is as in requests:
    True (then REQUESTS_CA_BUNDLE counts as well), False, or a file or directory of CA certificates. Without a
    ``session`` one is created on demand. ``environ`` may name proxies. ``trace`` gets a line for each request and response.

    Methods raise NotFound if the Marketplace does not have what is requested, Unreachable if no Marketplace answers in time,
    AuthenticationError or PermissionDenied if it requires other credentials.
    """

    def __init__(
        self,
        endpoint: str,
        timeout: float,
        *,
        verify: bool | str = True,
        session: requests.Session | None = None,
        environ: Mapping[str, str] = os.environ,
        trace: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.endpoint, self._login = split_login(normalise_endpoint(endpoint))
        """The base URL, without the user and password that it may have been given with: this one may be shown."""
        self.user = self._login[0] if self._login else ""
        self.local = self.endpoint == LOCAL_MARKETPLACE
        self._timeout = timeout
        self._verify = verify
        self._session = session
        self._environ = environ
        self.trace = trace
        self._begin = 0.0

    def answer(
        self, what: str, *urls: str, headers: Mapping[str, str] = _NO_HEADERS, form: Mapping[str, str] | None = None
    ) -> bytes:
        """The whole answer from the first of the URLs that the Marketplace has, in one time-out. ``what`` is for the error."""

        def ask(url: str) -> bytes:
            response = self._open(url, what, headers, form)
            body = b"".join(self.pieces(response, "answer", MAXIMUM_SIZE))
            if len(body) < (http_get.announced_size(response) or 0):
                # urllib3 notices this itself since its version 2.
                raise self._unreachable("its answer was incomplete", "try again")
            return body

        def ask_all() -> bytes:
            for url in urls[:-1]:
                with suppress(NotFound):
                    return ask(url)
            return ask(urls[-1])

        body = self._in_time(ask_all)
        if is_web_page(body):
            raise self._unreachable("it answers with a web page", f"is this the Marketplace's address? {CHOOSE}")
        return body

    def opened(self, what: str, url: str, headers: Mapping[str, str] = _NO_HEADERS) -> requests.Response:
        """The answer, of which the body is not read yet; its status is 304 at most if a header is a condition."""
        return self._in_time(lambda: self._open(url, what, headers, None))

    def pieces(self, response: requests.Response, what: str, largest: int) -> Iterator[bytes]:
        """The body, as it arrives. The pace of an answer is bounded by the connection, its size here."""
        size = 0
        with self._errors_translated(), response:
            for chunk in response.iter_content(1 << 16):
                size += len(chunk)
                if size > largest:
                    raise self._unreachable(f"its {what} is larger than {largest >> 20} MiB")
                yield chunk
        self.trace(f"< {size} bytes in {time.monotonic() - self._begin:.3f} s")

    def _in_time(self, work: Callable[[], _Found]) -> _Found:
        """What a request gives. Raises Unreachable after the time-out.

        A socket's time-outs limit each step but not their sum, and do not limit the name service. So the request runs in a
        thread that is abandoned when it is late; it ends by its own time-outs, or with the process.
        """
        if self.local:
            return work()
        from concurrent.futures import Future
        from concurrent.futures import TimeoutError as Late

        future: Future[_Found] = Future()

        def ask() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=ask, name="marketplace", daemon=True).start()
        try:
            return future.result(self._timeout)
        except Late:
            raise self._late(self._timeout) from None

    def _late(self, seconds: float) -> Unreachable:
        return self._unreachable(f"no answer within {seconds:g} s", f"try again later, or {CHOOSE}")

    def _unreachable(self, why: str, hint: str = CHOOSE) -> Unreachable:
        return Unreachable(f"cannot use the Marketplace {self.endpoint}: {why}", hint)

    def _open(self, url: str, what: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> requests.Response:
        """Send the request and follow redirects, but never from https to http or away from HTTP. The body is unread."""
        from stratuslab.response_deadline import bounded_session

        if self._session is None:
            self._session = bounded_session()
        self._begin = time.monotonic()
        with self._errors_translated():
            response = http_get.get(
                self._session,
                url,
                {**_HEADERS, **headers},
                timeout=(min(self._timeout, _CONNECT_TIMEOUT), self._timeout),
                login=self._login,
                verify=self._verify,
                environ=self._environ,
                trace=self.trace,
                form=form,
            )
        status = response.status_code
        if status == 200 or (status == NOT_MODIFIED and headers.keys() & {"If-None-Match", "If-Modified-Since"}):
            return response
        response.close()
        raise self._refusal(status, response.reason or "", what)

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        import requests

        try:
            yield
        except http_get.NotFollowed as error:
            raise self._unreachable(str(error)) from None
        except requests.RequestException as error:
            raise self._translated(error) from error
        except OSError as error:
            # requests raises this, without a number, if a file of certificates does not exist.
            if error.errno is not None:
                raise
            raise ConfigurationError(f"cannot use the Marketplace {self.endpoint}: {error}") from error

    def _translated(self, error: requests.RequestException) -> StratusLabError:
        from requests import exceptions

        from stratuslab.marketplace.http_failure import explained, is_late

        if isinstance(error, (exceptions.InvalidURL, exceptions.InvalidSchema, exceptions.MissingSchema)):
            return UsageError(f"{self.endpoint} is not the address of a Marketplace", CHOOSE)
        if isinstance(error, exceptions.ConnectTimeout):
            return self._late(min(self._timeout, _CONNECT_TIMEOUT))
        if is_late(error):
            return self._late(self._timeout)
        return self._unreachable(*explained(error, CHOOSE))

    def _refusal(self, status: int, reason: str, what: str) -> StratusLabError:
        if status in (404, 410):
            hint = "check the identifier, or find an image with stratus-search-image"
            return NotFound(f"no {what} in the Marketplace {self.endpoint}", hint)
        if status == 401:
            return AuthenticationError(f"the Marketplace {self.endpoint} requires a valid user name and password", CHOOSE)
        if status == 403:
            return PermissionDenied(
                f"the Marketplace {self.endpoint} does not let you read {what.removeprefix('image ')}", CHOOSE
            )
        return self._unreachable(f"it answered {status} {reason}".rstrip(), "try again later" if status >= 500 else CHOOSE)
