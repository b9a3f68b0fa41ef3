"""Opens a cloud and a Marketplace for programs, with the settings of the commands."""

from __future__ import annotations

from stratuslab.cloud.client import Cloud
from stratuslab.connections import open_cloud as _open_cloud
from stratuslab.connections import open_marketplace as _open_marketplace
from stratuslab.environment import Environment
from stratuslab.marketplace.marketplace_client import Marketplace
from stratuslab.output.messages import Messages
from stratuslab.settings import Settings, load


def open_cloud(
    endpoint: str = "", *, username: str = "", password: str = "", section: str = "", timeout: float | None = None
) -> Cloud:
    """The cloud at an endpoint (``"local"`` is the embedded one). Missing values come from the environment and the
    configuration file, as for the commands. ``timeout`` is the longest silence of the server in seconds.

    Raises UsageError, ConfigurationError or AuthenticationError; nothing is sent yet.
    """
    given = {"endpoint": endpoint, "username": username, "password": password, "user_config_section": section}
    settings, environment = _settings({**given, "timeout": "" if timeout is None else str(timeout)})
    return _open_cloud(settings, environment, Messages(None, "stratuslab"))


def open_marketplace(endpoint: str = "") -> Marketplace:
    """The Marketplace at an endpoint, by default the configured one; with the embedded cloud the one inside this package."""
    settings, environment = _settings({"marketplace_endpoint": endpoint})
    return _open_marketplace(settings, environment, Messages(None, "stratuslab"))


def _settings(given: dict[str, str]) -> tuple[Settings, Environment]:
    import os

    environment = Environment(None, None, None, os.environ)  # without streams: a program is never asked for a password
    return load(environment, given), environment
