"""The networks of a cloud, with how many of their addresses are free."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.cloud.resource_lookup import ResourceKind, documents, entry, names_to_use
from stratuslab.cloud.rpc_caller import Caller
from stratuslab.opennebula.document_values import count, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class VirtualNetwork(NamedTuple):
    """A network that the user may use. ``word`` is what ``--network`` takes for it, ``ranges`` are the first and the last address
    of each of its ranges; ``size`` and ``free`` count addresses, None where the cloud does not say."""

    word: str
    id: int
    name: str
    owner: str
    size: int | None = None
    free: int | None = None
    ranges: tuple[tuple[str, str], ...] = ()


def virtual_networks(calls: Caller) -> list[VirtualNetwork]:
    """The networks that the user may use, in the order of their ids."""
    found = sorted((entry(one), *_addresses(one)) for one in documents(calls, ResourceKind.NETWORK))
    words = names_to_use([known for known, *_ in found])
    return [
        VirtualNetwork(words[known.id], known.id, known.name, known.owner, size, free, ranges)
        for known, size, free, ranges in found
    ]


def _addresses(network: Element) -> tuple[int | None, int | None, tuple[tuple[str, str], ...]]:
    """The number of addresses, of those that are free, and the ranges. Up to 3.x a network has one range or a list of
    single addresses, which listings leave out; from 4.0 on any number of ranges."""
    found = list(_ranges(network))
    sizes = [size for _, _, size in found]
    size = sum(one for one in sizes if one is not None) if found and None not in sizes else None
    # 3.x counts the leases that are in use as TOTAL_LEASES.
    used = count(text(network, "USED_LEASES") or text(network, "TOTAL_LEASES"))
    free = None if size is None or used is None else max(size - used, 0)
    return size, free, tuple((first, last) for first, last, _ in found if first)


def _ranges(network: Element) -> Iterator[tuple[str, str, int | None]]:
    for one in network.iterfind("AR_POOL/AR"):
        size = count(text(one, "SIZE"), digits=39)
        names = ("IP", "IP6", "IP6_GLOBAL", "GLOBAL_PREFIX", "ULA_PREFIX")
        first = next(filter(None, (text(one, name) for name in names)), "")
        yield first, _last(first, size), size
    first, last = (text(network, f"RANGE/IP_{end}") for end in ("START", "END"))
    if first and last:
        yield first, last, _between(first, last)


def _last(first: str, size: int | None) -> str:
    try:
        return str(ipaddress.ip_address(first) + (size - 1)) if size else first
    except ValueError:  # not an address, or beyond the last one
        return first


def _between(first: str, last: str) -> int | None:
    try:
        return max(int(ipaddress.IPv4Address(last)) - int(ipaddress.IPv4Address(first)) + 1, 0)
    except ValueError:
        return None
