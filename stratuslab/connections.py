"""Opens the cloud and the Marketplace that the settings name, remote or embedded."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from stratuslab.cloud.client import Cloud
from stratuslab.cloud.endpoint import Credentials, is_local, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.environment import Environment, ask_secret
from stratuslab.errors import AuthenticationError, UsageError
from stratuslab.known_settings import LOCAL_MARKETPLACE
from stratuslab.output.messages import Messages
from stratuslab.settings import Settings
from stratuslab.settings_warnings import exposed, fallback
from stratuslab.url_credentials import shown

if TYPE_CHECKING:
    from stratuslab.marketplace.catalogue_cache import CatalogueCache
    from stratuslab.marketplace.marketplace_client import Marketplace


_MARKETPLACE_TIMEOUT = 10.0  # only images are looked up there


def open_cloud(settings: Settings, environment: Environment, messages: Messages) -> Cloud:
    """The cloud that the settings name. Nothing is sent yet.

    Raises UsageError for an invalid endpoint or an unusable file, AuthenticationError if credentials are missing.
    """
    endpoint = settings.endpoint
    messages.step(f"Cloud: {shown(endpoint.value)} ({endpoint.origin})")
    timeout = settings.timeout  # an invalid one is refused for the embedded cloud, too
    if is_local(endpoint.value):
        if endpoint.origin == "default":
            if found := fallback(settings):
                messages.warning(found)
            else:
                messages.note("no cloud is configured, using the embedded one on this computer (--endpoint local)")
        from stratuslab.local import state_directory
        from stratuslab.local.api.in_process import LocalTransport

        directory = state_directory(environment.environ)
        local = LocalTransport(directory, settings.local_environ)
        address = f"local:{directory}"
        return Cloud(local, Credentials("oneadmin"), "the embedded cloud", address=address, trace=messages.wire)
    configured = settings.credentials()
    for text in exposed(settings.password_files):
        messages.note(text)
    resolved = resolve(endpoint.value, configured)
    credentials = _with_password(configured, resolved.url, environment)
    messages.step(f"Credentials: {credentials}")
    messages.step(f"Calls go to {resolved.url}")
    remote = HttpTransport(resolved, credentials, timeout, environment.environ, ca_bundle=settings.ca_bundle, trace=messages.wire)
    return Cloud(remote, credentials, resolved.url, trace=messages.wire)


def console(settings: Settings, environment: Environment, number: int) -> list[str]:
    """The lines on the console of an instance of the embedded cloud.

    Raises UsageError for any other cloud, NotFound for an unknown instance, StratusLabError if the console is gone.
    """
    if not is_local(settings.endpoint.value):
        raise UsageError(
            "consoles can only be read on the embedded cloud (--endpoint local)",
            f"at {shown(settings.endpoint.value)} ask the administrator, or use a VNC viewer",
        )
    from stratuslab.local import state_directory
    from stratuslab.local.api.console_log_reader import console_lines

    return console_lines(state_directory(environment.environ), number)


def volume_uuid(environment: Environment, name: str) -> str:
    """The UUID of the embedded cloud's volume of that UUID or name. Raises NotFound, and UsageError if several have the name."""
    from stratuslab.local import state_directory
    from stratuslab.local.images.initialized_store import open_store
    from stratuslab.local.store.volumes import Volumes

    with contextlib.closing(open_store(state_directory(environment.environ), environment.clock())) as store:
        return Volumes(store).named(name).uuid


def _with_password(credentials: Credentials, endpoint: str, environment: Environment) -> Credentials:
    if credentials.certificate or credentials.password:
        return credentials
    if not credentials.username:
        raise AuthenticationError(
            f"no user name or certificate for {endpoint}",
            "see --username, --password-file and --pem-cert, or set username and password in the configuration",
        )
    if kept := _from_keyring(credentials.username, endpoint):
        return credentials._replace(password=kept)
    if not environment.interactive:
        raise AuthenticationError(
            f"no password for {credentials} at {endpoint}", "see --password-file, or set password in the configuration"
        )
    prompt = f"'{credentials.username}' at '{endpoint}' password: "
    with contextlib.suppress(EOFError):
        if password := ask_secret(prompt, environment.stderr):
            return credentials._replace(password=password)
    raise AuthenticationError(f"no password for {credentials} at {endpoint}")


def _from_keyring(username: str, endpoint: str) -> str:
    """The user's password in the system's keyring, under the endpoint's name; empty if there is none, or no package keyring."""
    try:
        import keyring
    except ImportError:
        return ""
    try:
        return keyring.get_password(endpoint, username) or ""
    except keyring.errors.KeyringError:  # none in this session, or it is locked
        return ""


def open_marketplace(settings: Settings, environment: Environment, messages: Messages) -> Marketplace:
    """The Marketplace that the settings name. Nothing is sent yet. Raises UsageError for an invalid endpoint."""
    from stratuslab.marketplace.marketplace_client import Marketplace
    from stratuslab.marketplace.marketplace_transport import MarketplaceConnection, normalise_endpoint
    from stratuslab.response_deadline import bounded_session

    endpoint = settings.marketplace_endpoint
    messages.step(f"Marketplace: {shown(endpoint.value)} ({endpoint.origin})")
    session = bounded_session()
    address = normalise_endpoint(endpoint.value)
    if address == LOCAL_MARKETPLACE:
        from stratuslab.local import state_directory
        from stratuslab.local.api.requests_adapter import MarketplaceAdapter

        session.mount("local://", MarketplaceAdapter(state_directory(environment.environ)))
    connection = MarketplaceConnection(
        address,
        settings.timeout_or(_MARKETPLACE_TIMEOUT),
        verify=settings.ca_bundle or True,
        session=session,
        environ=environment.environ,
        trace=messages.wire,
    )
    return Marketplace(connection, _catalogue_cache(settings, environment, messages))


def _catalogue_cache(settings: Settings, environment: Environment, messages: Messages) -> CatalogueCache | None:
    from stratuslab.marketplace.catalogue_cache import CatalogueCache, cache_directory

    directory = cache_directory(environment.environ, environment.home)
    if directory is None or settings.is_on("no_cache"):
        return None
    return CatalogueCache(directory, environment.clock, messages.warning, messages.step)
