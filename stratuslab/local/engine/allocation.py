"""Makes an instance from a template, which is checked and completed as OpenNebula 7.4 does.

Accepts the templates of all versions, including the original StratusLab client's with its GRAPHICS port of -1.
"""

from __future__ import annotations

import math
import re

from stratuslab.local.api_error import BadCapacity, BadTemplate, Restricted
from stratuslab.local.engine.context_variables import replaced
from stratuslab.local.engine.disk_allocation import DiskAllocation
from stratuslab.local.engine.driver_choice import DriverChoice
from stratuslab.local.engine.server_rules import ServerRules
from stratuslab.local.engine.template_reader import Template
from stratuslab.local.store.database import Store
from stratuslab.local.store.leases import Leases, address_text, mac_address
from stratuslab.local.store.stored_records import QEMU, Record, User
from stratuslab.opennebula.instance import SIMULATED_ATTRIBUTE
from stratuslab.opennebula.states import State
from stratuslab.opennebula.template_grammar import Attribute


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMPLETED = _words("NAME DISK NIC CONTEXT OS")
_COPIED = _words(
    """CPU VCPU VCPU_MAX MEMORY MEMORY_MAX NIC_ALIAS PCI GRAPHICS VIDEO FEATURES INPUT RAW TOPOLOGY NUMA_NODE CPU_MODEL
    EMULATOR VMGROUP SNAPSHOT BACKUP_CONFIG TPM CPU_COST MEMORY_COST DISK_COST HYPERV_OPTIONS TEMPLATE_ID"""
)
# What the server itself writes. It is ignored in templates, which may be copies of a document.
_SERVER_WRITTEN = _words(
    """AUTOMATIC_REQUIREMENTS AUTOMATIC_DS_REQUIREMENTS AUTOMATIC_NIC_REQUIREMENTS SECURITY_GROUP_RULE SUBMIT_ON_HOLD
    TM_MAD_SYSTEM VMID ERROR SCHED_MESSAGE"""
)
_NAME_LENGTH = 128
# What OpenNebula's guest packages read for each interface besides IP, MAC and MASK.
_ETH_EMPTY = _words(
    """DNS EXTERNAL GATEWAY IP6 IP6_GATEWAY IP6_METHOD IP6_METRIC IP6_PREFIX_LENGTH IP6_ULA METHOD METRIC MTU NETWORK
    ROUTES SEARCH_DOMAIN VLAN_ID VROUTER_IP VROUTER_IP6 VROUTER_MANAGEMENT"""
)


def allocate(
    store: Store, drivers: DriverChoice, user: User, template: Template, number: int, hold: bool, now: int, rules: ServerRules
) -> Record:
    """The instance for a template, with its addresses leased. Part of a transaction. Raises APIError."""
    name = template.text("NAME").strip()
    problem = name_problem(name, rules.name_characters)
    if problem:
        raise BadTemplate(problem)
    _check_restricted(user, template, rules)
    memory = _positive_integer(template.text("MEMORY"), "MEMORY")
    cpu = _positive_float(template.text("CPU"), "CPU")
    if template.text("VCPU"):
        _positive_integer(template.text("VCPU"), "VCPU", BadTemplate)
    disks = DiskAllocation(store, user, template.vectors("DISK"), number, rules)
    choice = drivers.choose(template.text("SCHED_REQUIREMENTS") or template.text("REQUIREMENTS"), disks)
    disks.name_devices("vd" if choice.hypervisor == QEMU else "sd")
    nics = _nics(store, user, template.vectors("NIC"), number)
    attributes: list[Attribute] = [pair for pair in template.attributes if pair[0] in _COPIED]
    attributes += [("DISK", disk) for disk in disks.all]
    attributes += [("NIC", nic) for nic in nics]
    attributes += _automatic(template, bool(disks.all), bool(nics), number, hold)
    unknown = [pair for pair in template.attributes if pair[0] not in _COPIED | _COMPLETED | _SERVER_WRITTEN]
    if choice.simulated_because:
        unknown.append((SIMULATED_ATTRIBUTE, choice.simulated_because))
    contexts = template.vectors("CONTEXT")
    if contexts:
        known = [*attributes, *unknown, ("NAME", name or f"one-{number}")]
        attributes.append(("CONTEXT", _context(contexts[0], known, nics, len(disks.all), user, rules)))
    return Record(
        id=number,
        uid=user.id,
        name=name or f"one-{number}",
        state=State.HOLD if hold else State.PENDING,
        lcm_state=0,
        cpu=cpu,
        memory_mib=memory,
        image=disks.image,
        prolog_error=choice.prolog_error or disks.prolog_error,
        attributes=sorted(attributes, key=lambda pair: pair[0]),
        user_attributes=sorted(unknown, key=lambda pair: pair[0]),
        stime=now,
        hypervisor=choice.hypervisor,
        disk_mib=disks.disk_mib if choice.hypervisor == QEMU else 0,
        owner=user.name,
    )


def name_problem(name: str, forbidden: str) -> str:
    """Why an instance cannot have the name, empty if it can."""
    if len(name.encode("utf-8", "replace")) > _NAME_LENGTH:
        return f"Invalid NAME, max length is {_NAME_LENGTH} chars"
    return next((f"Invalid NAME, char '{character}' is not allowed" for character in name if character in forbidden), "")


def _automatic(template: Template, disks: bool, nics: bool, number: int, hold: bool) -> list[Attribute]:
    """The attributes that the server adds."""
    from uuid import uuid4

    system = next(iter(template.vectors("OS")), {})
    cluster = "(CLUSTER_ID = 0) & " if disks or nics else ""
    added: list[Attribute] = [
        ("AUTOMATIC_REQUIREMENTS", f"{cluster}!(PIN_POLICY = PINNED)"),
        ("OS", {**system, "UUID": str(uuid4())}),
        ("VMID", str(number)),
    ]
    if disks:
        added.append(("AUTOMATIC_DS_REQUIREMENTS", '("CLUSTERS/ID" @> 0)'))
    if nics:
        added.append(("AUTOMATIC_NIC_REQUIREMENTS", '("CLUSTERS/ID" @> 0)'))
        rule = {"SECURITY_GROUP_ID": "0", "SECURITY_GROUP_NAME": "default", "PROTOCOL": "ALL"}
        added += [("SECURITY_GROUP_RULE", {**rule, "RULE_TYPE": way}) for way in ("OUTBOUND", "INBOUND")]
    if hold:
        added.append(("SUBMIT_ON_HOLD", "YES"))
    return added


def _nics(store: Store, user: User, wanted: list[dict[str, str]], instance: int) -> list[dict[str, str]]:
    leases = Leases(store)
    nics = []
    for position, requested in enumerate(wanted):
        nic = {**requested, "NIC_ID": str(position), "NAME": f"NIC{position}"}
        network = leases.network_for(requested, user)
        if network is not None:
            address = leases.take(network, instance, requested.get("IP", "").strip())
            nic |= {
                "AR_ID": "0",
                "BRIDGE": network.bridge,
                "BRIDGE_TYPE": "linux",
                "CLUSTER_ID": "0",
                "IP": address_text(address),
                "MAC": requested.get("MAC") or mac_address(address),
                "NETWORK": network.name,
                "NETWORK_ID": str(network.id),
                "SECURITY_GROUPS": "0",
                "TARGET": f"one-{instance}-{position}",
                "VN_MAD": "local",
            }
        nics.append(nic)
    return nics


def _check_restricted(user: User, template: Template, rules: ServerRules) -> None:
    if user.is_administrator:
        return
    for name, value in template.attributes:
        for path in (name, *([] if isinstance(value, str) else (f"{name}/{key}" for key in value))):
            if path in rules.restricted:
                raise Restricted(user.id, path)


def _context(
    context: dict[str, str], attributes: list[Attribute], nics: list[dict[str, str]], disk_id: int, user: User, rules: ServerRules
) -> dict[str, str]:
    filled = {"DISK_ID": str(disk_id), "TARGET": "hda", **context} if rules.context_filled else context
    if any("$" in value for value in filled.values()):
        filled = _with_variables(filled, attributes, user, rules)
    if not rules.context_filled:
        return filled
    if context.get("NETWORK", "").upper() == "YES":
        for position, nic in enumerate(nics):
            known = {"IP": nic.get("IP", ""), "MAC": nic.get("MAC", ""), "MASK": "255.0.0.0"}
            for name, value in {**dict.fromkeys(_ETH_EMPTY, ""), **known}.items():
                filled.setdefault(f"ETH{position}_{name}", value)
    return filled


def _with_variables(context: dict[str, str], known: list[Attribute], user: User, rules: ServerRules) -> dict[str, str]:
    gid, group = user.group
    own = {"UID": str(user.id), "UNAME": user.name, "GID": str(gid), "GNAME": group}

    def find(name: str, key: str, where: str, value: str) -> str:
        if not key:
            return own.get(name) or next((text for other, text in known if other == name and isinstance(text, str)), "")
        vectors = (vector for other, vector in known if other == name and not isinstance(vector, str))
        return next((vector.get(key, "") for vector in vectors if not where or vector.get(where) == value), "")

    return replaced(context, find, escapes=rules.escapes, line=rules.first_line)


def _positive_integer(text: str, name: str, refusal: type[BadTemplate] = BadCapacity) -> int:
    number = int(text) if re.match(r"\s*[0-9]{1,15}\s*\Z", text, re.ASCII) else 0
    if number <= 0:
        raise refusal(f"{name} attribute must be a positive integer value.")
    return number


def _positive_float(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (number > 0 and math.isfinite(number)):
        raise BadCapacity(f"{name} attribute must be a positive float or integer value.")
    return number
