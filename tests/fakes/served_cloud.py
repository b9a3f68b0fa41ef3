"""What the fixture ``serve`` is: an embedded cloud served over real HTTP, like a server of each version."""

from __future__ import annotations

from collections.abc import Callable

from stratuslab.local.api.http_server import Urls
from stratuslab.testing.embedded_opennebula import PROFILES, served_cloud

__all__ = ["PROFILES", "Serve", "served_cloud"]

Serve = Callable[..., Urls]
