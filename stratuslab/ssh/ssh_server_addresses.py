"""The addresses and ports at which an instance's SSH server may be reached, by the cloud's document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from stratuslab.opennebula.nic import Nic
from stratuslab.opennebula.numeric_constants import SSH_PORT

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?\Z")


def listening_points(
    nics: Sequence[Nic], hostname: str, port: int = SSH_PORT, reported: Sequence[str] = ()
) -> list[tuple[str, int]]:
    """The (host, port) pairs to try, the likeliest first; empty where the document names none that makes sense.

    ``hostname`` is the physical host that the instance runs on, ``port`` the SSH server's on the instance, ``reported`` the
    addresses that only the guest reports, which come last. Interfaces that the cloud marked for SSH come first, then aliases
    that are there for the outside, then interfaces, then other aliases. Of one interface these count, in this order: the port
    range of its host (OpenNebula's EXTERNAL_PORT_RANGE ``START:END``: port n of the instance is START + n - 1 there), the
    external address, the IPv4 address, the IPv6 addresses but link-local ones.

    Behind a port range the interface's own addresses are left out: where a cloud translates ports they mean nothing outside
    the host, and at worst another machine, with another host key, answers at them.
    """
    points: list[tuple[str, int]] = []
    for nic in sorted(nics, key=lambda nic: (not nic.for_ssh, not nic.external, nic.kind == "alias")):
        points += _points(nic, hostname, port)
    points += [(address, port) for text in reported if (address := _address(text))]
    return list(dict.fromkeys(points))


def _points(nic: Nic, hostname: str, port: int) -> Iterator[tuple[str, int]]:
    translated = nic.external_port(port)
    host = _address(hostname) or (hostname if _HOST.match(hostname) else "")
    if translated and host:
        yield host, translated
        return
    for text in (nic.external_ip, nic.ip, *nic.ip6):
        if address := _address(text):
            yield address, port


def _address(text: str) -> str:
    """The address in its usual spelling; empty for anything that cannot be connected to."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text.strip())
    except ValueError:
        return ""
    useless = address.is_unspecified or address.is_multicast or (address.version == 6 and address.is_link_local)
    return "" if useless else str(address)
