"""The documents of what instances are made of: images, networks, the host, datastores, and the user's own."""

from __future__ import annotations

from typing import Any

from stratuslab.local.api import machine_templates
from stratuslab.local.api.vm_documents import PERMISSIONS
from stratuslab.local.api_error import APIError, no_such
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.instance_load import InstanceLoad
from stratuslab.local.engine.scheduler import HOST_ID, HOST_NAME, Capacity
from stratuslab.local.store.instance_record import QEMU, SIMULATED, User
from stratuslab.local.store.leases import Network, address_text, mac_address
from stratuslab.local.xml_text import attributes, cdata, element, wrapped
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.states import State
from stratuslab.opennebula.template import Attribute

# Everybody may use what the administrator owns.
_SHARED = PERMISSIONS.replace("<GROUP_U>0", "<GROUP_U>1").replace("<OTHER_U>0", "<OTHER_U>1")
_ADMINISTRATORS = "<UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME>"
IMAGE_IDENTIFIER = "MARKETPLACE_IDENTIFIER"
"""The attribute of an image's template that holds its identifier in the Marketplace."""


def images(engine: Engine) -> str:
    """The image pool: the entries of the Marketplace."""
    users = _users_of_images(engine)
    return wrapped("IMAGE_POOL", "".join(_image(row, users) for row in _image_rows(engine)))


def image(engine: Engine, number: int) -> str:
    """One image. Raises APIError."""
    for row in _image_rows(engine, number):
        return _image(row, _users_of_images(engine))
    raise no_such("image", number)


def _image_rows(engine: Engine, number: int | None = None) -> list[tuple[Any, ...]]:
    condition, arguments = ("1", []) if number is None else ("id = ?", [number])
    return engine.store.query(
        f"SELECT id, identifier, title, bytes, registered FROM entries WHERE {condition} ORDER BY id DESC", arguments
    )


def _users_of_images(engine: Engine) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    rows = engine.store.query("SELECT image, id FROM instances WHERE state <> ? ORDER BY id", (State.DONE,))
    for identifier, instance in rows:
        found.setdefault(identifier, []).append(instance)
    return found


def _image(row: tuple[Any, ...], users: dict[str, list[int]]) -> str:
    number, identifier, title, size, registered = row
    instances = users.get(identifier, [])
    template: list[Attribute] = [("DEV_PREFIX", "sd"), (IMAGE_IDENTIFIER, identifier)]
    return (
        f"<IMAGE><ID>{number}</ID>{_ADMINISTRATORS}{element('NAME', title)}{_SHARED}<TYPE>0</TYPE><DISK_TYPE>0</DISK_TYPE>"
        f"<PERSISTENT>0</PERSISTENT><REGTIME>{registered}</REGTIME><MODTIME>{registered}</MODTIME>"
        f"<SOURCE>{cdata(identifier)}</SOURCE><PATH>{cdata('')}</PATH><FORMAT>{cdata('raw')}</FORMAT><FS>{cdata('')}</FS>"
        f"<SIZE>{-(-size // 2**20)}</SIZE><STATE>{2 if instances else 1}</STATE><PREV_STATE>1</PREV_STATE>"
        f"<RUNNING_VMS>{len(instances)}</RUNNING_VMS><CLONING_OPS>0</CLONING_OPS><CLONING_ID>-1</CLONING_ID>"
        "<TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT><DATASTORE_ID>1</DATASTORE_ID><DATASTORE>default</DATASTORE>"
        f"{wrapped('VMS', _ids(instances))}<CLONES/><APP_CLONES/><TEMPLATE>{attributes(template)}</TEMPLATE>"
        f"<SNAPSHOTS><ALLOW_ORPHANS>{cdata('NO')}</ALLOW_ORPHANS><CURRENT_BASE>{cdata('-1')}</CURRENT_BASE>"
        f"<NEXT_SNAPSHOT>{cdata('0')}</NEXT_SNAPSHOT></SNAPSHOTS><BACKUP_INCREMENTS/><BACKUP_DISK_IDS/></IMAGE>"
    )


def _ids(numbers: list[int]) -> str:
    return "".join(f"<ID>{number}</ID>" for number in numbers)


def networks(engine: Engine) -> str:
    """The pool of virtual networks. A lease is written as its place in the range and its owner, a number whose upper half says
    that it is an instance."""

    def written(network: Network) -> str:
        leases = "".join(f" {address - network.first} {(16 << 32) + instance}" for address, instance in _leased(engine, network))
        return _network(engine, network, attributes([("AR", {"ALLOCATED": leases, **_range(network)})]))

    return wrapped("VNET_POOL", "".join(map(written, engine.leases.networks())))


def network(engine: Engine, number: int, *, legacy: bool = False) -> str:
    """One virtual network, with its leases: below its range, in ``legacy`` documents below itself. Raises APIError."""
    for found in engine.leases.networks():
        if found.id == number:
            break
    else:
        raise no_such("virtual network", number)
    leased = _leased(engine, found)
    owner = "<USED>1</USED><VID>{0}</VID>" if legacy else "<VM>{0}</VM>"
    leases = "".join(
        f"<LEASE><IP>{address_text(address)}</IP><MAC>{mac_address(address)}</MAC>{owner.format(instance)}</LEASE>"
        for address, instance in leased
    )
    span = "".join(f"<{name}>{cdata(value)}</{name}>" for name, value in _range(found).items())
    last = found.first + found.size - 1
    span += f"<MAC_END>{cdata(mac_address(last))}</MAC_END><IP_END>{cdata(address_text(last))}</IP_END>"
    span += f"<USED_LEASES>{len(leased)}</USED_LEASES>{wrapped('LEASES', leases)}"
    document = _network(engine, found, wrapped("AR", span))
    return document.replace("</VNET>", f"{wrapped('LEASES', leases)}</VNET>") if legacy else document


def _leased(engine: Engine, network: Network) -> list[tuple[int, int]]:
    """The leases out of the range that the network has now."""
    leased = engine.leases.leased(network)
    return [(address, instance) for address, instance in leased if 0 <= address - network.first < network.size]


def _range(network: Network) -> dict[str, str]:
    return {
        "AR_ID": "0",
        "IP": address_text(network.first),
        "MAC": mac_address(network.first),
        "NEXT_INDEX": str(network.next),
        "SHARED": "NO",
        "SIZE": str(network.size),
        "TYPE": "IP4",
    }


def _network(engine: Engine, network: Network, span: str) -> str:
    leased = engine.leases.leased(network)
    template: list[Attribute] = [
        ("BRIDGE", network.bridge),
        ("BRIDGE_TYPE", "linux"),
        ("NETWORK_MASK", "255.0.0.0"),
        ("OUTER_VLAN_ID", ""),
        ("PHYDEV", ""),
        ("SECURITY_GROUPS", "0"),
        ("VLAN_ID", ""),
        ("VN_MAD", "local"),
    ]
    return (
        f"<VNET><ID>{network.id}</ID>{_ADMINISTRATORS}{element('NAME', network.name)}{_SHARED}<CLUSTERS><ID>0</ID></CLUSTERS>"
        f"<BRIDGE>{cdata(network.bridge)}</BRIDGE><BRIDGE_TYPE>{cdata('linux')}</BRIDGE_TYPE><STATE>{cdata('1')}</STATE>"
        f"<PREV_STATE>{cdata('1')}</PREV_STATE><PARENT_NETWORK_ID/><TEMPLATE_ID/><VN_MAD>{cdata('local')}</VN_MAD><PHYDEV/>"
        "<VLAN_ID/><OUTER_VLAN_ID/><VLAN_ID_AUTOMATIC>0</VLAN_ID_AUTOMATIC>"
        f"<OUTER_VLAN_ID_AUTOMATIC>0</OUTER_VLAN_ID_AUTOMATIC><USED_LEASES>{len(leased)}</USED_LEASES><VROUTERS/>"
        f"{wrapped('UPDATED_VMS', _ids(sorted({instance for _, instance in leased})))}<OUTDATED_VMS/><UPDATING_VMS/><ERROR_VMS/>"
        f"<TEMPLATE>{attributes(template)}</TEMPLATE><AR_POOL>{span}</AR_POOL></VNET>"
    )


def templates(engine: Engine) -> str:
    """The pool of machine templates."""
    return wrapped("VMTEMPLATE_POOL", "".join(map(_template, machine_templates.ALL)))


def template(engine: Engine, number: int) -> str:
    """One machine template. Raises APIError."""
    return _template(machine_templates.find(number))


def _template(template: machine_templates.ReadyTemplate) -> str:
    return (
        f"<VMTEMPLATE><ID>{template.id}</ID>{_ADMINISTRATORS}{element('NAME', template.name)}{_SHARED}<REGTIME>0</REGTIME>"
        f"<TEMPLATE>{attributes(sorted(template.attributes, key=lambda attribute: attribute[0]))}</TEMPLATE></VMTEMPLATE>"
    )


def hosts(engine: Engine) -> str:
    """The host pool: this computer."""
    return wrapped("HOST_POOL", _host(engine))


def host(engine: Engine, number: int) -> str:
    """The one host. Raises APIError."""
    if number != HOST_ID:
        raise no_such("host", number)
    return _host(engine)


def _host(engine: Engine) -> str:
    capacity = Capacity.read(engine.store)
    loads = InstanceLoad.read(engine.store)
    used = capacity.used(loads)
    placed = [load.id for load in loads if load.state != State.PENDING]
    hypervisor = SIMULATED if engine.drivers.missing() else QEMU
    return (
        f"<HOST><ID>{HOST_ID}</ID><NAME>{HOST_NAME}</NAME><STATE>2</STATE><PREV_STATE>2</PREV_STATE>"
        f"<IM_MAD>{cdata('local')}</IM_MAD><VM_MAD>{cdata(hypervisor)}</VM_MAD><CLUSTER_ID>0</CLUSTER_ID>"
        "<CLUSTER>default</CLUSTER><HOST_SHARE>"
        f"<MEM_USAGE>{used.memory_mib * 1024}</MEM_USAGE><CPU_USAGE>{used.cpu * 100:.0f}</CPU_USAGE>"
        f"<TOTAL_MEM>{capacity.memory_mib * 1024}</TOTAL_MEM><TOTAL_CPU>{capacity.cpu * 100:.0f}</TOTAL_CPU>"
        f"<MAX_MEM>{capacity.memory_mib * 1024}</MAX_MEM><MAX_CPU>{capacity.cpu * 100:.0f}</MAX_CPU>"
        f"<RUNNING_VMS>{len(placed)}</RUNNING_VMS><VMS_THREAD>1</VMS_THREAD><DATASTORES/><PCI_DEVICES/><NUMA_NODES/>"
        f"</HOST_SHARE>{wrapped('VMS', _ids(placed))}<TEMPLATE/><MONITORING/></HOST>"
    )


def datastores(engine: Engine) -> str:
    """The datastore pool: where the system's disks and the images are."""
    return wrapped("DATASTORE_POOL", "".join(_datastore(engine, *facts) for facts in _DATASTORES))


def datastore(engine: Engine, number: int) -> str:
    """One datastore. Raises APIError."""
    for facts in _DATASTORES:
        if facts[0] == number:
            return _datastore(engine, *facts)
    raise no_such("datastore", number)


_DATASTORES = ((1, "default", 0), (0, "system", 1))


def _datastore(engine: Engine, number: int, name: str, kind: int) -> str:
    ids = [] if number == 0 else [row[0] for row in engine.store.query("SELECT id FROM entries ORDER BY id")]
    return (
        f"<DATASTORE><ID>{number}</ID>{_ADMINISTRATORS}<NAME>{name}</NAME>{_SHARED}<DS_MAD>{cdata('local')}</DS_MAD>"
        f"<TM_MAD>{cdata('local')}</TM_MAD><BASE_PATH>{cdata('')}</BASE_PATH><TYPE>{kind}</TYPE><DISK_TYPE>0</DISK_TYPE>"
        "<STATE>0</STATE><CLUSTERS><ID>0</ID></CLUSTERS><TOTAL_MB>0</TOTAL_MB><FREE_MB>0</FREE_MB><USED_MB>0</USED_MB>"
        f"{wrapped('IMAGES', _ids(ids))}<TEMPLATE/></DATASTORE>"
    )


def clusters(engine: Engine) -> str:
    """The pool of clusters: the one that everything is in."""
    return wrapped("CLUSTER_POOL", cluster(engine, 0))


def cluster(engine: Engine, number: int) -> str:
    """The one cluster. Raises APIError."""
    if number != 0:
        raise no_such("cluster", number)
    networks = sorted(network.id for network in engine.leases.networks())
    return (
        f"<CLUSTER><ID>0</ID><NAME>default</NAME>{wrapped('HOSTS', _ids([HOST_ID]))}"
        f"{wrapped('DATASTORES', _ids(sorted(facts[0] for facts in _DATASTORES)))}{wrapped('VNETS', _ids(networks))}"
        f"<TEMPLATE>{attributes([('RESERVED_CPU', ''), ('RESERVED_MEM', '')])}</TEMPLATE></CLUSTER>"
    )


_QUOTAS = "<DATASTORE_QUOTA/><NETWORK_QUOTA/><VM_QUOTA/><IMAGE_QUOTA/>"


def groups(engine: Engine, caller: User) -> str:
    """The pool of groups: the administrators' and the users'; users see their own."""
    visible = (0, 1) if caller.is_administrator else (1,)
    document = "".join(_group(engine, number) for number in visible)
    return wrapped("GROUP_POOL", document + wrapped("DEFAULT_GROUP_QUOTAS", _QUOTAS))


def group(engine: Engine, caller: User, number: int) -> str:
    """One group; -1 is the caller's. Raises APIError."""
    wanted = caller.group[0] if number == -1 else number
    if wanted not in (0, 1):
        raise no_such("group", wanted)
    if wanted != caller.group[0] and not caller.is_administrator:
        raise APIError(ErrorCode.AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform USE GROUP [{wanted}].")
    return _group(engine, wanted, _QUOTAS + wrapped("DEFAULT_GROUP_QUOTAS", _QUOTAS))


def _group(engine: Engine, number: int, quotas: str = "") -> str:
    users = [User(*row) for row in engine.store.query("SELECT id, name FROM users ORDER BY id")]
    members = [user for user in users if user.group[0] == number]
    name = members[0].group[1] if members else "users"
    ids = wrapped("USERS", _ids([user.id for user in members]))
    return f"<GROUP><ID>{number}</ID><NAME>{name}</NAME><TEMPLATE/>{ids}<ADMINS/>{quotas}</GROUP>"


def users(engine: Engine, caller: User) -> str:
    """The pool of users; those who are not the administrator see themselves."""
    rows = engine.store.query("SELECT id, name FROM users ORDER BY id")
    visible = [User(*row) for row in rows if caller.is_administrator or row[0] == caller.id]
    return wrapped("USER_POOL", "".join(_user(user) for user in visible) + wrapped("DEFAULT_USER_QUOTAS", _QUOTAS))


def user(engine: Engine, caller: User, number: int) -> str:
    """One user; -1 is the caller, and others are the administrator's to see. No password is ever shown. Raises APIError."""
    wanted = caller.id if number == -1 else number
    rows = engine.store.query("SELECT id, name FROM users WHERE id = ?", (wanted,))
    if not rows:
        raise no_such("user", wanted)
    if wanted != caller.id and not caller.is_administrator:
        raise APIError(ErrorCode.AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform USE USER [{wanted}].")
    return _user(User(*rows[0]), _QUOTAS + wrapped("DEFAULT_USER_QUOTAS", _QUOTAS))


def _user(user: User, quotas: str = "") -> str:
    gid, group = user.group
    return (
        f"<USER><ID>{user.id}</ID><GID>{gid}</GID><GROUPS><ID>{gid}</ID></GROUPS><GNAME>{group}</GNAME>"
        f"{element('NAME', user.name)}<PASSWORD>{cdata('')}</PASSWORD><AUTH_DRIVER>{cdata('core')}</AUTH_DRIVER>"
        f"<ENABLED>1</ENABLED><TEMPLATE/>{quotas}</USER>"
    )
