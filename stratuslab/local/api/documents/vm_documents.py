"""The VM documents: whole, short (as listings since 5.8 have them), and monitoring."""

from __future__ import annotations

import time
from collections.abc import Mapping

from stratuslab.local.api.documents import vm_attributes
from stratuslab.local.api.documents.element_tables import elements, filled, permissions, written
from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.engine.scheduler import HOST_ID, HOST_NAME, TOO_LARGE
from stratuslab.local.engine.server_rules import LENIENT
from stratuslab.local.store.stored_records import DEFAULT_PERMISSIONS, Record, User
from stratuslab.local.xml_writer import attributes, cdata, escape, wrapped
from stratuslab.opennebula.instance import MONITORING_ERROR_ATTRIBUTE
from stratuslab.opennebula.states import Lcm, State
from stratuslab.opennebula.template_grammar import Attribute

_VM = elements(
    "ID UID GID UNAME GNAME NAME PERMISSIONS LAST_POLL STATE LCM_STATE PREV_STATE:4- PREV_LCM_STATE:4- RESCHED:4-=0 STIME "
    "ETIME DEPLOY_ID LOCK MEMORY:-3 CPU:-3 NET_TX:-3=0 NET_RX:-3=0 MONITORING:4- SCHED_ACTIONS:6- TEMPLATE USER_TEMPLATE:4- "
    "HISTORY_RECORDS BACKUPS:6-=<BACKUP_CONFIG/><BACKUP_IDS/>"
)
_SHORT_VM = elements(
    "ID UID GID UNAME GNAME NAME LAST_POLL STATE LCM_STATE RESCHED=0 STIME ETIME DEPLOY_ID LOCK TEMPLATE MONITORING "
    "USER_TEMPLATE HISTORY_RECORDS"
)
_HISTORY = elements(
    "OID:4- SEQ HOSTNAME VM_DIR:-3=/var/lib/one/ HID CID:4-4=-1 CID:5-=0 STIME ETIME VM_MAD:5- TM_MAD:5-=[local] VMMMAD:-4 "
    "VNMMAD:-4=local  TMMAD:-4=local DS_LOCATION:4-4=/var/lib/one/datastores DS_ID:4-=0 PLAN_ID:7-=-1 ACTION_ID:7-=-1 "
    "PSTIME PETIME RSTIME RETIME  ESTIME EETIME REASON:-4=0 ACTION:4- UID:5- GID:5- REQUEST_ID:5-=-1"
)
_SHORT_HISTORY = elements("OID SEQ HOSTNAME HID CID=0 DS_ID=0 VM_MAD:6- TM_MAD:6-=[local] ACTION")
_FIGURES = elements("CPU ID:5- MEMORY TIMESTAMP:5-")
_SHORT_CAPACITY = elements("CPU MEMORY VCPU:6-")
_SHORT_DISK = (
    *("DISK_ID", "DATASTORE", "DATASTORE_ID", "IMAGE", "IMAGE_ID", "SIZE", "TYPE"),
    *("CLONE", "CLONE_TARGET", "LN_TARGET", "DISK_SNAPSHOT_TOTAL_SIZE"),
)
_SHORT_NIC = ("IP", "EXTERNAL_PORT_RANGE", "MAC", "NETWORK", "NETWORK_ID", "NIC_ID", "SECURITY_GROUPS")


def instance(record: Record, profile: ServerProfile) -> str:
    """The whole VM document."""
    return _whole(record, profile, _now(record))


def pooled_instance(record: Record, profile: ServerProfile) -> str:
    """The VM document in one.vmpool.info. If it is whole it has only the last history record."""
    return _short(record, profile) if profile.listed is not None else _whole(record, profile, _now(record), latest=True)


def extended_instance(record: Record, profile: ServerProfile) -> str:
    """The whole VM document in one.vmpool.infoextended, with the usage at the last change of state."""
    return _whole(record, profile, record.listed_usage, latest=True)


def monitoring(record: Record, profile: ServerProfile) -> str:
    """The host's last report, for one.vmpool.monitoring."""
    if profile.listed is None:
        return pooled_instance(record, profile)
    return wrapped("MONITORING", _figures(record, profile, _now(record)))


def _now(record: Record) -> dict[str, float]:
    return {"cpu_percent": record.cpu_percent, "memory_kib": record.memory_kib, "polled": record.polled}


def _figures(record: Record, profile: ServerProfile, figures: Mapping[str, float]) -> str:
    if not figures.get("polled"):
        return ""
    cpu, memory, polled = _decimal(figures["cpu_percent"]), figures["memory_kib"], figures["polled"]
    content = {"CPU": cdata(cpu), "ID": cdata(str(record.id)), "MEMORY": cdata(str(memory)), "TIMESTAMP": cdata(str(polled))}
    return filled(_FIGURES, profile.release, content)


def _decimal(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _common(record: Record, profile: ServerProfile, polled: float) -> dict[str, object]:
    state, lcm_state = profile.shown_state(record.state, record.lcm_state)
    gid, group = User(record.uid, record.owner).group
    return {
        "ID": record.id,
        "UID": record.uid,
        "GID": gid,
        "UNAME": escape(record.owner),
        "GNAME": group,
        "NAME": escape(record.name),
        "LAST_POLL": polled,
        "STATE": int(state),
        "LCM_STATE": int(lcm_state),
        "PREV_STATE": int(state),
        "PREV_LCM_STATE": int(lcm_state),
        "STIME": record.stime,
        "ETIME": record.etime,
        "DEPLOY_ID": _deploy_id(record),
    }


def _deploy_id(record: Record) -> str:
    started = record.state not in (State.PENDING, State.HOLD) and record.history and record.history[-1]["rstime"]
    failed = record.state == State.DONE and record.message
    return f"one-{record.id}" if started and not failed and record.lcm_state not in (Lcm.BOOT, Lcm.BOOT_FAILURE) else ""


def _whole(record: Record, profile: ServerProfile, figures: Mapping[str, float], *, latest: bool = False) -> str:
    """The whole document; with ``latest`` it has only the last history record."""
    template = list(vm_attributes.template(record, profile.release))
    if profile.legacy:
        template = sorted([*template, *_legacy_attributes(record, profile)], key=lambda pair: pair[0])
    first = max(0, len(record.history) - 1) if latest else 0
    history = (_history(record, profile, number) for number in range(first, len(record.history)))
    lock = "<LOCKED>{level}</LOCKED><OWNER>{owner}</OWNER><TIME>{time}</TIME><REQ_ID>-1</REQ_ID>"
    content = {
        **_common(record, profile, figures.get("polled", 0)),
        "LOCK": lock.format(**record.lock) if record.lock else None,
        "PERMISSIONS": permissions(record.permissions or DEFAULT_PERMISSIONS),
        "MEMORY": record.memory_kib,
        "CPU": f"{record.cpu_percent:.0f}",
        "MONITORING": _figures(record, profile, figures),
        "TEMPLATE": attributes(template),
        "USER_TEMPLATE": attributes(_user_template(record, profile)),
        "HISTORY_RECORDS": "".join(history),
    }
    return written("VM", _VM, profile.release, content)


def _legacy_attributes(record: Record, profile: ServerProfile) -> list[Attribute]:
    """The attributes below TEMPLATE in 3.2 that later releases have elsewhere."""
    pairs: list[Attribute] = [*_of_user(record, profile), ("NAME", record.name)]
    if record.message:
        pairs.append(("ERROR", {"MESSAGE": record.message, "TIMESTAMP": _date(record.message_time)}))
    elif record.sched_message and record.state == State.PENDING:
        # The real 3.2 has no such reason, but this is where its clients look for one.
        date, _, reason = _sched_message(record, profile).partition(": ")
        pairs.append(("ERROR", {"MESSAGE": reason, "TIMESTAMP": date}))
    return pairs


def _of_user(record: Record, profile: ServerProfile) -> list[Attribute]:
    """The user's attributes. Real servers do not know what ended a machine."""
    return [pair for pair in record.user_attributes if pair[0] != MONITORING_ERROR_ATTRIBUTE or profile.rules is LENIENT]


def _sched_message(record: Record, profile: ServerProfile) -> str:
    """Why it waits. Real schedulers do not tell a machine that is too large from one that has to wait for others."""
    return record.sched_message if profile.rules is LENIENT else record.sched_message.removesuffix(TOO_LARGE)


def _user_template(record: Record, profile: ServerProfile) -> list[Attribute]:
    pairs = _of_user(record, profile)
    if record.message:
        pairs.append(("ERROR", f"{_date(record.message_time)}: {record.message}"))
    if record.sched_message:
        pairs.append(("SCHED_MESSAGE", _sched_message(record, profile)))
    return sorted(pairs, key=lambda pair: pair[0])


def _date(seconds: int) -> str:
    return time.asctime(time.localtime(seconds))


def _history(record: Record, profile: ServerProfile, number: int) -> str:
    content: dict[str, object] = {
        **{name.upper(): value for name, value in record.history[number].items()},
        **{"OID": record.id, "SEQ": number, "HOSTNAME": HOST_NAME, "HID": HOST_ID},
        **{"VM_MAD": cdata(record.hypervisor), "VMMMAD": record.hypervisor},
    }
    return written("HISTORY", _HISTORY, profile.release, content)


def _short(record: Record, profile: ServerProfile) -> str:
    usage = record.listed_usage
    user_template = dict(_user_template(record, profile))
    content = {
        **_common(record, profile, usage.get("polled", 0)),
        "LOCK": f"<LOCKED>{record.lock['level']}</LOCKED>" if record.lock else None,
        "TEMPLATE": _short_template(record, profile),
        "MONITORING": _short_figures(usage),
        "USER_TEMPLATE": attributes((name, user_template[name]) for name in profile.listed or () if name in user_template),
        "HISTORY_RECORDS": _short_history(record, profile) if record.history else "",
    }
    return written("VM", _SHORT_VM, profile.release, content)


def _short_template(record: Record, profile: ServerProfile) -> str:
    written = filled(_SHORT_CAPACITY, profile.release, {name: escape(record.text(name)) for name in ("CPU", "MEMORY", "VCPU")})
    for name, value in vm_attributes.template(record, profile.release):
        if name == "DISK" and not isinstance(value, str):
            written += _vector("DISK", {key: value.get(key, "") for key in _SHORT_DISK})
        elif name == "NIC" and not isinstance(value, str):
            shown = (key for key in _SHORT_NIC if key in value or key != "EXTERNAL_PORT_RANGE")
            written += _vector("NIC", {key: value.get(key, "") for key in shown})
    return written + attributes(("GRAPHICS", graphics) for graphics in record.vectors("GRAPHICS")[:1])


def _vector(name: str, values: Mapping[str, str]) -> str:
    return wrapped(name, "".join(f"<{key}>{cdata(value)}</{key}>" for key, value in values.items()))


def _short_figures(usage: Mapping[str, float]) -> str:
    return f"<CPU>{_decimal(usage['cpu_percent'])}</CPU><MEMORY>{usage['memory_kib']}</MEMORY><STATE/>" if usage else ""


def _short_history(record: Record, profile: ServerProfile) -> str:
    content: dict[str, object] = {
        **{"OID": record.id, "SEQ": len(record.history) - 1, "HOSTNAME": cdata(HOST_NAME), "HID": HOST_ID},
        **{"VM_MAD": cdata(record.hypervisor), "ACTION": cdata(str(record.history[-1]["action"]))},
    }
    return written("HISTORY", _SHORT_HISTORY, profile.release, content)
