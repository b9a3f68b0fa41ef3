"""A client of the Marketplace's REST interface: ``GET <endpoint>/metadata/<identifier>`` returns an image's metadata."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode, urlsplit

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
from stratuslab.marketplace.catalogue_stream import read_catalogue
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.marketplace.image_query import ImageQuery
from stratuslab.marketplace.metadata import MAXIMUM_SIZE, Metadata, is_web_page, read
from stratuslab.marketplace.table_search import Hit, form_of, hits_of
from stratuslab.url_credentials import shown, split_login

if TYPE_CHECKING:
    import requests

    from stratuslab.marketplace.catalogue_cache import CachedCatalogue, CatalogueCache

_HEADERS = {"Accept": "application/rdf+xml, application/xml;q=0.9"}
_CONNECT_TIMEOUT = 10.0

LARGEST_CATALOGUE = 1 << 29
"""Bytes of a whole catalogue that are read at most; 50,000 entries have about 150 MB."""

_NOT_MODIFIED = 304

_Found = TypeVar("_Found")
_HOST = re.compile(r"(?:[^\W_](?:[\w.-]*\w)?\.?|\[[0-9A-Fa-f:.]+(?:%25[\w.-]+)?\])\Z")
_CHOOSE = "choose another with --marketplace-endpoint"


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
        host = parts.netloc.rpartition("@")[2]
        # Reading the port is what checks it.
        name = host[: -len(f":{parts.port}")] if parts.port is not None else host
    except ValueError:
        raise _no_address(text) from None
    if parts.scheme not in ("http", "https") or not _HOST.match(name) or parts.port == 0:
        raise _no_address(text)
    if parts.query or parts.fragment or re.search(r"[\s\x00-\x1f\x7f<>\"\\]", endpoint):
        raise _no_address(text)
    return endpoint


def _no_address(text: str) -> UsageError:
    return UsageError(f"{shown(text)[:200]!r} is not the address of a Marketplace", "expected a host name or an http(s) URL")


class Marketplace:
    """A Marketplace at an endpoint (a base URL or a bare host).

    ``timeout`` limits a whole request in seconds: name service, connection, complete answer. ``verify`` is as in requests:
    True (then REQUESTS_CA_BUNDLE counts as well), False, or a file or directory of CA certificates. Without a
    ``session`` one is created on demand. ``environ`` may name proxies.
    ``trace`` gets a line for each request and response. ``cache`` keeps catalogues on disk.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        timeout: float,
        verify: bool | str = True,
        session: requests.Session | None = None,
        environ: Mapping[str, str] = os.environ,
        trace: Callable[[str], None] | None = None,
        cache: CatalogueCache | None = None,
    ) -> None:
        self.endpoint, self._login = split_login(normalise_endpoint(endpoint))
        """The base URL, without the user and password that it may have been given with: this one may be shown."""
        self._timeout = timeout
        self._verify = verify
        self._session = session
        self._environ = environ
        self._trace = trace or (lambda line: None)
        self._cache = cache if self.endpoint != LOCAL_MARKETPLACE else None
        self.as_of: datetime | None = None
        """From when the last search's answer is, if the Marketplace was not reachable; None if it is current."""

    def url(self, identifier: str) -> str:
        """The URL of an image's metadata, without user and password because it becomes part of templates."""
        return f"{self.endpoint}/metadata/{quote(identifier, safe='')}"

    def search(self, query: ImageQuery, now: datetime | None = None) -> Iterator[Metadata]:
        """The entries that match, in the Marketplace's order, as they arrive. ``now``, with a time zone, is for what expires.

        A few hits come from the Marketplace's own search where it has one. Else its catalogue is read, of which it sends only a
        status, and the endorser whose whole email is known; the rest is filtered here. With a cache an unchanged catalogue is not
        sent again, and what cannot be had is answered from it: see ``as_of``. Raises as :meth:`find` does, but nothing matches is
        not an error.
        """
        now = now or datetime.now(timezone.utc)
        self.as_of = None
        for entry in self._found(query):
            if query.matches(entry, now):
                yield entry

    def find_cached(self, identifier: str, because: Unreachable) -> Metadata | None:
        """The entry about the image in the catalogue that was read last, with a note that says from when it is; None if there is
        none. ``because`` says why the Marketplace itself cannot be asked."""
        catalogue = self._cached({"status": "valid"})
        if catalogue is None:
            return None
        now = datetime.now(timezone.utc)
        about = (entry for entry in catalogue.entries() if entry.identifier == identifier)
        found = max(about, key=lambda entry: entry.preference(now), default=None)
        if found is not None:
            self._say_from_when(catalogue, because)
        return found

    def _found(self, query: ImageQuery) -> Iterator[Metadata]:
        """At least the entries that match, from the Marketplace, or from the cache if it is not reachable."""
        filters = {"status": query.status, **({"email": query.endorser} if "@" in query.endorser.strip("@") else {})}
        known = self._cached(filters)
        form = form_of(query)
        if form and not (known and known.conditions) and (few := self._searched(form)) is not None:
            yield from self._cache.keep(few, {}, *self._key(form)) if self._cache else few
            return
        begun = False
        try:
            for entry in self._current(filters, known):
                begun = True
                yield entry
            return
        except Unreachable as error:
            known = known or self._cached({"status": query.status}) or (self._cached(form) if form else None)
            if begun or known is None:
                raise
            self._say_from_when(known, error)
        yield from known.entries()

    def _searched(self, form: Mapping[str, str]) -> list[Metadata] | None:
        """The entries that the Marketplace's own search finds; None if it has none, or finds too many."""
        if self.endpoint == LOCAL_MARKETPLACE:
            return None
        deadline = time.monotonic() + self._timeout
        url = f"{self.endpoint}/metadata"
        try:
            with self._in_time(lambda: self._open(url, "image", {"Accept": "application/json"}, form)) as response:
                hits = hits_of(self._body(response, deadline))
            return None if hits is None else [self._entry(hit) for hit in hits]
        except StratusLabError as error:
            # Many servers have no such search; whatever else is wrong, reading the catalogue shows it.
            self._trace(f"the Marketplace's own search does not help: {error.message}")
            return None

    def _entry(self, hit: Hit) -> Metadata:
        url = f"{self.endpoint}/metadata/{'/'.join(quote(part, safe='@:') for part in hit)}"
        deadline = time.monotonic() + self._timeout
        with self._errors_translated(), self._in_time(lambda: self._open(url, "image")) as response:
            return read(self._body(response, deadline), hit.identifier, datetime.now(timezone.utc))

    def _current(self, filters: Mapping[str, str], known: CachedCatalogue | None) -> Iterator[Metadata]:
        url = f"{self.endpoint}/metadata?{urlencode(filters)}"
        conditions = known.conditions if known else {}
        try:
            response = self._in_time(lambda: self._open(url, "matching image", conditions))
        except NotFound:
            return
        cache = self._cache
        if response.status_code == _NOT_MODIFIED and cache is not None and known is not None:
            response.close()
            cache.confirm(known)
            yield from known.entries()
            return
        entries = self._read(response)
        if cache is None or "no-store" in response.headers.get("Cache-Control", "").lower():
            yield from entries
        else:
            yield from cache.keep(entries, response.headers, *self._key(filters))

    def _read(self, response: requests.Response) -> Iterator[Metadata]:
        with self._errors_translated(), response:
            try:
                yield from read_catalogue(self._bounded(response))
            except Unreachable:
                raise
            except StratusLabError as error:
                raise StratusLabError(
                    f"the Marketplace {self.endpoint}: {error.message}", f"is this its address? {_CHOOSE}"
                ) from None

    def _cached(self, filters: Mapping[str, str]) -> CachedCatalogue | None:
        return self._cache.find(*self._key(filters)) if self._cache else None

    def _key(self, filters: Mapping[str, str]) -> tuple[str, str, str]:
        return self.endpoint, self._login[0] if self._login else "", urlencode(filters)

    def _say_from_when(self, catalogue: CachedCatalogue, because: Unreachable) -> None:
        assert self._cache is not None
        self.as_of = catalogue.date
        self._cache.note(f"{because.message}; using its catalogue as of {self.as_of:%Y-%m-%d %H:%M} UTC")

    def document(self, identifier: str) -> bytes:
        """The document about an image as the Marketplace has it. Raises as :meth:`find` does."""
        return self._fetched(identifier)

    def find(self, identifier: str) -> Metadata:
        """The entry about the image, with one request.

        Raises NotFound if the Marketplace has none, Unreachable if no Marketplace answers in time, AuthenticationError or
        PermissionDenied if it requires other credentials, StratusLabError if its answer is not metadata of this image.
        """
        return self.find_with(identifier, lambda document: read(document, identifier, datetime.now(timezone.utc)))

    def find_with(self, identifier: str, reader: Callable[[bytes], _Found]) -> _Found:
        """What the reader finds in the document about the image. Raises as :meth:`find` does."""
        if not is_identifier(identifier):
            raise UsageError(f"{identifier[:60]!r} is not an image identifier", "expected 27 letters, digits, - or _")
        document = self._fetched(identifier)
        try:
            return reader(document)
        except StratusLabError as error:
            raise StratusLabError(
                f"the Marketplace {self.endpoint} has no usable metadata for {identifier}: {error.message}", error.hint
            ) from error

    def _fetched(self, identifier: str) -> bytes:
        """The document. Raises Unreachable after the time-out."""
        return self._in_time(lambda: self._get(identifier))

    def _in_time(self, work: Callable[[], _Found]) -> _Found:
        """What a request gives. Raises Unreachable after the time-out.

        A socket's time-outs limit each step but not their sum, and do not limit the name service. So the request runs in a
        thread that is abandoned when it is late; it ends by its own time-outs, or with the process.
        """
        if self.endpoint == LOCAL_MARKETPLACE:
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
        return self._unreachable(f"no answer within {seconds:g} s", f"try again later, or {_CHOOSE}")

    def _unreachable(self, why: str, hint: str = _CHOOSE) -> Unreachable:
        return Unreachable(f"cannot use the Marketplace {self.endpoint}: {why}", hint)

    def _get(self, identifier: str) -> bytes:
        deadline = time.monotonic() + self._timeout
        try:
            with self._errors_translated(), self._open(self.url(identifier), f"image {identifier}") as response:
                return self._body(response, deadline)
        except NotFound as error:
            missing = error
        # Without a status a Marketplace hides what is expired or deprecated.
        with self._errors_translated():
            try:
                with self._open(f"{self.url(identifier)}?status=all", f"image {identifier}") as response:
                    return self._body(response, deadline)
            except NotFound:
                raise missing from None

    def _open(
        self, url: str, what: str, headers: Mapping[str, str] = MappingProxyType({}), form: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send the request and follow redirects, but never from https to http or away from HTTP. The body is unread."""
        from stratuslab.bounded_response import bounded_session

        if self._session is None:
            self._session = bounded_session()
        with self._errors_translated():
            response = http_get.get(
                self._session,
                url,
                {**_HEADERS, **headers},
                timeout=(min(self._timeout, _CONNECT_TIMEOUT), self._timeout),
                login=self._login,
                verify=self._verify,
                environ=self._environ,
                trace=self._trace,
                form=form,
            )
        try:
            if response.status_code != _NOT_MODIFIED or not headers.keys() & {"If-None-Match", "If-Modified-Since"}:
                self._check(response, what)
        except StratusLabError:
            response.close()
            raise
        return response

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
            return UsageError(f"{self.endpoint} is not the address of a Marketplace", _CHOOSE)
        if isinstance(error, exceptions.ConnectTimeout):
            return self._late(min(self._timeout, _CONNECT_TIMEOUT))
        if is_late(error):
            return self._late(self._timeout)
        return self._unreachable(*explained(error, _CHOOSE))

    def _check(self, response: requests.Response, what: str) -> None:
        status = response.status_code
        if status == 200:
            return
        if status in (404, 410):
            raise NotFound(
                f"no {what} in the Marketplace {self.endpoint}",
                "check the identifier, or find an image with stratus-search-image",
            )
        if status == 401:
            raise AuthenticationError(f"the Marketplace {self.endpoint} requires a valid user name and password", _CHOOSE)
        if status == 403:
            raise PermissionDenied(
                f"the Marketplace {self.endpoint} does not let you read {what.removeprefix('image ')}", _CHOOSE
            )
        raise self._unreachable(
            f"it answered {status} {response.reason or ''}".rstrip(),
            "try again later" if status >= 500 else _CHOOSE,
        )

    def _bounded(self, response: requests.Response) -> Iterator[bytes]:
        """The pieces of a catalogue. The pace of an answer is bounded by the connection, its size here."""
        size, begin = 0, time.monotonic()
        for chunk in response.iter_content(1 << 16):
            size += len(chunk)
            if size > LARGEST_CATALOGUE:
                raise self._unreachable(f"its catalogue is larger than {LARGEST_CATALOGUE >> 20} MiB")
            yield chunk
        self._trace(f"< {size} bytes in {time.monotonic() - begin:.3f} s")

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        too_large = self._unreachable(f"its answer is larger than {MAXIMUM_SIZE >> 20} MiB")
        length = response.headers.get("Content-Length", "")[:20]
        announced = int(length) if length.isdecimal() else None
        if announced is not None and announced > MAXIMUM_SIZE:
            raise too_large
        body = bytearray()
        for chunk in response.iter_content(1 << 14):
            body += chunk
            if len(body) > MAXIMUM_SIZE:
                raise too_large
            if time.monotonic() > deadline:
                raise self._late(self._timeout)
        if announced is not None and len(body) < announced:
            # urllib3 notices this itself since its version 2.
            raise self._unreachable("its answer was incomplete", "try again")
        self._trace(f"< {len(body)} bytes in {time.monotonic() - deadline + self._timeout:.3f} s")
        if is_web_page(bytes(body)):
            raise self._unreachable("it answers with a web page", f"is this the Marketplace's address? {_CHOOSE}")
        return bytes(body)
