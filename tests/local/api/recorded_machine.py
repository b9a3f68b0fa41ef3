"""A recorded VM document, played again: the template that makes such a machine, and the moves that bring it there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from xml.etree.ElementTree import Element

from stratuslab.local.engine.server_rules import ServerRules, Verb
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.local.store.volumes import volume_of
from stratuslab.opennebula.states import Lcm, State
from stratuslab.opennebula.template_grammar import Attribute, render
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX

# What the server writes by itself, by the beginning of its name.
_AUTOMATIC = (
    *("AUTOMATIC_", "SECURITY_GROUP_RULE", "TM_MAD_SYSTEM", "VMID", "SUBMIT_ON_HOLD", "OS", "ERROR", "SCHED_MESSAGE"),
    *("NAME", "DISK", "NIC", "CONTEXT", "SNAPSHOT"),
)
_OF_DISKS = {"TYPE", "SIZE", "FORMAT", "READONLY", "SAVE", "TARGET", "SOURCE", "DRIVER", "DEV_PREFIX"}
# A driver's message as 3.2 hands it on without a look: its document is not well-formed then.
ODD_MESSAGE = "no \x1b[31m such ]]> device"


def template(machine: Element, legacy: bool) -> str:
    """The template text that the recorded machine was made of, as far as its document tells."""
    return render(_attributes(machine, legacy))


def _attributes(machine: Element, legacy: bool) -> Iterator[Attribute]:
    yield "NAME", "recorded"
    for element in (*(machine.find("TEMPLATE") or ()), *(machine.find("USER_TEMPLATE") or ())):
        if element.tag == "DISK":
            yield "DISK", _disk(element, legacy)
        elif element.tag == "NIC":
            yield "NIC", _nic(element)
        elif element.tag == "CONTEXT":
            yield "CONTEXT", _context(element, legacy)
        elif element.tag == "CPU" and machine.findtext("STATE") != str(State.HOLD.value) and not _stays(machine):
            yield "CPU", "99999"  # more than the host has: it waits
        elif not element.tag.startswith(_AUTOMATIC):
            yield element.tag, {child.tag: _plain(child.text) for child in element} if len(element) else _plain(element.text)


def _plain(text: str | None) -> str:
    """A text that a template can hold, and that has no variable in it."""
    return (text or "").replace("$", "").rstrip("\\")


def _disk(disk: Element, legacy: bool) -> dict[str, str]:
    found = {child.tag: _plain(child.text) for child in disk}
    if found.get("SOURCE", "").startswith("http"):
        found["SOURCE"] = f"https://marketplace.stratuslab.eu/metadata/{TTYLINUX}"
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
    # A template holds no empty values, but a variable that is not there is empty.
    return {child.tag: _plain(child.text) or "$NOSUCH" for child in context if not child.tag.startswith(added or ("\0",))}


def _stays(machine: Element) -> int:
    """How often it was on a host."""
    return len(machine.findall("HISTORY_RECORDS/HISTORY"))


class Play:
    """One recorded machine, made and moved on a stage."""

    def __init__(self, stage: Stage, machine: Element, rules: ServerRules, *, legacy: bool) -> None:
        self._engine = stage.engine
        self._stays = _stays(machine)
        self._stage = stage
        self._machine = machine
        hold = machine.findtext("STATE") == str(State.HOLD.value) or machine.find("TEMPLATE/SUBMIT_ON_HOLD") is not None
        self._has_volume = any(volume_of({"SOURCE": disk.findtext("SOURCE", "")}) for disk in machine.iterfind("TEMPLATE/DISK"))
        self.number = self._engine.allocate(self._engine.user("alice"), template(machine, legacy), hold, rules)
        if hold and self._stays:
            self.act(Verb.RELEASE)

    def act(self, verb: Verb) -> None:
        self._engine.act(ADMINISTRATOR, self.number, verb)

    def moved(self) -> int:
        """Bring the machine to where the recorded one was; its number."""
        state, lcm_state = self._machine.findtext("STATE", ""), self._machine.findtext("LCM_STATE", "")
        name = State(int(state)).name if state != str(State.ACTIVE.value) else Lcm(int(lcm_state)).name
        for move in self._before_the_end() if name == "DONE" else MOVES.get(name, (Play.runs,)):
            move(self)
        if name not in MOVES:
            self._put(State(int(state)), Lcm(int(lcm_state)))
        lock = self._machine.find("LOCK")
        if lock is not None:
            self._engine.access.lock(self._engine.user("alice"), self.number, int(lock.findtext("LOCKED", "")))
        return self.number

    @property
    def _has_failed(self) -> bool:
        return any(self._machine.find(f"{place}/ERROR") is not None for place in ("TEMPLATE", "USER_TEMPLATE"))

    @property
    def _booted(self) -> bool:
        return any(int(time.text or 0) for time in self._machine.iterfind("HISTORY_RECORDS/HISTORY/RSTIME"))

    def runs(self) -> None:
        if self._has_volume:
            # Only QEMU runs such a machine, which the stage has not got.
            self._stage.actors.living.add(self.number)
            self._put(State.ACTIVE, Lcm.RUNNING)
        else:
            self._stage.runs(self.number)
        for _ in range(self._stays - 1):
            self.act(Verb.SUSPEND)
            self.act(Verb.RESUME)
        if self._machine.findtext("MONITORING/MEMORY") or int(self._machine.findtext("MEMORY") or 0):
            self._stage.polled(self.number, 12.0, 131072)

    def boots(self) -> None:
        for step in (Lcm.PROLOG, Lcm.BOOT):
            assert self._engine.machine_reached(self.number, step)

    def fails(self) -> None:
        """It fails in the step that it is in: the prolog, or the boot where it came so far."""
        if self._booted:
            self.boots()
        self._engine.machine_failed(self.number, Lcm.BOOT if self._booted else Lcm.PROLOG, ODD_MESSAGE)

    def halts(self) -> None:
        self._stage.halts(self.number)

    def _before_the_end(self) -> Iterator[Move]:
        """How a machine that is DONE lived: it never started, it failed, or it ran."""
        if self._stays:
            yield Play.fails if self._has_failed and not self._machine.findtext("DEPLOY_ID") else Play.runs
        yield lambda play: play.act(Verb.DELETE)

    def _put(self, state: State, lcm_state: Lcm) -> None:
        """Write a state down that the embedded cloud is never in, or not long enough to be seen."""
        with self._engine.store.transaction():
            record = self._engine.store.instance(self.number)
            assert record is not None
            record.state, record.lcm_state = state, lcm_state
            record.message = "no space" if self._has_failed else ""
            record.history[-1]["rstime"] = self._engine.now
            self._engine.store.save(record)


Move = Callable[[Play], None]


def _acts(verb: Verb) -> Move:
    return lambda play: play.act(verb)


MOVES: dict[str, Sequence[Move]] = {
    "PENDING": (),
    "HOLD": (),
    "PROLOG": (),
    "PROLOG_FAILURE": (Play.fails,),
    "BOOT": (Play.boots,),
    "BOOT_FAILURE": (Play.fails,),
    "FAILED": (Play.fails,),
    "RUNNING": (Play.runs,),
    "UNKNOWN": (Play.runs, Play.halts),
    "SHUTDOWN": (Play.runs, _acts(Verb.TERMINATE)),
    "SHUTDOWN_POWEROFF": (Play.runs, _acts(Verb.POWEROFF)),
    "POWEROFF": (Play.runs, _acts(Verb.POWEROFF), Play.halts),
    "SUSPENDED": (Play.runs, _acts(Verb.SUSPEND)),
    "STOPPED": (Play.runs, _acts(Verb.STOP)),
    "DONE": (),
}
"""What brings a machine into each state that the embedded cloud has."""
