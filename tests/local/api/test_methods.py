"""Locks, permissions and tokens, as clients of OpenNebula use them."""

from __future__ import annotations

import xmlrpc.client
from typing import Any
from xml.etree import ElementTree

import pytest

from stratuslab.opennebula.error_codes import ErrorCode
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.fakes.stopped_clock import StoppedClock
from tests.local.conftest import Caller
from tests.local.templates import SMALL


@pytest.fixture
def number(call: Caller, stage: Stage) -> int:
    ok, number, *_ = call("one.vm.allocate", SMALL, user="alice")
    assert ok
    assert isinstance(number, int)
    stage.runs(number)
    return number


def document(call: Caller, number: int, **options: str) -> ElementTree.Element:
    ok, text, *_ = call("one.vm.info", number, **options)
    assert ok, text
    return ElementTree.fromstring(text)


def test_a_lock_keeps_changes_away(call: Caller, stage: Stage, clock: StoppedClock, number: int) -> None:
    assert call("one.vm.lock", number, 1, user="alice") == [True, number, 0]
    lock = document(call, number, user="alice").find("LOCK")
    assert lock is not None
    assert [(child.tag, child.text) for child in lock] == [
        ("LOCKED", "1"),
        ("OWNER", "2"),
        ("TIME", str(int(clock.now))),
        ("REQ_ID", "-1"),
    ]
    refused = call("one.vm.action", "poweroff", number, user="alice")
    assert refused[1:3] == ["[one.vm.action] User [2] : Not authorized to perform MANAGE VM [1].", ErrorCode.AUTHORIZATION]
    assert call("one.vm.unlock", number, user="bob")[2] == ErrorCode.AUTHORIZATION
    assert call("one.vm.unlock", number, user="alice") == [True, number, 0]
    assert document(call, number, user="alice").find("LOCK") is None
    assert call("one.vm.action", "poweroff", number, user="alice")[0]


def test_locks_of_other_levels(call: Caller, number: int) -> None:
    assert call("one.vm.lock", number, 3, user="alice")[0]
    assert call("one.vm.action", "reboot", number, user="alice")[0], "a lock for ADMIN leaves the rest alone"
    assert call("one.vm.lock", number, 2, user="alice")[0]
    assert call("one.vm.action", "reboot", number, user="alice")[0] is False
    assert call("one.vm.action", "reboot", number)[0], "the administrator is not kept away"
    assert call("one.vm.lock", number, 7)[1] == "[one.vm.lock] Wrong lock level specified"
    assert call("one.vm.lock", number, 1, profile="opennebula-4").faultCode == -506


@pytest.mark.parametrize(("profile", "kept"), [("opennebula-7", "1"), ("opennebula-6", "1"), ("opennebula-5", "4")])
def test_a_lock_for_all_is_one_for_use_since_6(call: Caller, number: int, profile: str, kept: str) -> None:
    assert call("one.vm.lock", number, 4, user="alice", profile=profile)[0]
    assert document(call, number, user="alice", profile=profile).findtext("LOCK/LOCKED") == kept
    unlocked = call("one.vm.lock", number, 0, user="alice", profile=profile)[0]
    assert unlocked == (profile == "opennebula-5")


def test_who_holds_a_lock(call: Caller, number: int) -> None:
    assert call("one.vm.chmod", number, -1, -1, -1, 1, 1, 0, -1, -1, -1, user="alice")[0]
    assert call("one.vm.lock", number, 1, user="alice")[0]
    assert call("one.vm.lock", number, 2, user="bob")[1:3] == [
        "[one.vm.lock] Error trying to lock the resource.",
        ErrorCode.ACTION,
    ]
    assert call("one.vm.unlock", number, user="bob")[1:3] == [
        "[one.vm.unlock] Cannot unlock: Lock is owned by another user",
        ErrorCode.ACTION,
    ]
    assert call("one.vm.lock", number, 2, user="alice")[0], "its own lock is no obstacle"
    assert call("one.vm.unlock", number)[0], "the administrator unlocks"


def test_others_see_what_they_may(call: Caller, number: int) -> None:
    def listed(user: str) -> int:
        return len(ElementTree.fromstring(call("one.vmpool.info", -2, -1, -1, -1, user=user)[1]))

    assert (listed("bob"), call("one.vm.info", number, user="bob")[2]) == (0, ErrorCode.AUTHORIZATION)
    leave = (-1,) * 6
    assert call("one.vm.chmod", number, *leave, 1, 0, 0, user="bob")[2] == ErrorCode.AUTHORIZATION
    assert call("one.vm.chmod", number, *leave, 1, 0, 0, user="alice") == [True, number, 0]
    assert document(call, number, user="bob").findtext("PERMISSIONS/OTHER_U") == "1"
    assert listed("bob") == 1
    assert call("one.vm.action", "reboot", number, user="bob")[2] == ErrorCode.AUTHORIZATION
    assert call("one.vm.chmod", number, -1, -1, -1, 1, 1, 0, -1, -1, -1, user="alice")[0]
    assert call("one.vm.action", "reboot", number, user="bob")[0]
    assert call("one.vm.chmod", number, *leave, 2, 0, 0, user="alice")[0] is False


def test_tokens_let_in_for_a_time(serve: Serve, clock: StoppedClock) -> None:
    server: Any = xmlrpc.client.ServerProxy(serve({"alice": "secret", "bob": "b"}).rpc)
    ok, token, code = server.one.user.login("alice:secret", "alice", "", 60)
    assert (ok, code) == (True, 0)
    assert server.one.user.info(f"alice:{token}", -1)[0] is True
    assert server.one.user.info(f"bob:{token}", -1)[0] is False
    assert server.one.user.info("alice:wrong", -1)[0] is False
    clock.now += 61
    assert server.one.user.info(f"alice:{token}", -1)[0] is False
    assert server.one.user.login("alice:secret", "alice", "my-token", -1) == [True, "my-token", 0]
    clock.now += 10**6
    assert server.one.user.info("alice:my-token", -1)[0] is True
    assert server.one.user.login("alice:secret", "alice", "", 0)[0] is True
    assert server.one.user.info("alice:my-token", -1)[0] is False
    assert server.one.user.login("alice:secret", "bob", "", 60)[2] == ErrorCode.AUTHORIZATION


@pytest.mark.parametrize(
    ("method", "arguments", "said"),
    [
        ("one.vm.update", (1, "A=1", 7), (4096, "[one.vm.update] Wrong update type")),
        (
            "one.vm.chmod",
            (1, 1, 1, 1, 0, 0, 0, 0, 0, 0),
            (512, "[one.vm.chmod] User [2] : Not authorized to perform ADMIN VM [1]."),
        ),
        ("one.vm.unlock", (1,), (2048, "[one.vm.unlock] Cannot unlock: Lock is owned by another user")),
        ("one.imagepool.info", (-99, -1, -1), (4096, "[one.imagepool.info] Incorrect filter_flag")),
        ("one.vm.allocate", ("NAME=x", True), (8192, "[one.vm.allocate] MEMORY attribute must be a positive integer value.")),
    ],
)
def test_what_a_real_7_4_refuses(call: Caller, method: str, arguments: tuple[object, ...], said: tuple[int, str]) -> None:
    assert call("one.vm.allocate", SMALL, True, user="alice") == [True, 1, 0]
    answer = call(method, *arguments, user="alice")
    assert (answer[0], answer[2], answer[1]) == (False, *said)


@pytest.mark.parametrize(("method", "arguments"), [("one.vnpool.info", (-2, -1)), ("one.template.instantiate", (99,))])
def test_what_a_real_7_4_needs(call: Caller, method: str, arguments: tuple[int, ...]) -> None:
    answer = call(method, *arguments, user="alice")
    assert (answer.faultCode, answer.faultString) == (-501, "Not enough parameters")


def test_what_a_real_4_14_says(call: Caller) -> None:
    def refused(method: str, *arguments: object) -> list[object]:
        return call(method, *arguments, user="alice", profile="opennebula-4")[1:3]

    assert refused("one.template.instantiate", 99, "") == [
        "[TemplateInstantiate] Error getting virtual machine template [99].",
        1024,
    ]
    assert refused("one.vm.allocate", SMALL + "VCPU=0") == [
        "[VirtualMachineAllocate] Error allocating a new virtual machine. VCPU attribute must be a positive integer value.",
        8192,
    ]
    assert refused("one.vm.allocate", SMALL + 'NIC=[NETWORK_ID=0,MAC="02:00:00:00:00:01"]') == [
        "[VirtualMachineAllocate] User [2] : VM Template includes a restricted attribute NIC/MAC.",
        512,
    ]
