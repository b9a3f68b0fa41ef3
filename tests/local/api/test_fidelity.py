"""The embedded cloud against recordings of real daemons: in the same situation it answers with the same elements, in the same
order, of the same types, empty where theirs are empty.

Each file of ``tests/wire/opennebula-VERSION/`` is named METHOD-SITUATION, and each situation is found in one of the tables
below: one that nobody knows fails. What may differ is in :data:`DIFFERENCES`, with the reason.
"""

from __future__ import annotations

import difflib
import re
import xmlrpc.client
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import PLAIN_3, SERVER_PROFILES
from stratuslab.local.engine.scheduler import Capacity
from stratuslab.local.engine.server_rules import Verb
from stratuslab.local.store.instance_record import ADMINISTRATOR
from stratuslab.opennebula.states import Lcm, State
from tests.fakes.staged_cloud import configure
from tests.harness import CHECKOUT
from tests.local.api.recorded_machine import staged, template
from tests.local.conftest import Caller

WIRE = CHECKOUT / "tests" / "wire"
RECORDINGS = sorted(WIRE.glob("opennebula-*/*.response.xml"))
PROFILE_OF = {profile.version: profile.name for profile in SERVER_PROFILES.values()}
SMALL = "CPU=1\nMEMORY=64\n"

# What may differ: a recording's name, the paths, and why.
DIFFERENCES: tuple[tuple[str, str, str], ...] = (
    (r"vnpool.info.*", r"/VNET/TEMPLATE/X?VN_MAD", "4.14's site had its own"),
    (r".*", r"MONITORING/(DISK|NET)|/MONITORING/STATE", "what a driver measures: ours measures CPU and memory"),
    (r".*", r"/ETH\d_MASK|/NETWORK_MASK", "a network's own setting: ours have a mask, the recorded ones had none"),
    (r".*", r"/(DNS|GATEWAY|NETWORK_ADDRESS|ETH\d_(DNS|GATEWAY|NETWORK))$", "a network's own setting, which ours do not have"),
    (r"vm.*", r"IP6|/ETH\d_IP$|/NIC/IP$", "ours have IPv4 only: a network of IPv6 or of hardware addresses is not there"),
    (r"vm.*", r"ALIAS|/NIC/(EXTERNAL|NETWORK_MODE)", "addresses are not attached to a machine of the embedded cloud later on"),
    (r"vm.*", r"SNAPSHOT|/DISK/(ATTACH|TM_MAD_SYSTEM)", "disks are not attached, and nothing is snapshot, in the embedded cloud"),
    (r"vm.*", r"/TEMPLATE_ID$|/SUBMIT_ON_HOLD$|/CREATED_BY$", "how the machine was made: its document does not tell in full"),
    (r"vm.info-LOCKED.*", r"/LOCK", "locks are not played again from a document; test_methods.py has them"),
    (r"vm.info-(VMGROUP|user-inputs).*", r"AUTOMATIC_NIC_REQUIREMENTS", "left over there from interfaces that were taken out"),
    (r"vm.info-user-inputs.*", r"ROOTPW", "an empty value cannot be said in a template"),
    (r"vm.*", r"/SCHED_MESSAGE$", "the reason to wait goes when a machine is placed; real schedulers leave it"),
    (r"vm.*", r"/TEMPLATE/ERROR", "3.2 adds one for each failure, also of polls; ours keeps the last"),
    (r"vm.info-FAILED-poll.*", r"/DEPLOY_ID", "3.2 has one state for all that failed; ours comes from a boot"),
    (r"vm(pool)?.info-.*", r"/TEMPLATE/DISK", "3.2: a disk with a SOURCE is StratusLab's, where its image is known"),
    (
        r"vmpool.info-(page-0-5|listing.*)",
        r"/ETH0_(MTU|SEARCH_DOMAIN)",
        "4.14 had unset ones, too, for a while",
    ),
    (r"template(pool)?.info.*", r"/VMTEMPLATE/TEMPLATE/", "what the site's own templates ask for"),
    (r"image(pool)?.info.*", r"/TEMPLATE/(DESCRIPTION|MARKETPLACE_IDENTIFIER)", "what a site wrote about its image"),
    (r"image(pool)?.info.*", r"/PATH$|/VMS(/ID)?$", "where it was copied from, and how many use it"),
    (r"image(pool)?.info.*", r"/IMAGE/SNAPSHOTS", "4.14 has them empty"),
    (r"vn.info.*", r"/VNET/TEMPLATE/VN_MAD$", "4.14 leaves it out, unless the site wrote it down"),
    (r"vn(pool)?.info.*", r"/ALLOCATED$|/UPDATED_VMS(/ID)?$", "how many use it"),
    (
        r"vn(pool)?.info.*",
        r"/AR/IP$|/(OUTER_)?VLAN_ID$|/XVN_MAD$|/VLAN$|/CLUSTER(_ID)?$",
        "settings of IPv6 and VLANs",
    ),
    (
        r"vn(pool)?.info.*",
        r"/VNET/(TYPE|RANGE|TOTAL_LEASES)|/VNET/TEMPLATE/|/PHYDEV$",
        "3.2: ranges are a kind of network",
    ),
    (
        r"host(pool)?.info.*",
        r"/PCI_DEVICES|/NUMA_NODES|/DATASTORES|/HOST/(TEMPLATE|MONITORING|VMS)",
        "what drivers report",
    ),
    (
        r"host(pool)?.info.*",
        r"/TM_MAD$|/CLUSTER$",
        "what drivers report",
    ),
    (r"user.info.*", r"_QUOTA|/PASSWORD$|/TEMPLATE", "no quotas, and a password is never shown"),
    (r"clusterpool.info.*", r"/ID$", "how many hosts, networks and datastores there are"),
)


def shape(element: Element, above: str = "") -> list[str]:
    """The paths of all elements in document order, with what is empty marked."""
    path = f"{above}/{element.tag}"
    empty = not len(element) and not (element.text or "").strip()
    return [path + (" (empty)" if empty else ""), *(line for child in element for line in shape(child, path))]


def differences(name: str, version: str, theirs: Element, ours: Element) -> list[str]:
    """What differs and is not expected to."""
    expected = [
        paths
        for names, paths, why in DIFFERENCES
        if re.fullmatch(names, name) and (version.startswith("3") or not why.startswith("3.2"))
    ]
    lines = difflib.unified_diff(shape(theirs), shape(ours), "recorded", "ours", lineterm="", n=0)
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return [line for line in changed if not any(re.search(paths, line.removesuffix(" (empty)")) for paths in expected)]


class Scene:
    """A cloud in one profile, and the recording that it is to answer as."""

    def __init__(self, call: Caller, version: str, name: str) -> None:
        self.ask = call
        self.stage = call.stage
        self.version = version
        self.profile = PROFILE_OF[version]
        self.name = name

    def call(self, method: str, *arguments: Any, user: str = "alice") -> Any:
        return self.ask(method, *arguments, user=user, profile=self.profile)

    def machine(self, text: str = SMALL, *, hold: bool = False, user: str = "alice") -> int:
        engine = self.stage.engine
        return engine.allocate(engine.user(user), text, hold, SERVER_PROFILES[self.profile].rules)

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
        response = b"".join(answer(self.stage.engine, lambda session: None, body, SERVER_PROFILES[self.profile]))
        return xmlrpc.client.loads(response)[0][0]

    def no_lease(self) -> Any:
        configure(self.stage.engine, ranges={"public": ("127.101.0.1", 1)})
        self.machine(f"{SMALL}NIC=[NETWORK_ID=0]")
        return self.allocated(f"{SMALL}NIC=[NETWORK_ID=0]")

    def restricted(self, text: str) -> Any:
        if self.version.startswith("3"):
            self.profile = PLAIN_3.name
        return self.allocated(SMALL + text)


# Calls that are refused, or answered with a number: what the words of a name stand for, the first that fits.
CALLS: tuple[tuple[str, Callable[[Scene], Any]], ...] = (
    (r".*bad-password|.*unknown-user", Scene.unauthenticated),
    (r".*unknown-method|vm\.nosuch-.*", lambda scene: scene.call("one.vm.nosuch")),
    (r"system\.version-no-such-method.*", lambda scene: scene.call("one.system.version")),
    (r"system\.version.*", lambda scene: scene.call("one.system.version")),
    (r"wrong-arg-type|.*-parameters-fault", lambda scene: scene.call("one.vm.info", "x")),
    (r"vm\.info-unknown-id", lambda scene: scene.call("one.vm.info", 9999)),
    (
        r"vm\.action-unknown-id",
        lambda scene: scene.call("one.vm.action", next(iter(SERVER_PROFILES[scene.profile].actions)), 9999),
    ),
    (r"template\.info-unknown-id", lambda scene: scene.call("one.template.info", 99)),
    (r"vm\.info-permission-denied", lambda scene: scene.call("one.vm.info", scene.machine(), user="bob")),
    (r"vm\.action-locked", lambda scene: _locked(scene)),  # noqa: PLW0108 (it is defined below)
    (r"vm\.action-finalize-permission-denied", lambda scene: scene.acted("finalize", "HOLD", "bob")),
    (r"vm\.action-(terminate-hard-)?permission-denied", lambda scene: scene.acted(_ending(scene), "HOLD", "bob")),
    (r"vm\.action-wrong-state", lambda scene: scene.acted("resume", "RUNNING")),
    (r"vm\.action-wrong-state-DONE|vm\.action-.*-?(on-)?DONE.*", lambda scene: scene.acted(_ending(scene), "DONE")),
    (r"vm\.action-delete-needs-ADMIN", lambda scene: scene.acted("delete", "RUNNING")),
    (r"vm\.action-(not-supported-)?finalize(-not-supported)?", lambda scene: scene.acted("finalize", "RUNNING")),
    (r"vm\.action-shutdown-not-supported", lambda scene: scene.acted("shutdown", "RUNNING")),
    (r"vm\.action-delete-action-result.*", lambda scene: scene.acted("delete", "RUNNING")),
    (r"vm\.action-terminate-hard-(not-supported|action-result.*)", lambda scene: scene.acted("terminate-hard", "RUNNING")),
    (r"vm\.action-terminate-hard-wrong-state-BOOT", lambda scene: scene.acted("terminate-hard", "BOOT")),
    (r"vm\.action-shutdown-wrong-state-(?P<state>[A-Z]+)", lambda scene: scene.acted("shutdown", scene.name.rpartition("-")[2])),
    (r"vm\.action-terminate-while-shutdown", lambda scene: scene.acted("terminate", "SHUTDOWN")),
    (r"vm\.action-terminate-SUSPENDED-accepted", lambda scene: scene.acted("terminate", "SUSPENDED")),
    (r"vm\.action-(poweroff|terminate)", lambda scene: scene.acted(scene.name.partition("-")[2], "RUNNING")),
    (r"vm\.allocate-(hold|lease-of-other-machine-accepted)", lambda scene: scene.call("one.vm.allocate", SMALL, True)),
    (r"vm\.allocate-context-dollar-name", lambda scene: scene.allocated(f"{SMALL}CONTEXT=[A=$NAME]")),
    (r"vm\.allocate-context-dollar.*", lambda scene: scene.allocated(f"{SMALL}CONTEXT=[PW=pa$$w0rd]")),
    (r"vm\.allocate-parse-error", lambda scene: scene.allocated("CPU=1" if scene.version[0] != "7" else "CPU=1\nDISK=[")),
    (r"vm\.allocate-no-memory|vm\.allocate-unclosed-quote-refused", lambda scene: scene.allocated("CPU=1")),
    (r"vm\.allocate-unclosed-quote-accepted", lambda scene: scene.allocated(f'{SMALL}NOTE="open\n')),
    (r"vm\.allocate-unknown-image-name", lambda scene: scene.allocated(f"{SMALL}DISK=[IMAGE=nosuch]", "oneadmin")),
    (r"vm\.allocate-unknown-network-name", lambda scene: scene.allocated(f"{SMALL}NIC=[NETWORK=nosuch]", "oneadmin")),
    (r"vm\.allocate-unknown-image", lambda scene: scene.allocated(f"{SMALL}DISK=[{_named(scene, 'IMAGE')}]")),
    (r"vm\.allocate-unknown-image-id", lambda scene: scene.allocated(f"{SMALL}DISK=[IMAGE_ID=99]")),
    (r"vm\.allocate-unknown-network", lambda scene: scene.allocated(f"{SMALL}NIC=[{_named(scene, 'NETWORK')}]")),
    (r"vm\.allocate-restricted-attribute-DISK-SOURCE", lambda scene: scene.restricted("DISK=[SOURCE=x]")),
    (r"vm\.allocate-restricted-attribute-RANK", lambda scene: scene.restricted("RANK=FREE_CPU")),
    (r"vm\.allocate-restricted-attr(ibute)?", lambda scene: scene.restricted('NIC=[NETWORK_ID=0,MAC="02:00:00:00:00:01"]')),
    (r"vm\.allocate-source-block-disk", lambda scene: scene.allocated(f"{SMALL}DISK=[SOURCE=x,TYPE=block]")),
    (r"vm\.allocate-source-disk", lambda scene: scene.allocated(f"{SMALL}DISK=[SOURCE=x]")),
    (r"vm\.allocate-bad-name-char", lambda scene: scene.allocated(f'{SMALL}NAME="a{_forbidden(scene)}b"')),
    (r"vm\.allocate-no-lease", Scene.no_lease),
    (r"vm\.allocate-non-bmp-fault", lambda scene: scene.allocated(f"{SMALL}NAME=\N{GRINNING FACE}")),
    (r"template\.instantiate.*", lambda scene: scene.call("one.template.instantiate", 0, "x", False, "", False)),
)
NOT_PLAYED: dict[str, str] = {
    r"vm\.allocate-quota-(reached|exceeded)": "the embedded cloud has no quotas",
    r"template\.info-nic-alias": "the embedded cloud's templates have no aliases",
    r"template\.info-user-inputs": "the embedded cloud's templates ask for nothing",
}
# Texts that cannot be the same, by the recording's name.
OTHER_WORDS: dict[str, str] = {
    r"vm\.allocate-parse-error": "the grammar of another parser: only that it is a parse error is the same",
    r"vm\.allocate-unknown-(image|network)-name": "whose images are looked at",
    r"vm\.allocate-non-bmp-fault": "the length of the text",
}


def _ending(scene: Scene) -> str:
    actions = SERVER_PROFILES[scene.profile].actions
    return next(name for name, verb in actions.items() if verb in (Verb.TERMINATE_HARD, Verb.TERMINATE_HARD_5, Verb.DELETE))


def _named(scene: Scene, what: str) -> str:
    return f"{what}=nosuch" if scene.version == "7.4.0" else f"{what}_ID=99"


def _forbidden(scene: Scene) -> str:
    return '\\"' if scene.version == "6.8.0" else "<"


def _locked(scene: Scene) -> Any:
    number = scene.machine(hold=True)
    assert scene.call("one.vm.lock", number, 1)[0]
    return scene.call("one.vm.action", "poweroff", number)


def _pool(method: str, *arguments: int) -> Callable[[Scene, Element], Any]:
    def ask(scene: Scene, theirs: Element) -> Any:
        if any(theirs.find(f".//{sign}") is not None for sign in ("VMS/ID", "RUNNING_VMS", "LEASE")):
            scene.machine(f"{SMALL}DISK=[IMAGE_ID=1]\nNIC=[NETWORK_ID=0]")
        return scene.call(method, *arguments)

    return ask


# Documents, by the words of the recording's name.
DOCUMENTS: tuple[tuple[str, Callable[[Scene, Element], Any]], ...] = (
    (r"vm\.info(-.*)?", lambda scene, theirs: _recorded(scene, theirs, "one.vm.info")),
    (r"vmpool\.infoextended.*", lambda scene, theirs: _recorded(scene, theirs, "one.vmpool.infoextended")),
    (r"vmpool\.info.*", lambda scene, theirs: _recorded(scene, theirs, "one.vmpool.info")),
    (r"vmpool\.monitoring.*", lambda scene, theirs: _monitored(scene)),
    (r"imagepool\.info.*", _pool("one.imagepool.info", -2, -1, -1)),
    (r"vnpool\.info.*", _pool("one.vnpool.info", -2, -1, -1)),
    (r"vn\.info.*", _pool("one.vn.info", 0)),
    (r"image\.info.*", _pool("one.image.info", 1)),
    (r"hostpool\.info.*", _pool("one.hostpool.info")),
    (r"host\.info.*", _pool("one.host.info", 0)),
    (r"templatepool\.info.*", _pool("one.templatepool.info", -2, -1, -1)),
    (r"template\.info.*", _pool("one.template.info", 0)),
    (r"clusterpool\.info.*", _pool("one.clusterpool.info")),
    (r"user\.info.*", _pool("one.user.info", -1)),
)


def _recorded(scene: Scene, theirs: Element, method: str) -> Any:
    machine = theirs if theirs.tag == "VM" else theirs.find("VM")
    if machine is None:
        return scene.call(method, -3, -1, -1, -1)
    legacy = scene.version.startswith("3")
    hold = machine.findtext("STATE") == "2" or machine.find("TEMPLATE/SUBMIT_ON_HOLD") is not None
    number = scene.machine(template(machine, legacy), hold=hold)
    staged(scene.stage, number, machine)
    return scene.call(method, number) if method == "one.vm.info" else scene.call(method, -3, -1, -1, -2)


def _monitored(scene: Scene) -> Any:
    number = scene.machine()
    scene.stage.runs(number)
    scene.stage.polled(number, 5.0, 1024)
    return scene.call("one.vmpool.monitoring", -3, 0)


def _first_of_pool(element: Element) -> Element:
    """A pool with its first member only."""
    if element.tag.endswith("_POOL") or element.tag == "MONITORING_DATA":
        for member in element[1:]:
            element.remove(member)
    return element


def _found(table: Iterable[tuple[str, Any]], name: str) -> Any:
    found = next((value for words, value in table if re.fullmatch(words, name)), None)
    if found is None:
        pytest.fail(f"no situation is known for the words of {name}: add it to a table of this test")
    return found


def _plain(text: str) -> str:
    return re.sub(r"\d+", "N", text)


def test_there_are_recordings_of_each_version() -> None:
    assert {path.parent.name.removeprefix("opennebula-") for path in RECORDINGS} == set(PROFILE_OF)
    assert len(RECORDINGS) > 200


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name[11:]}-{path.name[:-13]}")
def test_recording(call: Caller, path: Path) -> None:
    version = path.parent.name.removeprefix("opennebula-")
    name = re.sub(r"\A\d+[a-z]?-", "", path.name.removesuffix(".response.xml"))
    scene = Scene(call, version, name)
    if name.startswith("vmgrouppool.info"):
        # There are no groups of machines, so that the method is unknown.
        assert scene.call("one.vmgrouppool.info", -2, -1, -1).faultCode == -506
        return
    if any(re.fullmatch(words, name) for words in NOT_PLAYED):
        return
    configure(call.stage.engine, capacity=Capacity(10000, 10**9))
    body = path.read_bytes()
    try:
        theirs: Any = xmlrpc.client.loads(body)[0][0]
    except xmlrpc.client.Fault as fault:
        ours = _found(CALLS, name)(scene)
        assert isinstance(ours, xmlrpc.client.Fault), ours
        assert ours.faultCode == fault.faultCode
        assert any(re.fullmatch(words, name) for words in OTHER_WORDS) or ours.faultString == fault.faultString
        return
    except Exception:
        assert re.search("not-well-formed|control-characters", name), "the recording cannot be read"
        return  # 3.2 writes what nobody can read where a driver's message is odd; ours are well-formed
    if theirs[0] is True and isinstance(theirs[1], str) and theirs[1].startswith("<"):
        _compare(scene, name, theirs)
        return
    ours = _found(CALLS, name)(scene)
    assert [type(element) for element in ours] == [type(element) for element in theirs], ours
    assert (ours[0], ours[2]) == (theirs[0], theirs[2]), ours
    if isinstance(theirs[1], str) and not any(re.fullmatch(words, name) for words in OTHER_WORDS):
        assert _plain(ours[1]) == _plain(theirs[1])


def _compare(scene: Scene, name: str, theirs: Any) -> None:
    try:
        recorded = ElementTree.fromstring(theirs[1].encode())
    except ElementTree.ParseError:
        assert re.search("not-well-formed|control-characters", name), "the recording cannot be read"
        return
    recorded = _first_of_pool(recorded)
    ours = _found(DOCUMENTS, name)(scene, recorded)
    assert (len(ours), ours[0], ours[2]) == (len(theirs), True, theirs[2]), ours
    document = _first_of_pool(ElementTree.fromstring(ours[1].encode()))
    assert differences(name, scene.version, recorded, document) == []
