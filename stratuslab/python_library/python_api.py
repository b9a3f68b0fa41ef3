"""Opens a cloud and a Marketplace for programs, with the settings of the commands."""

from __future__ import annotations

from os import PathLike

from stratuslab.cloud.client import Cloud
from stratuslab.marketplace.marketplace_client import Marketplace
from stratuslab.python_library.command_calls import CommandSessions
from stratuslab.python_library.connected_cloud import ConnectedCloud
from stratuslab.python_library.python_hints import for_programs


@for_programs()
def connect(
    endpoint: str = "",
    *,
    username: str = "",
    password: str = "",
    password_file: str | PathLike[str] = "",
    section: str = "",
    config: str | PathLike[str] = "",
    ca_bundle: str | PathLike[str] = "",
    marketplace_endpoint: str = "",
    timeout: float | None = None,
) -> ConnectedCloud:
    """The cloud at an endpoint: a host, a URL, or ``"local"`` for the embedded one. Missing values come from the environment and
    the configuration file, as for the commands; the user is never asked for a password. ``timeout`` is the longest silence of the
    server in seconds.

    Raises UsageError, ConfigurationError or AuthenticationError; nothing is sent yet.
    """
    given = {
        "endpoint": endpoint,
        "username": username,
        "password": password,
        "password_file": str(password_file),
        "user_config_section": section,
        "config": str(config),
        "ca_bundle": str(ca_bundle),
        "marketplace_endpoint": marketplace_endpoint,
        "timeout": "" if timeout is None else str(timeout),
    }
    cloud = ConnectedCloud(CommandSessions(given))
    assert cloud.client is not None  # what is missing is found out now
    return cloud


def open_cloud(
    endpoint: str = "", *, username: str = "", password: str = "", section: str = "", timeout: float | None = None
) -> Cloud:
    """The client of the cloud that :func:`connect` would connect to: a method for each call. Raises as that does."""
    return connect(endpoint, username=username, password=password, section=section, timeout=timeout).client


@for_programs()
def open_marketplace(endpoint: str = "") -> Marketplace:
    """The Marketplace at an endpoint, by default the configured one; with the embedded cloud the one inside this package."""
    return CommandSessions({"marketplace_endpoint": endpoint}).base.marketplace
