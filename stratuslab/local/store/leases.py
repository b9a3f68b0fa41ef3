"""The networks of the embedded cloud and the addresses that they lease.

A network is a range of IPv4 addresses, by default loopback addresses that no other embedded cloud of this computer leases. Like
OpenNebula it leases the next free one after the last, so an address is not reused at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stratuslab.local.api_error import APIError, BadTemplate, NoSuchNetwork
from stratuslab.local.store import loopback_claims
from stratuslab.local.store.database import Store
from stratuslab.local.store.instance_record import User

_NETWORKS = ("public", "local", "private")


@dataclass(frozen=True)
class Network:
    """A range of ``size`` addresses from ``first`` (as a number). ``next`` is the offset at which to look for a free one."""

    id: int
    name: str
    first: int
    size: int
    next: int

    @property
    def bridge(self) -> str:
        return f"vbr{self.id}"


def address_text(number: int) -> str:
    """An IPv4 address in dotted form."""
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def address_number(text: str) -> int | None:
    """The number of a dotted IPv4 address, None for anything else."""
    parts = text.strip().split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 4 and int(part) < 256 for part in parts):
        return None
    return sum(int(part) << shift for part, shift in zip(parts, (24, 16, 8, 0), strict=True))


def mac_address(number: int) -> str:
    """The hardware address that OpenNebula derives from an IPv4 address."""
    return "02:00:" + ":".join(f"{number >> shift & 255:02x}" for shift in (24, 16, 8, 0))


class Leases:
    """The networks and leases of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_networks(self) -> None:
        """Create the networks of a new store. Part of a transaction."""
        for number, name in enumerate(_NETWORKS):
            span = (loopback_claims.first_address(0, number), loopback_claims.SIZE)
            self._store.query("INSERT INTO networks (id, name, first, size) VALUES (?, ?, ?, ?)", (number, name, *span))

    def networks(self) -> list[Network]:
        rows = self._store.query("SELECT id, name, first, size, next FROM networks ORDER BY id DESC")
        return [Network(*row) for row in rows]

    def leased(self, network: Network) -> list[tuple[int, int]]:
        """The leased addresses, as numbers, each with its instance."""
        rows = self._store.query("SELECT address, instance FROM leases WHERE network = ? ORDER BY address", (network.id,))
        return [(row[0], row[1]) for row in rows]

    def network_for(self, nic: dict[str, str], user: User) -> Network | None:
        """The network that a NIC of a template names, None if it names none. Part of a transaction. Raises APIError."""
        self._use_own_block()
        networks = self.networks()
        number = nic.get("NETWORK_ID", "")
        if number:
            found = next((network for network in networks if str(network.id) == number.strip()), None)
            if found is None:
                raise NoSuchNetwork(f"Virtual network with ID: {number} does not exist")
            return found
        name = nic.get("NETWORK", "")
        if not name:
            return None
        owner = owner_named(self._store, nic.get("NETWORK_UID", ""), nic.get("NETWORK_UNAME", ""), user)
        found = next((network for network in networks if network.name == name), None)
        if found is None or owner != 0:
            raise NoSuchNetwork(
                f"User {owner} does not own a network with name: {name} . Set NETWORK_UNAME or NETWORK_UID of owner in NIC."
            )
        return found

    def _use_own_block(self) -> None:
        """Move the networks to this cloud's own block of addresses, except for configured ranges."""
        spans = {network.id: loopback_claims.block_of(network.first, network.size, network.id) for network in self.networks()}
        blocks = [block for block in spans.values() if block is not None]
        own = loopback_claims.claimed(self._store.directory, blocks[-1]) if blocks else None
        for number, block in spans.items():
            if own is not None and block not in (None, own):
                first = loopback_claims.first_address(own, number)
                self._store.query("UPDATE networks SET first = ?, next = 0 WHERE id = ?", (first, number))

    def take(self, network: Network, instance: int, requested: str = "") -> int:
        """Lease an address of the network, the requested one if any. Part of a transaction. Raises APIError."""
        taken = {address for address, _ in self.leased(network)}
        candidates: Iterable[int]
        if requested:
            number = address_number(requested)
            candidates = [] if number is None else [number - network.first]
        else:
            candidates = ((network.next + step) % network.size for step in range(network.size))
        for place in candidates:
            if 0 <= place < network.size and network.first + place not in taken:
                break
        else:
            raise NoSuchNetwork(f"Cannot get IP/MAC lease from virtual network {network.id}.")
        self._store.query("INSERT INTO leases VALUES (?, ?, ?)", (network.id, network.first + place, instance))
        if not requested:
            self._store.query("UPDATE networks SET next = ? WHERE id = ?", ((place + 1) % network.size, network.id))
        return network.first + place


def owner_named(store: Store, number: str, name: str, user: User) -> int:
    """The id of the owner that a NIC or DISK names by number or name, by default the user's. Raises APIError."""
    if number:
        try:
            return int(number)
        except ValueError:
            raise _no_user(number) from None
    if not name:
        return user.id
    rows: list[tuple[Any, ...]] = store.query("SELECT id FROM users WHERE name = ?", (name,))
    if not rows:
        raise _no_user(name)
    return int(rows[0][0])


def _no_user(name: str) -> APIError:
    return BadTemplate(f"User {name} does not exist")
