"""The networks of the embedded cloud and the addresses that they lease.

A network is a range of IPv4 addresses, by default loopback addresses that no other embedded cloud of this computer leases. Like
OpenNebula it leases the next free one after the last, so an address is not reused at once.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from stratuslab.local.api_error import BadTemplate, NoSuchNetwork
from stratuslab.local.store import loopback_claims
from stratuslab.local.store.database import Store
from stratuslab.local.store.stored_records import User

_NETWORKS = ("public", "local", "private")


class Network(NamedTuple):
    """A range of ``size`` addresses from ``first`` (as a number). ``next`` is the offset at which to look for a free one."""

    id: int
    name: str
    first: int
    size: int
    next: int

    @property
    def bridge(self) -> str:
        return f"vbr{self.id}"

    @property
    def addresses(self) -> range:
        return range(self.first, self.first + self.size)


def address_text(number: int) -> str:
    return ".".join(map(str, number.to_bytes(4, "big")))


def address_number(text: str) -> int | None:
    """The number of a dotted IPv4 address, None for anything else."""
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, text.strip()), "big")
    except (OSError, ValueError):
        return None


def mac_address(number: int) -> str:
    """The hardware address that OpenNebula derives from an IPv4 address."""
    return f"02:00:{number.to_bytes(4, 'big').hex(':')}"


class Leases:
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
        number, name = nic.get("NETWORK_ID", ""), nic.get("NETWORK", "")
        if number:
            found = [network for network in self.networks() if str(network.id) == number.strip()]
            missing = f"Virtual network with ID: {number} does not exist"
        elif name:
            owner = owner_named(self._store, nic.get("NETWORK_UID", ""), nic.get("NETWORK_UNAME", ""), user)
            found = [network for network in self.networks() if network.name == name and owner == 0]
            missing = f"User {owner} does not own a network with name: {name} . Set NETWORK_UNAME or NETWORK_UID of owner in NIC."
        else:
            return None
        if not found:
            raise NoSuchNetwork(missing)
        return found[0]

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
        offsets = ((network.next + step) % network.size for step in range(network.size))
        wanted = [address_number(requested)] if requested else (network.first + offset for offset in offsets)
        taken = {address for address, _ in self.leased(network)}
        free = (address for address in wanted if address in network.addresses and address not in taken)
        address = next(free, None)
        if address is None:
            raise NoSuchNetwork(f"Cannot get IP/MAC lease from virtual network {network.id}.")
        self._store.query("INSERT INTO leases VALUES (?, ?, ?)", (network.id, address, instance))
        if not requested:
            following = (address + 1 - network.first) % network.size
            self._store.query("UPDATE networks SET next = ? WHERE id = ?", (following, network.id))
        return address


def owner_named(store: Store, number: str, name: str, user: User) -> int:
    """The id of the owner that a NIC or DISK names by number or name, by default the user's. Raises APIError."""
    if not number and not name:
        return user.id
    rows: list[tuple[int]] = store.query("SELECT id FROM users WHERE name = ?", (name,))
    try:
        return int(number) if number else rows[0][0]
    except (ValueError, IndexError):
        raise BadTemplate(f"User {number or name} does not exist") from None
