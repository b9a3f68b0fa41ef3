"""HTTP responses of ``requests`` whose time is bounded as a whole; see :mod:`stratuslab.deadline_reader`."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Any

from stratuslab.deadline_reader import DeadlineReader

if TYPE_CHECKING:
    import requests


class BoundedResponse(http.client.HTTPResponse):
    """A response that raises TooSlow. Use it as ``response_class`` of a connection; its socket's time-out counts."""

    def __init__(self, sock: socket.socket, *details: Any, **named: Any) -> None:
        super().__init__(sock, *details, **named)
        silence = sock.gettimeout()
        if silence is not None:
            self.fp = DeadlineReader(self.fp.detach(), sock, silence)

    def begin(self) -> None:
        super().begin()
        if isinstance(self.fp, DeadlineReader):
            self.fp.restart()


def bounded_session(*kinds: type) -> requests.Session:
    """A session of requests whose responses are bounded like this, and whose connections are also of these kinds."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def pool(usual: Any) -> type:
        connection = type("BoundedConnection", (*kinds, usual.ConnectionCls), {"response_class": BoundedResponse})
        return type(usual.__name__, (usual,), {"ConnectionCls": connection})

    pools = {"http": pool(HTTPConnectionPool), "https": pool(HTTPSConnectionPool)}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *details: Any, **named: Any) -> None:
            super().init_poolmanager(*details, **named)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *details: Any, **named: Any) -> Any:
            manager = super().proxy_manager_for(*details, **named)
            manager.pool_classes_by_scheme = pools
            return manager

    session = requests.Session()
    session.mount("http://", Adapter())
    session.mount("https://", Adapter())
    return session
