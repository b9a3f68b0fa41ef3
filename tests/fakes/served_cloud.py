"""What the fixture ``serve`` is: an embedded cloud served over real HTTP, like a server of each version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from stratuslab.local.api.accounts import Accounts
from stratuslab.local.api.http_server import Urls, open_server
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE, EMBEDDED, PLAIN_3, SERVER_PROFILES
from stratuslab.local.engine.engine import Engine

PROFILES = {**SERVER_PROFILES, EMBEDDED.name: EMBEDDED, PLAIN_3.name: PLAIN_3}
"""Every profile by its name."""


def served_cloud(
    engine: Engine, users: Mapping[str, str], profile: str = DEFAULT_PROFILE.name, host: str = "127.0.0.1"
) -> AbstractContextManager[Urls]:
    """A server on a free port, which ends with the block."""
    return open_server(engine, host, 0, Accounts(dict(users)), PROFILES[profile]).running()


Serve = Callable[..., Urls]
