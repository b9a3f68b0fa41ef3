"""An embedded cloud served over HTTP on a free port of the loopback interface, for as long as a test runs."""

from __future__ import annotations

from collections.abc import Mapping

from stratuslab.local.api.accounts import Accounts
from stratuslab.local.api.http_server import open_server
from stratuslab.local.api.server_profiles import EMBEDDED, ServerProfile
from stratuslab.local.engine.engine import Engine


class Served:
    """A running server: ``url`` is OpenNebula's door, ``proxy`` StratusLab's, ``marketplace`` the Marketplace's base."""

    def __init__(self, engine: Engine, users: Mapping[str, str], flavour: ServerProfile = EMBEDDED) -> None:
        self._running = open_server(engine, "127.0.0.1", 0, Accounts(dict(users)), flavour).running()
        urls = self._running.__enter__()
        self.url = urls.rpc
        self.proxy = urls.proxy
        self.marketplace = urls.marketplace

    def close(self) -> None:
        self._running.__exit__(None, None, None)
