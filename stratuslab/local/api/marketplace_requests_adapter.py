"""Answers requests' calls for ``local://`` URLs from the embedded Marketplace, in the same process."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import BaseAdapter

from stratuslab.local.api.http_messages import HttpRequest
from stratuslab.local.api.marketplace_rest import respond
from stratuslab.local.images.open_store import open_store


class MarketplaceAdapter(BaseAdapter):
    """Answers a GET of ``local://marketplace/...`` like the HTTP server ``/marketplace/...``.

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
        url, now = urlsplit(request.url or ""), time.time()
        store = open_store(self._directory, now)
        try:
            answer = respond(store, now, HttpRequest(unquote(url.path), url.query, request.headers))
        except BaseException:
            store.close()
            raise

        def pieces() -> Iterator[bytes]:
            with closing(store):
                yield from answer.body

        response = requests.Response()
        response.status_code = answer.status
        response.reason = HTTPStatus(answer.status).phrase
        response.url = request.url or ""
        response.request = request
        response.headers.update(answer.headers)
        response.encoding = "utf-8"
        response.raw = _Pieces(pieces())
        return response

    def close(self) -> None:
        """Nothing is kept open."""


class _Pieces:
    """A body as requests reads it: a catalogue is never in memory as a whole."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def stream(self, size: int, decode_content: bool = True) -> Iterator[bytes]:
        """The pieces as they are; requests does not depend on their size."""
        return self._pieces

    def close(self) -> None:
        """Read no further."""
        self._pieces = iter(())
