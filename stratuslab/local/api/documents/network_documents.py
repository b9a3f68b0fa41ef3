"""The documents of virtual networks, with their leases."""

from __future__ import annotations

from collections.abc import Sequence

from stratuslab.local.api.documents.element_tables import OWNED, contents, elements, filled, ids, written
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.leases import Network, address_text, mac_address
from stratuslab.local.xml_writer import attributes, cdata, escape, wrapped

_NETWORK = elements(
    f"{OWNED} TYPE:-3=0 CLUSTER_ID:4-4=-1 CLUSTER:4-4 CLUSTERS:5-=<ID>0</ID> BRIDGE BRIDGE_TYPE:5-=[linux] VLAN:-4=0 "
    "STATE:6-=[1] PREV_STATE:6-=[1] PARENT_NETWORK_ID:4- TEMPLATE_ID:7- VN_MAD:5-=[local] PHYDEV VLAN_ID  OUTER_VLAN_ID:5- "
    "VLAN_ID_AUTOMATIC:5-=0 OUTER_VLAN_ID_AUTOMATIC:5-=0 RANGE:-3 TOTAL_LEASES:-3 USED_LEASES:4-  VROUTERS:5- "
    "UPDATED_VMS:6- OUTDATED_VMS:6-  UPDATING_VMS:6- ERROR_VMS:6- TEMPLATE AR_POOL:4- LEASES:-3"
)
_TEMPLATE = elements(
    "BRIDGE:4- BRIDGE_TYPE:5-=linux NETWORK_MASK=255.0.0.0 PHYDEV:4- SECURITY_GROUPS:4-=0 VLAN:4-4=NO VLAN_ID:4-4 VN_MAD:4-=local"
)
_RANGE = elements("ALLOCATED AR_ID=[0] IP MAC NEXT_INDEX:7- SHARED:7-=[NO] SIZE TYPE=[IP4] MAC_END IP_END USED_LEASES LEASES")

Leases = Sequence[tuple[int, int]]
"""Leased addresses, with their instances."""


def networks(engine: Engine, release: int, number: int | None = None) -> list[str]:
    """All virtual networks, or that of the number with its leases."""
    found = sorted(engine.leases.networks(), key=lambda network: network.id)
    return [
        _network(network, _leases(engine, network), release, listed=number is None)
        for network in found
        if number in (None, network.id)
    ]


def _leases(engine: Engine, network: Network) -> Leases:
    """The leases in the network's current range."""
    leased = engine.leases.leased(network)
    return [(address, instance) for address, instance in leased if 0 <= address - network.first < network.size]


def _network(network: Network, leases: Leases, release: int, listed: bool) -> str:
    """The document, which has the leases in the range, and up to 3.x in the network itself."""
    first, last = network.first, network.first + network.size - 1
    # In a pool a lease is its offset in the range and its owner, a number whose upper half marks an instance.
    allocated = "".join(f" {address - first} {(16 << 32) + instance}" for address, instance in leases)
    owner = "<USED>1</USED><VID>{0}</VID>" if release < 4 else "<VM>{0}</VM>"
    leased = "".join(
        f"<LEASE><IP>{address_text(address)}</IP><MAC>{mac_address(address)}</MAC>{owner.format(instance)}</LEASE>"
        for address, instance in leases
    )
    alone = {
        "MAC_END": cdata(mac_address(last)),
        "IP_END": cdata(address_text(last)),
        "USED_LEASES": len(leases),
        "LEASES": leased,
    }
    span: dict[str, object] = {
        **(dict.fromkeys(alone) if listed else alone),
        "ALLOCATED": cdata(allocated) if listed and leases else None,
        "IP": cdata(address_text(first)),
        "MAC": cdata(mac_address(first)),
        "NEXT_INDEX": cdata(str(network.next)),
        "SIZE": cdata(str(network.size)),
    }
    content = {
        "ID": network.id,
        "NAME": escape(network.name),
        "BRIDGE": cdata(network.bridge),
        "RANGE": f"<IP_START>{address_text(first)}</IP_START><IP_END>{address_text(last)}</IP_END>",
        "TOTAL_LEASES": len(leases),
        "USED_LEASES": len(leases),
        "UPDATED_VMS": ids(sorted({instance for _, instance in leases})),
        "TEMPLATE": attributes(contents(_TEMPLATE, release, {"BRIDGE": network.bridge})),
        "AR_POOL": wrapped("AR", filled(_RANGE, release, span)),
        "LEASES": None if listed else leased,
    }
    return written("VNET", _NETWORK, release, content)
