"""Answers requests' calls for ``local://`` URLs from the embedded Marketplace, in the same process."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from requests.adapters import HTTPAdapter

from stratuslab.local.api.http_request_response import HttpRequest
from stratuslab.local.api.marketplace_rest import respond
from stratuslab.local.images.initialized_store import open_store


class MarketplaceAdapter(HTTPAdapter):
    """Answers a GET of ``local://marketplace/...`` like the HTTP server ``/marketplace/...``.

    Raises StratusLabError if the store cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """The response to a request."""
        url, now = urlsplit(request.url or ""), time.time()
        store = open_store(self._directory, now)
        try:
            status, headers, body = respond(store, now, HttpRequest(unquote(url.path), url.query, request.headers))
        except BaseException:
            store.close()
            raise

        def pieces() -> Generator[bytes, None, None]:
            with closing(store):
                yield from body

        # A catalogue is never in memory as a whole; the size of the pieces makes no difference to requests.
        stream = pieces()
        raw = SimpleNamespace(status=status, headers=headers, reason=HTTPStatus(status).phrase, close=stream.close)
        raw.stream = lambda *size, **options: stream
        return self.build_response(request, raw)  # type: ignore[arg-type]
