"""HTTP connections to public addresses only, for URLs that somebody else has given.

The address is checked where it is connected to, after each redirect and each look-up of a name, so a name that leads to another
address the next time does not help.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from stratuslab.errors import PermissionDenied
from stratuslab.response_deadline import bounded_session

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def guarded_session(networks: str) -> requests.Session:
    """A session that connects to public addresses, and to those in ``networks`` (separated by commas; ``any``: everywhere).

    Its requests raise PermissionDenied for any other address. It must not be used with proxies.
    """
    names = networks.replace(",", " ").split()
    if "any" in names:
        return bounded_session()
    allowed = [ipaddress.ip_network(name, strict=False) for name in names]
    return bounded_session(type("Guarded", (_GuardedConnection,), {"networks": allowed}))


def _is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    ways = list(_meanings(address))
    return any(way in network for way in ways for network in networks) or all(
        way.is_global and not way.is_multicast for way in ways
    )


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and the IPv4 address that it leads to if it has one within."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    within = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if address in _NAT64:
        within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if within is not None:
        yield within
    if address.ipv4_mapped is None:
        yield address


class _GuardedConnection:
    """What a connection of urllib3 does before it connects."""

    networks: Sequence[Network]
    _dns_host: str
    port: int

    def _new_conn(self) -> socket.socket:
        name, kind = self._dns_host, super()
        try:
            found = dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"the name cannot be resolved: {error}") from error  # type: ignore[arg-type]
        addresses = [address for address in found if _is_allowed(ipaddress.ip_address(address), self.networks)]
        if not addresses:
            raise PermissionDenied(
                "its address is not a public one", "the owner of the cloud can allow it with the setting download_networks"
            )
        try:
            for address in addresses:
                # The certificate is still checked for the name.
                self._dns_host = address
                try:
                    return kind._new_conn()  # type: ignore[attr-defined, no-any-return]
                except (NewConnectionError, ConnectTimeoutError):
                    if address == addresses[-1]:
                        raise
        finally:
            self._dns_host = name
        raise AssertionError("a host has an address")
