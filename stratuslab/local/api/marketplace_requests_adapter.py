"""Answers requests' calls for ``local://`` URLs from the embedded Marketplace, in the same process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter

from stratuslab.local.images.embedded_marketplace import CONTENT_TYPE, answer
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
            status, body = 405, b""
        elif url.netloc != "marketplace":
            status, body = 404, b""
        else:
            now = time.time()
            with closing(open_store(self._directory, now)) as store:
                status, body = answer(store, now, unquote(url.path), dict(parse_qsl(url.query)))
        response = requests.Response()
        response.status_code = status
        response.reason = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}[status]
        response.url = request.url or ""
        response.request = request
        response.headers["Content-Type"] = CONTENT_TYPE
        response.headers["Content-Length"] = str(len(body))
        response.encoding = "utf-8"
        response.raw = BytesIO(b"" if request.method == "HEAD" else body)
        return response

    def close(self) -> None:
        """Nothing is kept open."""
