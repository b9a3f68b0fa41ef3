"""The attributes below an instance's TEMPLATE as they are now, and as each release has them.

Instances are kept as 7.4 has them. What a host adds is added here; what is younger than the release is left out, and what it had
instead is put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stratuslab.local.api.documents.element_tables import elements
from stratuslab.local.store.stored_records import Record
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.opennebula.template_grammar import Attribute

_PLACED_DISK = {
    "ALLOW_ORPHANS": "NO",
    "CLUSTER_ID": "0",
    "DATASTORE": "system",
    "DATASTORE_ID": "0",
    "DISK_TYPE": "FILE",
    "DRIVER": "raw",
    "PERSISTENT_SNAPSHOTS": "YES",
    "TM_MAD": "local",
}


def _since(table: str) -> Mapping[str, int]:
    return {name: first for name, first, _, _ in elements(table)}


# The first release of attributes that the server writes; others are in 3.2 already.
_SINCE = _since(
    "AUTOMATIC_REQUIREMENTS:4- AUTOMATIC_DS_REQUIREMENTS:5- AUTOMATIC_NIC_REQUIREMENTS:5- SECURITY_GROUP_RULE:4- "
    "TM_MAD_SYSTEM:5- SUBMIT_ON_HOLD:7- OS/UUID:6- DISK/ALLOW_ORPHANS:5- DISK/CLONE_TARGET:4- DISK/CLUSTER_ID:5- "
    "DISK/DATASTORE:4- DISK/DATASTORE_ID:4- DISK/DEV_PREFIX:4- DISK/DISK_SNAPSHOT_TOTAL_SIZE:4- DISK/DISK_TYPE:5- "
    "DISK/IMAGE_STATE:5- DISK/LN_TARGET:4- DISK/ORIGINAL_SIZE:5- DISK/PERSISTENT_SNAPSHOTS:7- DISK/TM_MAD:4- NIC/AR_ID:4- "
    "NIC/BRIDGE_TYPE:5- NIC/CLUSTER_ID:5- NIC/NAME:5- NIC/NIC_ID:4- NIC/SECURITY_GROUPS:4- NIC/TARGET:5- NIC/VN_MAD:5-"
)
_OF_COPIED_DISKS = _since("DRIVER:6- FORMAT:6- SIZE:4-")
_OF_EMPTY_DISKS = _since("DATASTORE:5- DATASTORE_ID:5- DRIVER:6- TM_MAD:5-")
# The variables of each interface in a context with NETWORK=YES up to 5.x; from 6.0 on they are as in the store.
_INTERFACE = {
    4: _since("IP MAC"),
    5: _since(
        "CONTEXT_FORCE_IPV4 DNS EXTERNAL GATEWAY GATEWAY6 IP IP6 IP6_PREFIX_LENGTH IP6_ULA MAC MASK METRIC METRIC6 MTU NETWORK "
        "SEARCH_DOMAIN VLAN_ID VROUTER_IP VROUTER_IP6 VROUTER_MANAGEMENT"
    ),
}


def template(record: Record, release: int) -> Iterator[Attribute]:
    """The attributes of an instance in a release."""
    for name, value in _now(record, release):
        if release < _SINCE.get(name, 0):
            continue
        if isinstance(value, str):
            yield name, value
            continue
        vector = {key: text for key, text in value.items() if release >= _first(name, key, value)}
        if name == "NIC" and release < 5:
            vector["VLAN"] = "NO"
        elif name == "CONTEXT":
            vector = _context(vector, release)
        if vector:
            yield name, vector


def _now(record: Record, release: int) -> Iterable[Attribute]:
    """Add what a placed disk has, and the port of the SSH server to the first interface."""
    placed = bool(record.history)
    added = [("TM_MAD_SYSTEM", "local")] if placed else []
    for name, value in sorted([*record.attributes, *added], key=lambda attribute: attribute[0]):
        if name == "DISK" and placed and not isinstance(value, str):
            value = {**_PLACED_DISK, **({"FORMAT": "raw"} if release >= 6 else {}), **value}
        elif name == "NIC" and not isinstance(value, str) and value.get("NIC_ID") == "0":
            value = {**value, **_port_range(record, value.get("IP", ""))}
        yield name, value


def _port_range(record: Record, address: str) -> dict[str, str]:
    if not record.ssh_port or (record.ssh_address == address and record.ssh_port == SSH_PORT):
        return {}
    start = record.ssh_port - SSH_PORT + 1
    return {"EXTERNAL_PORT_RANGE": f"{start}:{record.ssh_port}", "INTERNAL_PORT_RANGE": f"1-{SSH_PORT}/{start}"}


def _first(name: str, key: str, vector: Mapping[str, str]) -> int:
    if name == "DISK":
        of_its_kind = _OF_COPIED_DISKS if "IMAGE_ID" in vector else _OF_EMPTY_DISKS
        if key in of_its_kind:
            return of_its_kind[key]
    return _SINCE.get(f"{name}/{key}", 0)


def _context(context: dict[str, str], release: int) -> dict[str, str]:
    if release not in _INTERFACE:
        routes = [key for key in context if key.startswith("ETH") and key.endswith("_ROUTES") and release < 7]
        return {key: text for key, text in context.items() if key not in routes}
    interfaces = {key.partition("_")[0] for key in context if key.startswith("ETH") and key.endswith("_MAC")}
    kept = {key: text for key, text in context.items() if key.partition("_")[0] not in interfaces}
    for interface in interfaces:
        kept |= {f"{interface}_{name}": context.get(f"{interface}_{name}", "") for name in _INTERFACE[release]}
    return kept
