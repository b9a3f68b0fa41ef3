"""The HOST, DATASTORE and CLUSTER documents."""

from __future__ import annotations

from stratuslab.local.api.documents.element_tables import OWNED, contents, elements, filled, ids, written
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import HOST_ID, HOST_NAME, Capacity, InstanceLoad
from stratuslab.local.store.stored_records import QEMU, SIMULATED
from stratuslab.local.xml_writer import attributes, cdata
from stratuslab.opennebula.states import State

_HOST = elements(
    "ID NAME STATE=2 PREV_STATE:5-=2 IM_MAD=[local] VM_MAD VN_MAD:-4=[local] TM_MAD:-3=[local] LAST_MON_TIME:-4=0 "
    "CLUSTER_ID:4-4=-1 CLUSTER:4-4 CLUSTER_ID:5-=0 CLUSTER:5-=default HOST_SHARE VMS:4- TEMPLATE MONITORING:5-"
)
# The host's disk and devices are not measured.
_SHARE = elements(
    "DISK_USAGE:-4=0 MEM_USAGE CPU_USAGE TOTAL_MEM:5- TOTAL_CPU:5- MAX_DISK:-4=0 MAX_MEM MAX_CPU FREE_DISK:-4=0 FREE_MEM:-4 "
    "FREE_CPU:-4 USED_DISK:-4=0 USED_MEM:-4=0 USED_CPU:-4=0 RUNNING_VMS VMS_THREAD:5-=1 DATASTORES:4- PCI_DEVICES:4- "
    "NUMA_NODES:5-"
)
_DATASTORES_OF_HOST = elements("DISK_USAGE:5-=[0] FREE_DISK:5-=[0] MAX_DISK:5-=[0] USED_DISK:5-=[0]")
_HOST_TEMPLATE = elements("HOSTNAME HYPERVISOR IM_MAD:4-=local RESERVED_CPU:4- RESERVED_MEM:4- VM_MAD:4- VN_MAD:4-4=local")
_DATASTORE = elements(
    f"{OWNED} DS_MAD=[local] TM_MAD=[local] BASE_PATH TYPE DISK_TYPE=0 STATE=0 CLUSTERS=<ID>0</ID> TOTAL_MB=0 FREE_MB=0 "
    "USED_MB=0 IMAGES TEMPLATE"
)
_DATASTORES = ((0, "system", 1), (1, "default", 0))
_RESERVED = attributes([("RESERVED_CPU", ""), ("RESERVED_MEM", "")])
_CLUSTER = elements(f"ID=0 NAME=default HOSTS=<ID>{HOST_ID}</ID> DATASTORES VNETS TEMPLATE={_RESERVED}")


def hosts(engine: Engine, release: int, number: int | None = None) -> list[str]:
    """The one host, this computer."""
    return [_host(engine, release)] if number in (None, HOST_ID) else []


def _host(engine: Engine, release: int) -> str:
    capacity = Capacity.read(engine.store)
    loads = InstanceLoad.read(engine.store)
    used = capacity.used(loads)
    placed = [load.id for load in loads if load.state != State.PENDING]
    hypervisor = SIMULATED if engine.drivers.missing() else QEMU
    share: dict[str, object] = {
        "MEM_USAGE": used.memory_mib * 1024,
        "CPU_USAGE": f"{used.cpu * 100:.0f}",
        **dict.fromkeys(("TOTAL_MEM", "MAX_MEM", "FREE_MEM"), capacity.memory_mib * 1024),
        **dict.fromkeys(("TOTAL_CPU", "MAX_CPU", "FREE_CPU"), f"{capacity.cpu * 100:.0f}"),
        "RUNNING_VMS": len(placed),
        "DATASTORES": filled(_DATASTORES_OF_HOST, release, {}),
    }
    template = {"HOSTNAME": HOST_NAME, "HYPERVISOR": hypervisor, "VM_MAD": hypervisor}
    content = {
        "ID": HOST_ID,
        "NAME": HOST_NAME,
        "VM_MAD": cdata(hypervisor),
        "HOST_SHARE": filled(_SHARE, release, share),
        "VMS": ids(placed),
        "TEMPLATE": attributes(contents(_HOST_TEMPLATE, release, template)),
    }
    return written("HOST", _HOST, release, content)


def datastores(engine: Engine, release: int, number: int | None = None) -> list[str]:
    """The datastores, one for disks and one for images, or that of the number."""
    return [_datastore(engine, *facts, release) for facts in _DATASTORES if number in (None, facts[0])]


def _datastore(engine: Engine, number: int, name: str, kind: int, release: int) -> str:
    images = [] if number == 0 else [row[0] for row in engine.store.query("SELECT id FROM entries ORDER BY id")]
    content = {
        "ID": number,
        "NAME": name,
        "TYPE": kind,
        "IMAGES": ids(images),
    }
    return written("DATASTORE", _DATASTORE, release, content)


def clusters(engine: Engine, release: int, number: int | None = None) -> list[str]:
    """The one cluster."""
    if number not in (None, 0):
        return []
    content = {
        "DATASTORES": ids(facts[0] for facts in _DATASTORES),
        "VNETS": ids(sorted(network.id for network in engine.leases.networks())),
    }
    return [written("CLUSTER", _CLUSTER, release, content)]
