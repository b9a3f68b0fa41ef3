"""Opening a cloud and a Marketplace from a program; the settings are those of the commands."""

from __future__ import annotations

from stratuslab.cloud.client import Cloud
from stratuslab.context import Context
from stratuslab.gateway import open_cloud as _open_cloud
from stratuslab.gateway import open_marketplace as _open_marketplace
from stratuslab.marketplace.client import Marketplace
from stratuslab.output.talk import Talk
from stratuslab.settings import Settings, load


def open_cloud(
    endpoint: str = "", *, username: str = "", password: str = "", section: str = "", timeout: float | None = None
) -> Cloud:
    """The cloud at an endpoint (``"local"`` is the embedded one). What is not given is taken from the environment and the
    configuration file, as the commands do. ``timeout`` is the longest silence of the server in seconds.

    Raises UsageError, ConfigurationError or AuthenticationError; nothing is sent yet.
    """
    given = {"endpoint": endpoint, "username": username, "password": password, "user_config_section": section}
    settings, context = _settings({**given, "timeout": "" if timeout is None else str(timeout)})
    return _open_cloud(settings, context, Talk(None, "stratuslab"))


def open_marketplace(endpoint: str = "") -> Marketplace:
    """The Marketplace at an endpoint, or the one that is configured; for the embedded cloud the one inside this package."""
    settings, context = _settings({"marketplace_endpoint": endpoint})
    return _open_marketplace(settings, context, Talk(None, "stratuslab"))


def _settings(given: dict[str, str]) -> tuple[Settings, Context]:
    import os

    context = Context(None, None, None, os.environ)  # without streams: a program is never asked for a password
    return load(context, given), context
