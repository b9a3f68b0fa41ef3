"""A client of the Marketplace's REST interface: ``GET <endpoint>/metadata/<identifier>`` returns an image's metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode

from stratuslab.errors import NotFound, StratusLabError, Unreachable, UsageError
from stratuslab.marketplace.catalogue_stream import read_catalogue
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.marketplace.image_query import ImageQuery
from stratuslab.marketplace.marketplace_transport import CHOOSE, NOT_MODIFIED, MarketplaceConnection
from stratuslab.marketplace.metadata import Metadata, read
from stratuslab.marketplace.table_search import Hit, form_of, hits_of

if TYPE_CHECKING:
    import requests

    from stratuslab.marketplace.catalogue_cache import CachedCatalogue, CatalogueCache

LARGEST_CATALOGUE = 1 << 29
"""Bytes of a whole catalogue that are read at most; 50,000 entries have about 150 MB."""

_Found = TypeVar("_Found")


class Marketplace:
    """The Marketplace at the other end of a connection. ``cache`` keeps catalogues on disk."""

    def __init__(self, connection: MarketplaceConnection, cache: CatalogueCache | None = None) -> None:
        self._connection = connection
        self.endpoint = connection.endpoint
        """The base URL, without the user and password that it may have been given with: this one may be shown."""
        self._cache = None if connection.local else cache
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
        about = [entry for entry in catalogue.entries() if entry.identifier == identifier] if catalogue else []
        if catalogue is None or not about:
            return None
        self._say_from_when(catalogue, because)
        now = datetime.now(timezone.utc)
        return max(about, key=lambda entry: entry.preference(now))

    def _found(self, query: ImageQuery) -> Iterator[Metadata]:
        """At least the entries that match, from the Marketplace, or from the cache if it is not reachable."""
        filters = {"status": query.status, **({"email": query.endorser} if "@" in query.endorser.strip("@") else {})}
        known = self._cached(filters)
        form = form_of(query)
        if form and not (known and known.conditions) and (few := self._searched(form)) is not None:
            yield from self._kept(few, {}, form)
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
        if self._connection.local:
            return None
        try:
            url = f"{self.endpoint}/metadata"
            hits = hits_of(self._connection.answer("image", url, headers={"Accept": "application/json"}, form=form))
            return None if hits is None else [self._entry(hit) for hit in hits]
        except StratusLabError as error:
            # Many servers have no such search; whatever else is wrong, reading the catalogue shows it.
            self._connection.trace(f"the Marketplace's own search does not help: {error.message}")
            return None

    def _entry(self, hit: Hit) -> Metadata:
        url = f"{self.endpoint}/metadata/{'/'.join(quote(part, safe='@:') for part in hit)}"
        return read(self._connection.answer("image", url), hit.identifier, datetime.now(timezone.utc))

    def _current(self, filters: Mapping[str, str], known: CachedCatalogue | None) -> Iterator[Metadata]:
        url = f"{self.endpoint}/metadata?{urlencode(filters)}"
        conditions = known.conditions if known else {}
        try:
            response = self._connection.opened("matching image", url, conditions)
        except NotFound:
            return
        if response.status_code == NOT_MODIFIED and self._cache and known:
            response.close()
            self._cache.confirm(known)
            yield from known.entries()
        elif "no-store" in response.headers.get("Cache-Control", "").lower():
            yield from self._read(response)
        else:
            yield from self._kept(self._read(response), response.headers, filters)

    def _kept(self, entries: Iterable[Metadata], headers: Mapping[str, str], filters: Mapping[str, str]) -> Iterable[Metadata]:
        return self._cache.keep(entries, headers, *self._key(filters)) if self._cache else entries

    def _read(self, response: requests.Response) -> Iterator[Metadata]:
        try:
            yield from read_catalogue(self._connection.pieces(response, "catalogue", LARGEST_CATALOGUE))
        except Unreachable:
            raise
        except StratusLabError as error:
            raise StratusLabError(f"the Marketplace {self.endpoint}: {error.message}", f"is this its address? {CHOOSE}") from None

    def _cached(self, filters: Mapping[str, str]) -> CachedCatalogue | None:
        return self._cache.find(*self._key(filters)) if self._cache else None

    def _key(self, filters: Mapping[str, str]) -> tuple[str, str, str]:
        return self.endpoint, self._connection.user, urlencode(filters)

    def _say_from_when(self, catalogue: CachedCatalogue, because: Unreachable) -> None:
        assert self._cache is not None
        self.as_of = datetime.fromtimestamp(catalogue.confirmed, timezone.utc)
        self._cache.note(f"{because.message}; using its catalogue as of {self.as_of:%Y-%m-%d %H:%M} UTC")

    def document(self, identifier: str) -> bytes:
        """The document about an image as the Marketplace has it. Raises as :meth:`find` does."""
        # Without a status a Marketplace hides what is expired or deprecated.
        url = self.url(identifier)
        return self._connection.answer(f"image {identifier}", url, f"{url}?status=all")

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
        document = self.document(identifier)
        try:
            return reader(document)
        except StratusLabError as error:
            raise StratusLabError(
                f"the Marketplace {self.endpoint} has no usable metadata for {identifier}: {error.message}", error.hint
            ) from error
