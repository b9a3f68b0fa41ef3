"""The way in to instances of a cloud that translates ports: the gateway's port, asked for as the options and settings say."""

from __future__ import annotations

from urllib.parse import urlsplit

from stratuslab.cloud.endpoint import Credentials, is_local, resolve
from stratuslab.commands.base import Session
from stratuslab.errors import UsageError
from stratuslab.opennebula.error_codes import SSH_PORT
from stratuslab.opennebula.instance import Instance
from stratuslab.ssh.banner import Point
from stratuslab.ssh.login_target import checked_host

_TIMEOUT = 10.0
_YES = ("1", "yes", "true", "on")


def translated_point(session: Session, instance: Instance, port: int = SSH_PORT) -> Point | None:
    """Where the gateway passes on what is for the instance's port; None where the cloud translates no ports, as far as is set.

    Raises UsageError for settings that cannot be, and what the service that knows the ports gives cause to.
    """
    settings = session.settings
    asked = getattr(session.options, "pat_enable", False)
    if not asked and settings.get("port_translation").lower() not in _YES:
        return None
    from stratuslab.ssh.port_translation import translated_port

    gateway = checked_host(settings.get("pat_gateway_host") or _endpoint_host(session, "--pat-gateway-host"))
    service = settings.get("pat_service_host") or _endpoint_host(session, "--pat-service-host")
    found = translated_port(service, instance.id, port, settings.timeout_or(_TIMEOUT))
    return (gateway, found) if found else None


def _endpoint_host(session: Session, option: str) -> str:
    endpoint = session.settings.endpoint.value
    if is_local(endpoint):
        raise UsageError("the embedded cloud translates no ports (--pat-enable)", f"see {option}")
    return urlsplit(resolve(endpoint, Credentials()).url).hostname or ""
