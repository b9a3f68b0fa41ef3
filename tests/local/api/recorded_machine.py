"""A recorded VM document, played again: the template that makes such a machine, and the moves that bring it there."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from stratuslab.local.engine import lifecycle
from stratuslab.local.engine.scheduler import Capacity
from stratuslab.local.store.instance_record import Record
from stratuslab.opennebula.states import Lcm, State
from stratuslab.opennebula.template import Attribute, render
from tests.fakes.staged_cloud import Stage, configure

_AUTOMATIC = (
    *("AUTOMATIC_", "SECURITY_GROUP_RULE", "TM_MAD_SYSTEM", "VMID", "TEMPLATE_ID", "SUBMIT_ON_HOLD", "OS", "ERROR", "CREATED_BY"),
    *("NAME", "DISK", "NIC", "CONTEXT", "SNAPSHOT"),
)
_OF_DISKS = {"TYPE", "SIZE", "FORMAT", "READONLY", "SAVE", "TARGET", "SOURCE", "DRIVER", "DEV_PREFIX"}


def template(machine: Element, legacy: bool) -> str:
    """The template text that the recorded machine was made of, as far as its document tells."""
    return render(_attributes(machine, legacy))


def _attributes(machine: Element, legacy: bool) -> Iterator[Attribute]:
    yield "NAME", "recorded"
    for element in machine.find("TEMPLATE") or ():
        if element.tag == "DISK":
            yield "DISK", _disk(element, legacy)
        elif element.tag == "NIC":
            yield "NIC", _nic(element)
        elif element.tag == "CONTEXT":
            yield "CONTEXT", _context(element, legacy)
        elif not element.tag.startswith(_AUTOMATIC):
            yield element.tag, {child.tag: _plain(child.text) for child in element} if len(element) else _plain(element.text)
    for element in machine.find("USER_TEMPLATE") or ():
        if element.tag not in ("ERROR", "SCHED_MESSAGE"):
            yield element.tag, {child.tag: _plain(child.text) for child in element} if len(element) else _plain(element.text)


def _plain(text: str | None) -> str:
    """A text that a template can hold, and that has no variable in it."""
    return (text or "").replace("$", "").rstrip("\\")


def _disk(disk: Element, legacy: bool) -> dict[str, str]:
    found = {child.tag: _plain(child.text) for child in disk}
    if found.get("IMAGE_ID"):
        kept = {"TARGET"} if legacy else set()
        read_only = {"READONLY": "YES"} if found.get("READONLY") == "YES" else {}
        named = {"IMAGE": "ttylinux", "IMAGE_UNAME": "oneadmin"} if "IMAGE_UNAME" in found else {"IMAGE_ID": "1"}
        return {**named, **{name: found[name] for name in kept & found.keys()}, **read_only}
    kept = _OF_DISKS if legacy else {"TYPE", "SIZE"} if "DRIVER" in found else {"TYPE", "SIZE", "FORMAT"}
    size = {"SIZE": "1"} if found.get("SIZE") == "0" else {}
    return {**{name: value for name, value in found.items() if name in kept}, **size}


def _nic(nic: Element) -> dict[str, str]:
    names = {child.tag for child in nic}
    named = {"NETWORK": "public", "NETWORK_UNAME": "oneadmin"} if "NETWORK_UNAME" in names else {"NETWORK_ID": "0"}
    return {**named, **{name: nic.findtext(name, "") for name in names & {"MODEL", "SSH", "RDP"}}}


def _context(context: Element, legacy: bool) -> dict[str, str]:
    added = () if legacy else ("ETH", "DISK_ID", "TARGET")
    return {child.tag: _plain(child.text) or "x" for child in context if not child.tag.startswith(added or ("\0",))}


def staged(stage: Stage, number: int, machine: Element) -> None:
    """Bring the instance to where the recorded machine was."""
    state, lcm_state = State(int(machine.findtext("STATE", "0"))), Lcm(int(machine.findtext("LCM_STATE", "0")))
    with stage.engine.store.transaction():
        record = _record(stage, number)
        count = len(machine.findall("HISTORY_RECORDS/HISTORY"))
        record.history = []
        for _ in range(count):
            lifecycle.placed(record, stage.engine.now)
            record.history[-1]["rstime"] = stage.engine.now if machine.findtext("DEPLOY_ID") else 0
        if _figures(machine):
            record.cpu_percent, record.memory_kib, record.polled = 12.0, 131072, stage.engine.now
        # 3.2 has one state for all that failed.
        failed = state == State.FAILED
        record.state, record.lcm_state = (State.ACTIVE, Lcm.BOOT_FAILURE) if failed else (state, lcm_state)
        error = machine.find("TEMPLATE/ERROR") if machine.find("USER_TEMPLATE") is None else machine.find("USER_TEMPLATE/ERROR")
        record.message = "no space" if error is not None else ""
        waits = machine.find("USER_TEMPLATE/SCHED_MESSAGE")
        record.sched_message = "no host" if waits is not None and waits.text else ""
        if state == State.PENDING:
            # What waits would be started: it is held back, by force where no reason is told.
            configure(stage.engine, capacity=Capacity(0.001, 1))
            record.state = State.PENDING if record.sched_message else State.HOLD
        stage.engine.store.save(record)


def _figures(machine: Element) -> bool:
    return bool(machine.findtext("MONITORING/MEMORY") or int(machine.findtext("MEMORY") or 0))


def _record(stage: Stage, number: int) -> Record:
    record = stage.engine.store.instance(number)
    assert record is not None
    return record
