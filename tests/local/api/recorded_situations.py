"""The situations of the recordings in ``tests/wire/``: what has to be there, and what is asked then, by a recording's name."""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element

import pytest

from stratuslab.local.api import ready_templates
from stratuslab.local.api.methods import answer
from stratuslab.local.api.ready_templates import ReadyTemplate
from stratuslab.local.api.server_profiles import PLAIN_3, SERVER_PROFILES
from stratuslab.local.engine.server_rules import Verb
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.opennebula.states import Lcm, State
from stratuslab.opennebula.template_grammar import Attribute, render
from tests.fakes.staged_cloud import configure
from tests.local.api.recorded_machine import Play
from tests.local.conftest import Caller

SMALL = "CPU=1\nMEMORY=64\n"
PROFILE_OF = {profile.version: profile.name for profile in SERVER_PROFILES.values()}


class Scene:
    """A cloud in one profile, and the recording that it is to answer as."""

    def __init__(self, call: Caller, patch: pytest.MonkeyPatch, version: str, name: str) -> None:
        self.ask = call
        self.stage = call.stage
        self.patch = patch
        self.version = version
        self.profile = PROFILE_OF[version]
        self.name = name
        # Who is asked to shut down takes its time.
        patch.setattr(self.stage.actors, "halt", self.stage.actors.halted.add)

    def call(self, method: str, *arguments: Any, user: str = "alice") -> Any:
        return self.ask(method, *arguments, user=user, profile=self.profile)

    def machine(self, text: str = SMALL, *, hold: bool = False, user: str = "alice") -> int:
        engine = self.stage.engine
        return engine.allocate(engine.user(user), text, hold, SERVER_PROFILES[self.profile].rules)

    def recorded(self, machine: Element) -> int:
        """A machine like the recorded one."""
        profile = SERVER_PROFILES[self.profile]
        return Play(self.stage, machine, profile.rules, legacy=profile.legacy).moved()

    def at(self, state: str) -> int:
        """A machine that was put into this state."""
        number = self.machine(hold=True)
        record = self.stage.engine.instance(ADMINISTRATOR, number)
        if state == "FAILED":
            record.state, record.lcm_state = State.ACTIVE, Lcm.BOOT_FAILURE
        elif state in State.__members__:
            record.state = State[state]
        else:
            record.state, record.lcm_state = State.ACTIVE, Lcm[state]
            self.stage.actors.living.add(number)
        with self.stage.engine.store.transaction():
            self.stage.engine.store.save(record)
        return number

    def acted(self, action: str, state: str, user: str = "alice") -> Any:
        return self.call("one.vm.action", action, self.at(state), user=user)

    def allocated(self, text: str, user: str = "alice") -> Any:
        return self.call("one.vm.allocate", text, False, user=user)

    def unauthenticated(self) -> Any:
        body = xmlrpc.client.dumps(("alice:wrong", -3, -1, -1, -1), "one.vmpool.info").encode()
        response = b"".join(answer(self.stage.engine, lambda session: None, [body], SERVER_PROFILES[self.profile]))
        return xmlrpc.client.loads(response)[0][0]

    def unknown_id(self) -> Any:
        return self.call("one.vm.action", next(iter(SERVER_PROFILES[self.profile].actions)), 9999)

    def no_lease(self) -> Any:
        configure(self.stage.engine, ranges={"public": ("127.101.0.1", 1)})
        self.machine(f"{SMALL}NIC=[NETWORK_ID=0]")
        return self.allocated(f"{SMALL}NIC=[NETWORK_ID=0]")

    def restricted(self, text: str) -> Any:
        if self.version.startswith("3"):
            self.profile = PLAIN_3.name
        return self.allocated(SMALL + text)

    def locked(self) -> Any:
        number = self.machine(hold=True)
        assert self.call("one.vm.lock", number, 1)[0]
        return self.call("one.vm.action", "poweroff", number)

    @property
    def ending(self) -> str:
        """What ends a machine in every state, as far as the version has that."""
        actions = SERVER_PROFILES[self.profile].actions
        return next(name for name, verb in actions.items() if verb in (Verb.TERMINATE_HARD, Verb.TERMINATE_HARD_5, Verb.DELETE))

    def unknown(self, what: str) -> str:
        return f"{what}=nosuch" if self.version == "7.4.0" else f"{what}_ID=99"

    @property
    def forbidden(self) -> str:
        return '\\"' if self.version == "6.8.0" else "<"


CALLS: tuple[tuple[str, Callable[[Scene], Any]], ...] = (
    (r".*bad-password|.*unknown-user", Scene.unauthenticated),
    (r".*unknown-method|vm\.nosuch-.*", lambda scene: scene.call("one.vm.nosuch")),
    (r"system\.version.*", lambda scene: scene.call("one.system.version")),
    (r"wrong-arg-type|.*-parameters-fault", lambda scene: scene.call("one.vm.info", "x")),
    (r"vm\.info-unknown-id", lambda scene: scene.call("one.vm.info", 9999)),
    (r"vm\.action-unknown-id", Scene.unknown_id),
    (r"template\.info-unknown-id", lambda scene: scene.call("one.template.info", 99)),
    (r"vm\.info-permission-denied", lambda scene: scene.call("one.vm.info", scene.machine(), user="bob")),
    (r"vm\.action-locked", Scene.locked),
    (r"vm\.action-finalize-permission-denied", lambda scene: scene.acted("finalize", "HOLD", "bob")),
    (r"vm\.action-(terminate-hard-)?permission-denied", lambda scene: scene.acted(scene.ending, "HOLD", "bob")),
    (r"vm\.action-wrong-state", lambda scene: scene.acted("resume", "RUNNING")),
    (r"vm\.action-wrong-state-DONE|vm\.action-.*-?(on-)?DONE.*", lambda scene: scene.acted(scene.ending, "DONE")),
    (r"vm\.action-delete-needs-ADMIN", lambda scene: scene.acted("delete", "RUNNING")),
    (r"vm\.action-(not-supported-)?finalize(-not-supported)?", lambda scene: scene.acted("finalize", "RUNNING")),
    (r"vm\.action-shutdown-not-supported", lambda scene: scene.acted("shutdown", "RUNNING")),
    (r"vm\.action-delete-action-result.*", lambda scene: scene.acted("delete", "RUNNING")),
    (r"vm\.action-terminate-hard-(not-supported|action-result.*)", lambda scene: scene.acted("terminate-hard", "RUNNING")),
    (r"vm\.action-terminate-hard-wrong-state-BOOT", lambda scene: scene.acted("terminate-hard", "BOOT")),
    (r"vm\.action-shutdown-wrong-state-[A-Z]+", lambda scene: scene.acted("shutdown", scene.name.rpartition("-")[2])),
    (r"vm\.action-terminate-while-shutdown", lambda scene: scene.acted("terminate", "SHUTDOWN")),
    (r"vm\.action-terminate-SUSPENDED-accepted", lambda scene: scene.acted("terminate", "SUSPENDED")),
    (r"vm\.action-(poweroff|terminate)", lambda scene: scene.acted(scene.name.partition("-")[2], "RUNNING")),
    (r"vm\.allocate-(hold|lease-of-other-machine-accepted)", lambda scene: scene.call("one.vm.allocate", SMALL, True)),
    (r"vm\.allocate-context-dollar-name", lambda scene: scene.allocated(f"{SMALL}CONTEXT=[A=$NAME]")),
    (r"vm\.allocate-context-dollar.*", lambda scene: scene.allocated(f"{SMALL}CONTEXT=[PW=pa$$w0rd]")),
    (r"vm\.allocate-parse-error", lambda scene: scene.allocated("CPU=1" if scene.version[0] != "7" else "CPU=1\nMEMORY=[")),
    (r"vm\.allocate-no-memory|vm\.allocate-unclosed-quote-refused", lambda scene: scene.allocated("CPU=1")),
    (r"vm\.allocate-unclosed-quote-accepted", lambda scene: scene.allocated(f'{SMALL}NOTE="open\n')),
    (r"vm\.allocate-unknown-image-name", lambda scene: scene.allocated(f"{SMALL}DISK=[IMAGE=nosuch]", "oneadmin")),
    (r"vm\.allocate-unknown-network-name", lambda scene: scene.allocated(f"{SMALL}NIC=[NETWORK=nosuch]", "oneadmin")),
    (r"vm\.allocate-unknown-image", lambda scene: scene.allocated(f"{SMALL}DISK=[{scene.unknown('IMAGE')}]")),
    (r"vm\.allocate-unknown-image-id", lambda scene: scene.allocated(f"{SMALL}DISK=[IMAGE_ID=99]")),
    (r"vm\.allocate-unknown-network", lambda scene: scene.allocated(f"{SMALL}NIC=[{scene.unknown('NETWORK')}]")),
    (r"vm\.allocate-restricted-attribute-DISK-SOURCE", lambda scene: scene.restricted("DISK=[SOURCE=x]")),
    (r"vm\.allocate-restricted-attribute-RANK", lambda scene: scene.restricted("RANK=FREE_CPU")),
    (r"vm\.allocate-restricted-attr(ibute)?", lambda scene: scene.restricted('NIC=[NETWORK_ID=0,MAC="02:00:00:00:00:01"]')),
    (r"vm\.allocate-source-block-disk", lambda scene: scene.allocated(f"{SMALL}DISK=[SOURCE=x,TYPE=block]")),
    (r"vm\.allocate-source-disk", lambda scene: scene.allocated(f"{SMALL}DISK=[SOURCE=x]")),
    (r"vm\.allocate-bad-name-char", lambda scene: scene.allocated(f'{SMALL}NAME="a{scene.forbidden}b"')),
    (r"vm\.allocate-no-lease", Scene.no_lease),
    (r"vm\.allocate-non-bmp-fault", lambda scene: scene.allocated(f"{SMALL}NAME=\N{GRINNING FACE}")),
    (r"template\.instantiate.*", lambda scene: scene.call("one.template.instantiate", 0, "x", False, "", False)),
)
"""Calls that are refused, or answered with a number or a text: the first whose words fit."""

IN_USE = ("VMS/ID", "UPDATED_VMS/ID", "AR_POOL/AR/ALLOCATED", "LEASES/LEASE", "AR_POOL/AR/LEASES/LEASE")
"""What an object has that some machine uses."""


def _machine(scene: Scene, theirs: Element) -> Any:
    return scene.call("one.vm.info", scene.recorded(theirs))


def _machines(method: str) -> Callable[[Scene, Element], Any]:
    """A pool of the same machines, and newer ones that the recorded page began after."""

    def ask(scene: Scene, theirs: Element) -> Any:
        for machine in sorted(theirs, key=lambda machine: int(machine.findtext("ID", ""))):
            scene.recorded(machine)
        page = re.search(r"page-(\d)-(\d)", scene.name)
        start, end = (int(page[1]), -int(page[2])) if page else (-1, -1)
        for _ in range(max(start, 0)):
            scene.machine(hold=True)
        return scene.call(method, -3, start, end, -2)

    return ask


def _reported(scene: Scene, theirs: Element) -> Any:
    for _ in theirs:
        number = scene.machine()
        scene.stage.runs(number)
        scene.stage.polled(number, 5.0, 1024)
    return scene.call("one.vmpool.monitoring", -3, 0)


def _used(method: str, *arguments: int) -> Callable[[Scene, Element], Any]:
    """Objects of the site, one of them in use where any of the recorded ones is."""

    def ask(scene: Scene, theirs: Element) -> Any:
        running = any(number.text != "0" for number in theirs.iter("RUNNING_VMS"))
        if running or any(theirs.find(f".//{sign}") is not None for sign in IN_USE):
            scene.machine(f"{SMALL}DISK=[IMAGE_ID=1]\nNIC=[NETWORK_ID=0]")
        return scene.call(method, *arguments)

    return ask


def _templates(method: str, *arguments: int) -> Callable[[Scene, Element], Any]:
    """The site's own machine templates."""

    def ask(scene: Scene, theirs: Element) -> Any:
        members = sorted(theirs.iter("VMTEMPLATE"), key=lambda member: int(member.findtext("ID", "")))
        found = [
            ReadyTemplate(number, member.findtext("NAME", ""), render(_attributes(member)))
            for number, member in enumerate(members)
        ]
        scene.patch.setattr(ready_templates, "ALL", tuple(found))
        return scene.call(method, *arguments)

    return ask


def _attributes(template: Element) -> Iterator[Attribute]:
    for element in template.find("TEMPLATE") or ():
        if element.tag not in ("NAME", "TEMPLATE_ID"):
            yield element.tag, {child.tag: child.text or "" for child in element} if len(element) else element.text or ""


DOCUMENTS: tuple[tuple[str, Callable[[Scene, Element], Any]], ...] = (
    (r"vm\.info(-.*)?", _machine),
    (r"vmpool\.infoextended.*", _machines("one.vmpool.infoextended")),
    (r"vmpool\.info.*", _machines("one.vmpool.info")),
    (r"vmpool\.monitoring.*", _reported),
    (r"imagepool\.info.*", _used("one.imagepool.info", -2, -1, -1)),
    (r"image\.info.*", _used("one.image.info", 1)),
    (r"vnpool\.info.*", _used("one.vnpool.info", -2, -1, -1)),
    (r"vn\.info.*", _used("one.vn.info", 0)),
    (r"hostpool\.info.*", _used("one.hostpool.info")),
    (r"host\.info.*", _used("one.host.info", 0)),
    (r"clusterpool\.info.*", _used("one.clusterpool.info")),
    (r"user\.info.*", _used("one.user.info", -1)),
    (r"templatepool\.info.*", _templates("one.templatepool.info", -2, -1, -1)),
    (r"template\.info.*", _templates("one.template.info", 0)),
)
"""Documents: what is prepared for the recorded one, and asked for."""

NOT_COMPARABLE: tuple[tuple[str, str], ...] = (
    (r"vm\.allocate-quota-(reached|exceeded)", "the embedded cloud has no quotas, so that none is reached"),
    (r"vmgrouppool\.info", "the embedded cloud has no groups of machines"),
)
"""What the embedded cloud has nothing like, with the reason."""
