"""The embedded cloud's documents against those that a real OpenNebula 7.4.0 sent: the same elements in the same order."""

from __future__ import annotations

import re
import xmlrpc.client
from typing import Any
from xml.etree import ElementTree

import pytest

from stratuslab.opennebula.states import Lcm
from tests.fakes.staged_cloud import Stage, configure
from tests.harness import CHECKOUT, TTYLINUX
from tests.local.conftest import Caller
from tests.local.templates import RECORDED

RECORDINGS = CHECKOUT / "tests" / "wire" / "opennebula-7.4.0"


def recorded(name: str) -> ElementTree.Element:
    """The recorded document, without the name server and the gateway that the network there had."""
    root = ElementTree.fromstring((RECORDINGS / f"{name}.inner.xml").read_bytes())
    for nic in root.iter("NIC"):
        without(nic, "DNS", "GATEWAY")
    return root


def shape(element: ElementTree.Element) -> list[str]:
    """The paths of all elements in document order."""
    found: list[str] = []

    def walk(element: ElementTree.Element, path: str) -> None:
        found.append(path)
        for child in element:
            walk(child, f"{path}/{child.tag}")

    walk(element, element.tag)
    return found


def document(call: Caller, method: str, *arguments: int, user: str = "alice", **details: str) -> ElementTree.Element:
    ok, text, code = call(method, *arguments, user=user, **details)
    assert (ok, code) == (True, 0), text
    return ElementTree.fromstring(text)


def info(call: Caller, number: int, **details: str) -> ElementTree.Element:
    return document(call, "one.vm.info", number, **details)


def without(element: ElementTree.Element, *paths: str) -> ElementTree.Element:
    for path in paths:
        parent, _, tag = path.rpartition("/")
        for above in element.findall(parent) if parent else [element]:
            for child in above.findall(tag):
                above.remove(child)
    return element


@pytest.fixture
def sample(call: Caller) -> int:
    """The recorded instance, allocated on hold as in the recording."""
    configure(call.stage.engine, ranges={"public": ("134.158.75.200", 21)})
    ok, number, _ = call("one.vm.allocate", RECORDED, True, user="alice")
    assert ok
    assert isinstance(number, int)
    return number


class TestInstance:
    def test_pending(self, call: Caller, sample: int) -> None:
        theirs = recorded("13-vm.info-PENDING")
        ours = info(call, sample)
        # Theirs was released; ours is still on hold, so that it stays where it is.
        assert shape(ours) == shape(theirs)
        for path in ("NAME", "TEMPLATE/NIC/IP", "TEMPLATE/NIC/MAC", "TEMPLATE/CPU", "TEMPLATE/DISK/TARGET", "UNAME", "UID"):
            assert ours.findtext(path) == theirs.findtext(path)

    def test_running(self, call: Caller, stage: Stage, sample: int) -> None:
        call("one.vm.action", "release", sample, user="alice")
        stage.runs(sample)
        assert shape(info(call, sample)) == shape(recorded("14-vm.info-RUNNING"))

    def test_poweroff(self, call: Caller, stage: Stage, sample: int) -> None:
        call("one.vm.action", "release", sample, user="alice")
        stage.runs(sample)
        call("one.vm.action", "poweroff", sample, user="alice")
        ours, theirs = info(call, sample), recorded("40-vm.info-after-poweroff")
        assert shape(ours) == shape(theirs)
        for path in ("STATE", "LCM_STATE", "HISTORY_RECORDS/HISTORY/ACTION", "HISTORY_RECORDS/HISTORY/UID"):
            assert ours.findtext(path) == theirs.findtext(path)

    def test_done(self, call: Caller, stage: Stage, sample: int) -> None:
        call("one.vm.action", "release", sample, user="alice")
        stage.runs(sample)
        call("one.vm.action", "poweroff", sample, user="alice")
        call("one.vm.action", "resume", sample, user="alice")
        stage.runs(sample)
        call("one.vm.action", "terminate", sample, user="alice")
        ours, theirs = info(call, sample), recorded("54-vm.info-DONE")
        records = theirs.find("HISTORY_RECORDS")
        assert records is not None
        for record in records[2:]:
            records.remove(record)
        assert shape(ours) == shape(theirs)
        assert ours.findtext("STATE") == "6"

    def test_boot(self, call: Caller, stage: Stage) -> None:
        assert call("one.vm.allocate", 'CPU="0.1"\nMEMORY="64"', user="alice")[0]
        stage.engine.machine_reached(1, Lcm.PROLOG)
        stage.engine.machine_reached(1, Lcm.BOOT)
        ours, theirs = info(call, 1), recorded("71-vm.info-BOOT")
        assert (ours.findtext("LCM_STATE"), ours.findtext("DEPLOY_ID")) == (theirs.findtext("LCM_STATE"), "")
        times = [path for path in shape(theirs) if path.startswith("VM/HISTORY_RECORDS")]
        assert [path for path in shape(ours) if path.startswith("VM/HISTORY_RECORDS")] == times

    def test_image_and_context(self, call: Caller, stage: Stage) -> None:
        template = (
            'NAME=slowboot\nCPU="0.1"\nMEMORY="64"\nDISK=[IMAGE=ttylinux, IMAGE_UNAME=oneadmin]\nNIC=[NETWORK_ID=0]\n'
            'CONTEXT=[NETWORK=YES, SSH_PUBLIC_KEY="ssh-rsa AAAA <&> test"]\nDESCRIPTION="quotes & <angle>"'
        )
        assert call("one.vm.allocate", template, user="alice")[0]
        stage.runs(1)
        ours, theirs = info(call, 1), recorded("71-vm.info-RUNNING-image-context")
        assert shape(ours) == shape(theirs)
        for path in ("TEMPLATE/CONTEXT/SSH_PUBLIC_KEY", "TEMPLATE/CONTEXT/TARGET", "TEMPLATE/DISK/IMAGE", "TEMPLATE/DISK/TARGET"):
            assert ours.findtext(path) == theirs.findtext(path)
        context = {path: text for path in ("ETH0_IP", "DISK_ID") if (text := ours.findtext(f"TEMPLATE/CONTEXT/{path}"))}
        assert context == {"ETH0_IP": "127.101.0.1", "DISK_ID": "1"}

    def test_boot_failure(self, call: Caller, stage: Stage) -> None:
        assert call("one.vm.allocate", RECORDED, user="alice")[0]
        stage.engine.machine_reached(1, Lcm.BOOT)
        stage.engine.machine_failed(1, Lcm.BOOT, "Failed to create domain")
        ours, theirs = info(call, 1), recorded("33-vm.info-BOOT_FAILURE")
        assert shape(ours) == shape(theirs)
        assert ours.findtext("LCM_STATE") == theirs.findtext("LCM_STATE")

    def test_unschedulable(self, call: Caller) -> None:
        assert call("one.vm.allocate", "NAME=toobig\nCPU=100\nMEMORY=999999999", user="alice")[0]
        ours, theirs = info(call, 1, profile="opennebula-7"), recorded("35-vm.info-PENDING-unschedulable")
        assert shape(ours) == shape(theirs)
        requirements = "TEMPLATE/AUTOMATIC_REQUIREMENTS"
        assert ours.findtext(requirements) == theirs.findtext(requirements)
        form = r"[A-Z][a-z]+ [A-Z][a-z]+ [ \d]\d [\d:]{8} \d{4}: \[HOST\] Not enough CPU on hosts: [\d,]+\Z"
        for message in (ours.findtext("USER_TEMPLATE/SCHED_MESSAGE"), theirs.findtext("USER_TEMPLATE/SCHED_MESSAGE")):
            assert re.match(form, message or "")

    def test_what_is_cdata(self, call: Caller, stage: Stage, sample: int) -> None:
        call("one.vm.action", "release", sample, user="alice")
        stage.runs(sample)
        response: Any = xmlrpc.client.loads((RECORDINGS / "14-vm.info-RUNNING.response.xml").read_bytes())[0][0]
        theirs, ours = response[1], call("one.vm.info", sample, user="alice")[1]

        def plain(text: str) -> set[str]:
            return set(re.findall(r"<([A-Z_]+)>[^<]+<", text))

        assert plain(theirs) == plain(ours)


class TestPool:
    def test_short_body(self, call: Caller, stage: Stage) -> None:
        assert call("one.vm.allocate", RECORDED, user="alice")[0]
        stage.engine.machine_failed(1, Lcm.PROLOG, "no space")
        arguments = (-2, -1, -1, -1)
        assert shape(document(call, "one.vmpool.info", *arguments)) == shape(recorded("60-vmpool.info-1vm"))
        assert shape(document(call, "one.vmpool.infoextended", *arguments)) == shape(recorded("60c-vmpool.infoextended-1vm"))

    def test_empty(self, call: Caller) -> None:
        assert shape(document(call, "one.vmpool.info", -2, -1, -1, -2)) == shape(recorded("02-vmpool.info-empty"))


class TestOthers:
    def test_images(self, call: Caller) -> None:
        assert call("one.vm.allocate", "CPU=1\nMEMORY=1\nDISK=[IMAGE_ID=1]", user="alice")[0]
        assert call("one.vm.allocate", "CPU=1\nMEMORY=1\nDISK=[IMAGE_ID=1]", user="alice")[0]
        pool = document(call, "one.imagepool.info", -2, -1, -1)
        ours = next(image for image in pool if image.findtext("NAME") == "ttylinux")
        theirs = recorded("74-imagepool.info")[0]
        # Ours tells where it comes from in place of a description.
        assert shape(without(ours, "TEMPLATE")) == shape(without(theirs, "TEMPLATE"))
        assert [vm.text for vm in ours.findall("VMS/ID")] == ["1", "2"]
        image = document(call, "one.image.info", 1)
        assert image.findtext("TEMPLATE/MARKETPLACE_IDENTIFIER") == TTYLINUX
        assert call("one.image.info", 77) == [False, "[one.image.info] Error getting image [77].", 1024, 77, -1]

    def test_networks(self, call: Caller) -> None:
        assert call("one.vm.allocate", RECORDED, user="alice")[0]
        pool = document(call, "one.vnpool.info", -2, -1, -1)
        ours = next(network for network in pool if network.findtext("NAME") == "public")
        theirs = next(network for network in recorded("75-vnpool.info") if network.findtext("NAME") == "public")
        optional = ("TEMPLATE/DNS", "TEMPLATE/GATEWAY", "TEMPLATE/NETWORK_ADDRESS", "UPDATED_VMS/ID")
        vlans = ("TEMPLATE/OUTER_VLAN_ID", "TEMPLATE/VLAN_ID")
        assert shape(without(ours, *optional)) == shape(without(theirs, *optional, *vlans))
        assert (ours.findtext("USED_LEASES"), ours.findtext("AR_POOL/AR/ALLOCATED")) == ("1", " 0 68719476737")
        assert document(call, "one.vn.info", 2).findtext("NAME") == "private"
        assert call("one.vn.info", 9)[2] == 1024

    def test_user(self, call: Caller) -> None:
        ours, theirs = document(call, "one.user.info", -1), recorded("77b-user.info-self")
        quotas = ("DATASTORE_QUOTA", "NETWORK_QUOTA", "VM_QUOTA", "IMAGE_QUOTA")
        assert shape(without(ours, *quotas)) == shape(without(theirs, *quotas, "TEMPLATE/TOKEN_PASSWORD"))
        assert (ours.findtext("NAME"), ours.findtext("ID"), ours.findtext("PASSWORD")) == ("alice", "2", "")
        assert call("one.user.info", 0, user="alice")[2] == 512
        assert call("one.user.info", 99)[2] == 1024
        assert document(call, "one.user.info", 2, user="oneadmin").findtext("NAME") == "alice"

    def test_machine_templates(self, call: Caller) -> None:
        ours, theirs = document(call, "one.templatepool.info", -2, -1, -1), recorded("73-templatepool.info")
        assert shape(without(ours[-1], "TEMPLATE/CONTEXT")) == shape(theirs[0])
        assert [template.findtext("NAME") for template in ours] == ["large", "tiny"]
        assert document(call, "one.template.info", 1).findtext("TEMPLATE/MEMORY") == "2048"
        assert call("one.template.info", 9)[2] == 1024

    def test_the_rest(self, call: Caller) -> None:
        assert call("one.vm.allocate", "CPU=1\nMEMORY=1024", user="alice")[0]
        host = document(call, "one.hostpool.info")[0]
        assert (host.findtext("NAME"), host.findtext("HOST_SHARE/CPU_USAGE")) == ("localhost", "100")
        assert host.findtext("HOST_SHARE/MEM_USAGE") == str(1024 * 1024)
        assert [store.findtext("NAME") for store in document(call, "one.datastorepool.info")] == ["default", "system"]


class TestAroundMachines:
    """What clients ask of a cloud around its machines: hosts, datastores, clusters, users, groups, and the leases of networks."""

    @pytest.mark.parametrize(
        ("kind", "known"),
        [("host", {0: "localhost"}), ("datastore", {0: "system", 1: "default"}), ("cluster", {0: "default"})],
    )
    def test_one_is_as_in_the_pool(self, call: Caller, kind: str, known: dict[int, str]) -> None:
        found = {int(one.findtext("ID", "")): one for one in document(call, f"one.{kind}pool.info")}
        assert {number: one.findtext("NAME") for number, one in found.items()} == known
        for number, one in found.items():
            assert shape(document(call, f"one.{kind}.info", number)) == shape(one)
        ok, message, code, *_ = call(f"one.{kind}.info", 77)
        assert (ok, code, message) == (False, 1024, f"[one.{kind}.info] Error getting {kind} [77].")

    def test_users_and_groups_are_seen_by_the_administrator(self, call: Caller) -> None:
        call("one.user.info", -1, user="alice")

        def seen(method: str, *arguments: int, user: str) -> list[str | None]:
            root = document(call, method, *arguments, user=user)
            return [one.findtext("NAME") for one in ([root] if arguments else root) if one.findtext("NAME")]

        assert seen("one.userpool.info", user="oneadmin") == ["oneadmin", "serveradmin", "alice"]
        assert seen("one.userpool.info", user="alice") == ["alice"]
        assert seen("one.grouppool.info", user="oneadmin") == ["oneadmin", "users"]
        assert seen("one.grouppool.info", user="alice") == seen("one.group.info", -1, user="alice") == ["users"]
        assert seen("one.group.info", 0, user="oneadmin") == ["oneadmin"]
        assert [call("one.group.info", number, user="alice")[2] for number in (0, 77)] == [512, 1024]

    def test_leases_of_a_network(self, call: Caller) -> None:
        call("one.vm.allocate", RECORDED, user="alice")
        network = document(call, "one.vn.info", 0)
        assert network.find("AR_POOL/AR/ALLOCATED") is None
        (lease,) = network.iterfind("AR_POOL/AR/LEASES/LEASE")
        assert [field.text for field in lease] == ["127.101.0.1", "02:00:7f:65:00:01", "1"]
        assert network.findtext("AR_POOL/AR/IP_END") == "127.101.0.254"
        ok, text, *_ = call("one.vn.info", 0, profile="stratuslab-3")
        assert (ok, ElementTree.fromstring(text).findtext("LEASES/LEASE/VID")) == (True, "1")

    def test_what_came_later_is_not_there_before(self, call: Caller) -> None:
        fault = call("one.clusterpool.info", profile="stratuslab-3")
        assert isinstance(fault, xmlrpc.client.Fault)
        assert fault.faultCode == -506
