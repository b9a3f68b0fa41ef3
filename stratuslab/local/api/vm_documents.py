"""The XML documents that the embedded cloud answers with, element for element as OpenNebula writes them.

Documents are compact text. Values that come from a template are CDATA, numbers and names are plain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stratuslab.local import releases
from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.engine.scheduler import HOST_ID, HOST_NAME
from stratuslab.local.store.instance_record import Record
from stratuslab.local.xml_text import attributes, cdata, element, wrapped
from stratuslab.opennebula.error_codes import SSH_PORT
from stratuslab.opennebula.states import Lcm, State
from stratuslab.opennebula.template import Attribute

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
_SHORT_DISK = (
    *("DISK_ID", "DATASTORE", "DATASTORE_ID", "IMAGE", "IMAGE_ID", "SIZE", "TYPE"),
    *("CLONE", "CLONE_TARGET", "LN_TARGET", "DISK_SNAPSHOT_TOTAL_SIZE"),
)
_SHORT_NIC = ["IP", "EXTERNAL_PORT_RANGE", "MAC", "NETWORK", "NETWORK_ID", "NIC_ID", "SECURITY_GROUPS"]
_ALWAYS_SHORT_NIC = frozenset(["IP", "MAC", "NETWORK", "NETWORK_ID", "NIC_ID", "SECURITY_GROUPS"])
PERMISSIONS = (
    "<PERMISSIONS><OWNER_U>1</OWNER_U><OWNER_M>1</OWNER_M><OWNER_A>0</OWNER_A>"
    "<GROUP_U>0</GROUP_U><GROUP_M>0</GROUP_M><GROUP_A>0</GROUP_A>"
    "<OTHER_U>0</OTHER_U><OTHER_M>0</OTHER_M><OTHER_A>0</OTHER_A></PERMISSIONS>"
)


def instance(record: Record, profile: ServerProfile) -> str:
    """The whole VM document."""
    return _whole(record, profile, _history(record, profile))


def _whole(record: Record, profile: ServerProfile, history: list[str]) -> str:
    return _legacy(record, profile, history) if profile.legacy else _full(record, profile, _now(record), history)


def pooled_instance(record: Record, profile: ServerProfile) -> str:
    """The VM document as the pool has it: also where it is whole, it tells of the last stay on a host only."""
    return _whole(record, profile, _history(record, profile)[-1:]) if profile.listed is None else _short(record, profile)


def extended_instance(record: Record, profile: ServerProfile) -> str:
    """The whole VM document as one.vmpool.infoextended has it: with the figures of the last change of state."""
    return _full(record, profile, record.listed_usage, _history(record, profile)[-1:])


def monitoring(record: Record, profile: ServerProfile) -> str:
    """What the host reported last, as one.vmpool.monitoring has it; empty where it reported nothing."""
    if not record.polled:
        return ""
    return (
        pooled_instance(record, profile)
        if profile.listed is None
        else f"<MONITORING>{_figures(record, profile, _now(record))}</MONITORING>"
    )


def _now(record: Record) -> dict[str, float]:
    return {"cpu_percent": record.cpu_percent, "memory_kib": record.memory_kib, "polled": record.polled}


def _figures(record: Record, profile: ServerProfile, figures: Mapping[str, float]) -> str:
    if not figures.get("polled"):
        return ""
    if profile.number < (5,):
        return f"<CPU>{cdata(_decimal(figures['cpu_percent']))}</CPU><MEMORY>{cdata(str(figures['memory_kib']))}</MEMORY>"
    return (
        f"<CPU>{cdata(_decimal(figures['cpu_percent']))}</CPU><ID>{cdata(str(record.id))}</ID>"
        f"<MEMORY>{cdata(str(figures['memory_kib']))}</MEMORY><TIMESTAMP>{cdata(str(figures['polled']))}</TIMESTAMP>"
    )


def _head(record: Record, profile: ServerProfile, polled: float, *, short: bool) -> str:
    state, lcm_state = profile.shown_state(record.state, record.lcm_state)
    gid, group = (0, "oneadmin") if record.uid == 0 else (1, "users")
    previous = (
        "" if short or profile.legacy else f"<PREV_STATE>{state:d}</PREV_STATE><PREV_LCM_STATE>{lcm_state:d}</PREV_LCM_STATE>"
    )
    rescheduled = "" if profile.legacy else "<RESCHED>0</RESCHED>"
    return (
        f"<ID>{record.id}</ID><UID>{record.uid}</UID><GID>{gid}</GID>{element('UNAME', record.owner)}<GNAME>{group}</GNAME>"
        f"{element('NAME', record.name)}{'' if short else _permissions(record)}<LAST_POLL>{polled}</LAST_POLL>"
        f"<STATE>{state:d}</STATE><LCM_STATE>{lcm_state:d}</LCM_STATE>{previous}{rescheduled}"
        f"<STIME>{record.stime}</STIME><ETIME>{record.etime}</ETIME>{element('DEPLOY_ID', _deploy_id(record))}"
        f"{_lock(record, short)}"
    )


def _lock(record: Record, short: bool) -> str:
    if not record.lock:
        return ""
    level, owner, since = (record.lock[name] for name in ("level", "owner", "time"))
    more = "" if short else f"<OWNER>{owner}</OWNER><TIME>{since}</TIME><REQ_ID>-1</REQ_ID>"
    return f"<LOCK><LOCKED>{level}</LOCKED>{more}</LOCK>"


def _permissions(record: Record) -> str:
    if not record.permissions:
        return PERMISSIONS
    names = (f"{who}_{right}" for who in ("OWNER", "GROUP", "OTHER") for right in "UMA")
    return wrapped("PERMISSIONS", "".join(f"<{name}>{bit}</{name}>" for name, bit in zip(names, record.permissions, strict=True)))


def _full(record: Record, profile: ServerProfile, figures: Mapping[str, float], history: list[str]) -> str:
    return (
        f"<VM>{_head(record, profile, figures.get('polled', 0), short=False)}"
        f"{wrapped('MONITORING', _figures(record, profile, figures))}{'<SCHED_ACTIONS/>' if profile.number >= (6,) else ''}"
        f"<TEMPLATE>{attributes(releases.attributes_of(_template(record, profile), profile.number))}</TEMPLATE>"
        f"{wrapped('USER_TEMPLATE', attributes(_user_template(record)))}"
        f"{wrapped('HISTORY_RECORDS', ''.join(history))}"
        f"{'<BACKUPS><BACKUP_CONFIG/><BACKUP_IDS/></BACKUPS>' if profile.number >= (6,) else ''}</VM>"
    )


def _short(record: Record, profile: ServerProfile) -> str:
    figures = ""
    usage = record.listed_usage
    if usage:
        figures = f"<CPU>{_decimal(usage['cpu_percent'])}</CPU><MEMORY>{usage['memory_kib']}</MEMORY><STATE/>"
    user_template = dict(_user_template(record))
    listed = [(name, user_template[name]) for name in profile.listed or () if name in user_template]
    numbers = ("CPU", "MEMORY", "VCPU") if profile.number >= (6,) else ("CPU", "MEMORY")
    template = "".join(element(name, record.text(name)) for name in numbers)
    for name, value in _template(record, profile):
        if isinstance(value, str):
            continue
        if name == "DISK":
            template += wrapped("DISK", "".join(f"<{key}>{cdata(value.get(key, ''))}</{key}>" for key in _SHORT_DISK))
        elif name == "NIC":
            keys = (key for key in _SHORT_NIC if key in _ALWAYS_SHORT_NIC or key in value)
            template += wrapped("NIC", "".join(f"<{key}>{cdata(value.get(key, ''))}</{key}>" for key in keys))
    template += attributes(("GRAPHICS", graphics) for graphics in record.vectors("GRAPHICS")[:1])
    return (
        f"<VM>{_head(record, profile, usage.get('polled', 0), short=True)}<TEMPLATE>{template}</TEMPLATE>"
        f"{wrapped('MONITORING', figures)}{wrapped('USER_TEMPLATE', attributes(listed))}"
        f"{wrapped('HISTORY_RECORDS', _short_history(record, profile))}</VM>"
    )


def _legacy(record: Record, profile: ServerProfile, history: list[str]) -> str:
    """The VM document of OpenNebula 3.2, which StratusLab's clouds run."""
    pairs = [*releases.attributes_of(_template(record, profile), profile.number), *record.user_attributes, ("NAME", record.name)]
    if record.message:
        pairs.append(("ERROR", {"MESSAGE": record.message, "TIMESTAMP": _date(record.message_time)}))
    elif record.sched_message and record.state == State.PENDING:
        # The real 3.2 says nothing of this; here is where its clients look for a reason.
        date, _, reason = record.sched_message.partition(": ")
        pairs.append(("ERROR", {"MESSAGE": reason, "TIMESTAMP": date}))
    pairs = sorted(pairs, key=lambda pair: pair[0])
    return (
        f"<VM>{_head(record, profile, record.polled, short=False)}"
        f"<MEMORY>{record.memory_kib}</MEMORY><CPU>{record.cpu_percent:.0f}</CPU><NET_TX>0</NET_TX><NET_RX>0</NET_RX>"
        f"<TEMPLATE>{attributes(pairs)}</TEMPLATE>"
        f"{wrapped('HISTORY_RECORDS', ''.join(history))}</VM>"
    )


def _deploy_id(record: Record) -> str:
    booted = record.state not in (State.PENDING, State.HOLD) and record.history and record.history[-1]["rstime"]
    return f"one-{record.id}" if booted and record.lcm_state not in (Lcm.BOOT, Lcm.BOOT_FAILURE) else ""


def _decimal(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _template(record: Record, profile: ServerProfile) -> Iterable[Attribute]:
    """The attributes as they are now: a host adds to disks, and a server that listens elsewhere to the first interface."""
    placed = bool(record.history)
    first_nic = True
    tm_mad_due = placed
    for name, value in record.attributes:
        if tm_mad_due and name > "TM_MAD_SYSTEM":
            tm_mad_due = False
            yield "TM_MAD_SYSTEM", "local"
        if name == "DISK" and placed and not isinstance(value, str):
            value = {**_PLACED_DISK, **({"FORMAT": "raw"} if profile.number >= (6,) else {}), **value}
        elif name == "NIC" and first_nic and not isinstance(value, str):
            first_nic = False
            value = {**value, **_port_range(record, value.get("IP", ""))}
        yield name, value


def _port_range(record: Record, address: str) -> dict[str, str]:
    if not record.ssh_port or (record.ssh_address == address and record.ssh_port == SSH_PORT):
        return {}
    start = record.ssh_port - SSH_PORT + 1
    return {"EXTERNAL_PORT_RANGE": f"{start}:{record.ssh_port}", "INTERNAL_PORT_RANGE": f"1-{SSH_PORT}/{start}"}


def _user_template(record: Record) -> list[Attribute]:
    pairs = list(record.user_attributes)
    if record.message:
        pairs.append(("ERROR", f"{_date(record.message_time)}: {record.message}"))
    if record.sched_message:
        pairs.append(("SCHED_MESSAGE", record.sched_message))
    return sorted(pairs, key=lambda pair: pair[0])


def _date(seconds: int) -> str:
    import time

    return time.asctime(time.localtime(seconds))


def _history(record: Record, profile: ServerProfile) -> list[str]:
    names = releases.history_elements(profile.number)
    return [wrapped("HISTORY", _history_record(record, number, names)) for number in range(len(record.history))]


def _history_record(record: Record, number: int, names: Iterable[str]) -> str:
    entry = record.history[number]
    fixed: dict[str, object] = {
        "OID": record.id,
        "SEQ": number,
        "HOSTNAME": HOST_NAME,
        "VM_DIR": "/var/lib/one/",
        "HID": HOST_ID,
        "CID": 0,
        "VM_MAD": cdata(record.hypervisor),
        "TM_MAD": cdata("local"),
        "VMMMAD": record.hypervisor,
        "VNMMAD": "local",
        "TMMAD": "local",
        "DS_LOCATION": "/var/lib/one/datastores",
        "DS_ID": 0,
        "PLAN_ID": -1,
        "ACTION_ID": -1,
        "REASON": 0,
        "REQUEST_ID": -1,
    }
    return "".join(f"<{name}>{fixed[name] if name in fixed else entry[name.lower()]}</{name}>" for name in names)


def _short_history(record: Record, profile: ServerProfile) -> str:
    if not record.history:
        return ""
    drivers = f"<VM_MAD>{cdata(record.hypervisor)}</VM_MAD><TM_MAD>{cdata('local')}</TM_MAD>" if profile.number >= (6,) else ""
    return (
        f"<HISTORY><OID>{record.id}</OID><SEQ>{len(record.history) - 1}</SEQ><HOSTNAME>{cdata(HOST_NAME)}</HOSTNAME>"
        f"<HID>{HOST_ID}</HID><CID>0</CID><DS_ID>0</DS_ID>{drivers}"
        f"<ACTION>{cdata(str(record.history[-1]['action']))}</ACTION></HISTORY>"
    )
