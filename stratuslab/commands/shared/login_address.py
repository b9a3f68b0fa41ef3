"""Where to log in to an instance: its addresses, or the gateway of a cloud that translates ports."""

from __future__ import annotations

from stratuslab.cloud.endpoint import Credentials, host_in, is_local, resolve
from stratuslab.commands.session import Session
from stratuslab.errors import InstanceFailed, UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.ssh.banner import Point
from stratuslab.ssh.login_target import checked_host
from stratuslab.ssh.ssh_server_addresses import listening_points

_TIMEOUT = 10.0


def login_points(session: Session, instance: Instance, port: int = SSH_PORT, nic: int | None = None) -> list[Point]:
    """Where the instance's SSH server may answer, the likeliest first: at its network interfaces, or only at the one with the
    number ``nic``, or where the cloud translates ports at the gateway. Empty where there is no address yet.

    Raises UsageError for settings that make no sense, InstanceFailed where there will be no address, and what the service that
    knows the ports gives cause to.
    """
    if translated := _translated_point(session, instance, port):
        return [translated]
    nics, reported = instance.nics, instance.guest_addresses
    if nic is not None:
        if nic >= len(nics):
            there = f"they are 0 to {len(nics) - 1}" if nics else "it has none"
            raise UsageError(f"machine {instance.id} has no network interface {nic} (--nic)", there)
        nics, reported = (nics[nic],), ()
    points = listening_points(nics, instance.hostname, port, reported)
    if not points and (not nics or nic is not None):
        raise no_address(instance)
    return points


def no_address(instance: Instance) -> InstanceFailed:
    """That nothing can be connected to."""
    return InstanceFailed(
        f"machine {instance.id} has no address to connect to", "stratus-describe-instance -vv shows its interfaces"
    )


def _translated_point(session: Session, instance: Instance, port: int) -> Point | None:
    """Where the gateway forwards to the instance's port; None where no port translation is configured."""
    settings = session.settings
    asked = getattr(session.options, "pat_enable", False)
    if not asked and not settings.is_on("port_translation"):
        return None
    from stratuslab.ssh.port_translation_client import translated_port

    gateway = checked_host(settings.get("pat_gateway_host") or _endpoint_host(session, "--pat-gateway-host"))
    service = settings.get("pat_service_host") or _endpoint_host(session, "--pat-service-host")
    found = translated_port(service, instance.id, port, settings.timeout_or(_TIMEOUT), session.environment.environ)
    return (gateway, found) if found else None


def _endpoint_host(session: Session, option: str) -> str:
    endpoint = session.settings.endpoint.value
    if is_local(endpoint):
        raise UsageError("the embedded cloud does not translate ports (--pat-enable)", f"see {option}")
    return host_in(resolve(endpoint, Credentials()).url)
