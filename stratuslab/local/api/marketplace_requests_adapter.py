"""Answers requests' calls for ``local://`` URLs from the embedded Marketplace, in the same process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter

from stratuslab.local.api.marketplace_messages import MarketplaceRequest, MarketplaceResponse
from stratuslab.local.api.marketplace_rest import respond
from stratuslab.local.images.open_store import open_store


class MarketplaceAdapter(BaseAdapter):
    """Answers ``GET local://marketplace/...`` like the HTTP server ``/marketplace/...``.

    Raises StratusLabError if the store cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """The response to a request."""
        url = urlsplit(request.url or "")
        if request.method not in ("GET", "HEAD"):
            answer = MarketplaceResponse(405, {}, [])
        elif url.netloc != "marketplace":
            answer = MarketplaceResponse(404, {}, [])
        else:
            names = ("Accept", "If-None-Match", "If-Modified-Since")
            accept, etag, date = (str(request.headers.get(name, "")) for name in names)
            asked = MarketplaceRequest(unquote(url.path), url.query, accept, etag, date)
            answer = self._answer(asked, request.method == "HEAD")
        response = requests.Response()
        response.status_code = answer.status
        response.reason = HTTPStatus(answer.status).phrase
        response.url = request.url or ""
        response.request = request
        response.headers.update(answer.headers)
        response.encoding = "utf-8"
        response.raw = _Pieces(answer.body)
        return response

    def _answer(self, request: MarketplaceRequest, is_head: bool) -> MarketplaceResponse:
        now = time.time()
        store = open_store(self._directory, now)
        try:
            status, headers, body = respond(store, now, request)
        except BaseException:
            store.close()
            raise

        def pieces() -> Iterator[bytes]:
            with closing(store):
                yield from () if is_head else body

        return MarketplaceResponse(status, headers, pieces())

    def close(self) -> None:
        """Nothing is kept open."""


class _Pieces:
    """A body as requests reads it: a catalogue is never in memory as a whole."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    def stream(self, size: int, decode_content: bool = True) -> Iterator[bytes]:
        """The pieces as they are; requests does not depend on their size."""
        return self._pieces

    def close(self) -> None:
        """Read no further."""
        self._pieces = iter(())
