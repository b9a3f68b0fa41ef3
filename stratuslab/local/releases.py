"""Which elements the documents of a release have: what is younger than the release is left out, what it had instead is put in.

Instances are kept as 7.4 has them. Facts are those of the recordings in ``tests/wire/``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from stratuslab.opennebula.template import Attribute

Release = tuple[int, ...]

# The release from which on the server itself writes an attribute; what is not here is as old as 3.2.
_SINCE: Mapping[str, Release] = {
    **dict.fromkeys(("AUTOMATIC_REQUIREMENTS", "SECURITY_GROUP_RULE"), (4,)),
    **dict.fromkeys(("AUTOMATIC_DS_REQUIREMENTS", "AUTOMATIC_NIC_REQUIREMENTS", "TM_MAD_SYSTEM"), (5,)),
    "OS/UUID": (6,),
    "SUBMIT_ON_HOLD": (7,),
    **dict.fromkeys((f"DISK/{name}" for name in ("DEV_PREFIX", "CLONE_TARGET", "LN_TARGET", "DISK_SNAPSHOT_TOTAL_SIZE")), (4,)),
    **dict.fromkeys((f"DISK/{name}" for name in ("TM_MAD", "DATASTORE", "DATASTORE_ID")), (4,)),
    **dict.fromkeys((f"DISK/{name}" for name in ("ALLOW_ORPHANS", "CLUSTER_ID", "DISK_TYPE")), (5,)),
    **dict.fromkeys(("DISK/IMAGE_STATE", "DISK/ORIGINAL_SIZE"), (5,)),
    "DISK/PERSISTENT_SNAPSHOTS": (7,),
    **dict.fromkeys((f"NIC/{name}" for name in ("AR_ID", "NIC_ID", "SECURITY_GROUPS")), (4,)),
    **dict.fromkeys((f"NIC/{name}" for name in ("BRIDGE_TYPE", "CLUSTER_ID", "NAME", "TARGET", "VN_MAD")), (5,)),
}
_OF_COPIED_DISKS_SINCE: Mapping[str, Release] = {"FORMAT": (6,), "DRIVER": (6,), "SIZE": (4,)}
_OF_PLACED_DISKS_SINCE: Mapping[str, Release] = {"DATASTORE": (5,), "DATASTORE_ID": (5,), "TM_MAD": (5,), "DRIVER": (6,)}
_UNTIL_5: Mapping[str, Mapping[str, str]] = {"NIC": {"VLAN": "NO"}}
# What a context has of each interface where it says NETWORK=YES; from 6.0 on it is what is kept.
_INTERFACE: tuple[tuple[Release, frozenset[str]], ...] = (
    (
        (5,),
        frozenset(
            [
                *("CONTEXT_FORCE_IPV4", "DNS", "EXTERNAL", "GATEWAY", "GATEWAY6", "IP", "IP6", "IP6_PREFIX_LENGTH", "IP6_ULA"),
                *("MAC", "MASK", "METRIC", "METRIC6", "MTU", "NETWORK", "SEARCH_DOMAIN", "VLAN_ID"),
                *("VROUTER_IP", "VROUTER_IP6", "VROUTER_MANAGEMENT"),
            ]
        ),
    ),
    ((4,), frozenset(["IP", "MAC"])),
)
_ROUTES_SINCE = (7,)

_TIMES = ("PSTIME", "PETIME", "RSTIME", "RETIME", "ESTIME", "EETIME")
_HISTORY: tuple[tuple[Release, tuple[str, ...]], ...] = (
    (
        (7,),
        (
            *("OID", "SEQ", "HOSTNAME", "HID", "CID", "STIME", "ETIME", "VM_MAD", "TM_MAD", "DS_ID", "PLAN_ID", "ACTION_ID"),
            *(*_TIMES, "ACTION", "UID", "GID", "REQUEST_ID"),
        ),
    ),
    (
        (5,),
        (
            *("OID", "SEQ", "HOSTNAME", "HID", "CID", "STIME", "ETIME", "VM_MAD", "TM_MAD", "DS_ID"),
            *(*_TIMES, "ACTION", "UID", "GID", "REQUEST_ID"),
        ),
    ),
    (
        (4,),
        (
            *("OID", "SEQ", "HOSTNAME", "HID", "CID", "STIME", "ETIME", "VMMMAD", "VNMMAD", "TMMAD", "DS_LOCATION", "DS_ID"),
            *(*_TIMES, "REASON", "ACTION"),
        ),
    ),
    ((0,), ("SEQ", "HOSTNAME", "VM_DIR", "HID", "STIME", "ETIME", "VMMMAD", "VNMMAD", "TMMAD", *_TIMES, "REASON")),
)


def history_elements(release: Release) -> tuple[str, ...]:
    """The elements of a history record, in their order."""
    return next(names for since, names in _HISTORY if release >= since)


def attributes_of(pairs: Iterable[Attribute], release: Release) -> Iterator[Attribute]:
    """The attributes of an instance as the release has them."""
    for name, value in pairs:
        if release < _SINCE.get(name, ()):
            continue
        if isinstance(value, str):
            yield name, value
            continue
        vector = {key: text for key, text in value.items() if release >= _since(name, key, value)}
        if release < (5,):
            vector |= _UNTIL_5.get(name, {})
        if name == "CONTEXT" and (4,) <= release < (6,):
            vector = _context(vector, release)
        elif name == "CONTEXT" and release < _ROUTES_SINCE:
            vector = {key: text for key, text in vector.items() if not (key.startswith("ETH") and key.endswith("_ROUTES"))}
        if vector:
            yield name, vector


def _since(name: str, key: str, vector: Mapping[str, str]) -> Release:
    if name == "DISK":
        of_its_kind = _OF_COPIED_DISKS_SINCE if "IMAGE_ID" in vector else _OF_PLACED_DISKS_SINCE
        if key in of_its_kind:
            return of_its_kind[key]
    return _SINCE.get(f"{name}/{key}", ())


def _context(context: dict[str, str], release: Release) -> dict[str, str]:
    names = next(names for since, names in _INTERFACE if release >= since)
    interfaces = {key.partition("_")[0] for key in context if key.startswith("ETH") and key.endswith("_MAC")}
    kept = {key: text for key, text in context.items() if key.partition("_")[0] not in interfaces}
    for interface in interfaces:
        kept |= {f"{interface}_{name}": context.get(f"{interface}_{name}", "") for name in names}
    return kept


# The elements of other documents that are younger than 3.2, by what they are of.
_YOUNGER: Mapping[str, Mapping[Release, str]] = {
    "IMAGE": {
        (4,): "DISK_TYPE CLONING_OPS CLONING_ID TARGET_SNAPSHOT DATASTORE_ID DATASTORE VMS CLONES SNAPSHOTS",
        (5,): "APP_CLONES",
        (6,): "FORMAT PREV_STATE BACKUP_INCREMENTS",
        (7,): "MODTIME BACKUP_DISK_IDS",
    },
    "VNET": {
        (4,): "USED_LEASES PARENT_NETWORK_ID AR_POOL",
        (5,): "CLUSTERS BRIDGE_TYPE VN_MAD OUTER_VLAN_ID VLAN_ID_AUTOMATIC OUTER_VLAN_ID_AUTOMATIC VROUTERS",
        (6,): "STATE PREV_STATE UPDATED_VMS OUTDATED_VMS UPDATING_VMS ERROR_VMS",
        (7,): "TEMPLATE_ID NEXT_INDEX SHARED",
    },
    "HOST": {
        (4,): "CLUSTER_ID CLUSTER DATASTORES PCI_DEVICES VMS",
        (5,): "PREV_STATE TOTAL_MEM TOTAL_CPU VMS_THREAD NUMA_NODES MONITORING",
    },
}
# What stands in place of an element up to a release; {} is the element itself. Nobody measures the disk of the host.
_OLDER: Mapping[str, tuple[tuple[Release, str, str], ...]] = {
    "IMAGE": (((6,), "FS", "<FSTYPE/>"),),
    "VNET": (((5,), "BRIDGE", "{}<VLAN>0</VLAN>"),),
    "HOST": (
        ((5,), "VM_MAD", "{}<VN_MAD>local</VN_MAD><LAST_MON_TIME>0</LAST_MON_TIME>"),
        ((5,), "MEM_USAGE", "<DISK_USAGE>0</DISK_USAGE>{}"),
        ((5,), "MAX_MEM", "<MAX_DISK>0</MAX_DISK>{}"),
        (
            (5,),
            "MAX_CPU",
            "{}" + "".join(f"<{way}_{what}>0</{way}_{what}>" for way in ("FREE", "USED") for what in ("DISK", "MEM", "CPU")),
        ),
    ),
}


def document_of(text: str, release: Release) -> str:
    """The document of an image, a network or a host, or of a pool of them, as the release has it."""
    match = re.match(r"<(IMAGE|VNET|HOST)\b|<(IMAGE|VNET|HOST)_POOL", text)
    if match is None:
        return text
    kind = match[1] or match[2]
    for since, names in _YOUNGER[kind].items():
        if release < since:
            for name in names.split():
                text = _element(name).sub("", text)
    for until, name, instead in _OLDER[kind]:
        if release < until:
            text = _element(name).sub(lambda found, instead=instead: instead.replace("{}", found[0]), text)  # type: ignore[misc]
    return text


def _element(name: str) -> re.Pattern[str]:
    return re.compile(rf"<{name}>.*?</{name}>|<{name}/>", re.DOTALL)
