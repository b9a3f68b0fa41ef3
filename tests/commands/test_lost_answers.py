"""Starting machines through a proxy that loses answers: on each family of servers exactly those run that are reported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from stratuslab.local.api.http_server import Urls
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from stratuslab.opennebula.states import Lcm
from tests.fakes import mishaps
from tests.fakes.faulty_proxy import Delayed, Fault, FaultyProxy, Late, Twice
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Shell

USERS = {"alice": "secret", "bob": "secret"}
TEMPLATE = "template:tiny"
STARTS = ("one.vm.allocate", "one.template.instantiate")  # 3.x starts machines of templates with the first as well

Behind = Callable[..., FaultyProxy]
pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture(params=sorted(SERVER_PROFILES))
def served(request: pytest.FixtureRequest, shell: Shell, stage: Stage, serve: Serve) -> Urls:
    served = serve(users=USERS, profile=request.param)
    shell.environ.update(STRATUSLAB_MARKETPLACE_ENDPOINT=served.marketplace, STRATUSLAB_PASSWORD="secret")
    return served


@pytest.fixture
def behind(shell: Shell, served: Urls) -> Iterator[Behind]:
    """Put a proxy with these faults between the shell and the cloud."""
    running: list[FaultyProxy] = []

    def start(*faults: Fault | None, always: Fault | None = None) -> FaultyProxy:
        starts = {method: list(faults) for method in STARTS}
        running.append(FaultyProxy(served.rpc, starts, {} if always is None else dict.fromkeys(STARTS, always)))
        shell.environ.update(STRATUSLAB_ENDPOINT=running[-1].url, STRATUSLAB_USERNAME="alice")
        return running[-1]

    yield start
    for proxy in running:
        proxy.close()


def machines(stage: Stage) -> list[int]:
    """The ids of all machines there are, whatever became of them."""
    return sorted(record.id for record in stage.engine.pool(ADMINISTRATOR, Owner.ALL, -1, -1, PoolState.ANY))


def reported(shell: Shell, *arguments: str) -> tuple[int, list[int], str]:
    ran = shell("run", "--format", "json", *arguments)
    return ran.status, sorted(row["id"] for row in json.loads(ran.out)["instances"]), ran.err


@pytest.mark.parametrize("image", [TTYLINUX, TEMPLATE])
@pytest.mark.parametrize("fault", [mishaps.lost, mishaps.halved, mishaps.bad_gateway_after, Late(1)])
def test_one_answer_is_lost(shell: Shell, stage: Stage, behind: Behind, image: str, fault: Fault) -> None:
    behind(fault)
    assert reported(shell, image) == (0, [1], "")
    assert machines(stage) == [1]


@pytest.mark.parametrize("image", [TTYLINUX, TEMPLATE])
def test_an_answer_is_held_back_for_longer_than_the_client_waits(shell: Shell, stage: Stage, behind: Behind, image: str) -> None:
    behind(mishaps.silent_after)
    assert reported(shell, "--timeout", "1", image) == (0, [1], "")
    assert machines(stage) == [1]


@pytest.mark.parametrize("image", [TTYLINUX, TEMPLATE])
def test_every_answer_is_lost(shell: Shell, stage: Stage, behind: Behind, image: str) -> None:
    behind(always=mishaps.lost)
    assert reported(shell, "-n", "3", image) == (0, [1, 2, 3], "")
    assert machines(stage) == [1, 2, 3]


@pytest.mark.parametrize("image", [TTYLINUX, TEMPLATE])
def test_three_of_six_answers_are_lost(shell: Shell, stage: Stage, behind: Behind, image: str) -> None:
    """Beside machines of another user, and older ones of the same."""
    behind()
    for user in ("bob", "alice", "bob"):
        assert shell("run", "-u", user, "-n", "2", TTYLINUX).status == 0
    behind(mishaps.lost, None, mishaps.halved, None, mishaps.lost)
    assert reported(shell, "-n", "6", image) == (0, [7, 8, 9, 10, 11, 12], "")
    assert machines(stage) == list(range(1, 13))


# --- late, twice, and what is in doubt ------------------------------------------------------------------------------------


@pytest.fixture
def proxied(shell: Shell, stage: Stage, serve: Serve) -> Iterator[Callable[..., FaultyProxy]]:
    """Put a proxy with these faults of each method between the shell and the cloud."""
    # Up to OpenNebula 4 a machine can be killed at any time, so that no test waits until it boots.
    served = serve(profile="opennebula-4")
    shell.environ.update(STRATUSLAB_MARKETPLACE_ENDPOINT=served.marketplace, STRATUSLAB_PASSWORD="secret")
    running: list[FaultyProxy] = []

    def start(**faults: Fault) -> FaultyProxy:
        running.append(FaultyProxy(served.rpc, {f"one.{name.replace('_', '.')}": [fault] for name, fault in faults.items()}))
        shell.environ.update(STRATUSLAB_ENDPOINT=running[-1].url, STRATUSLAB_USERNAME="alice")
        return running[-1]

    yield start
    for proxy in running:
        proxy.close()


def living(stage: Stage) -> list[int]:
    return sorted(
        record.id
        for record in stage.engine.pool(ADMINISTRATOR, Owner.ALL, -1, -1, PoolState.NOT_DONE)
        if record.lcm_state not in (Lcm.EPILOG, Lcm.CLEANUP_DELETE)
    )


def test_a_machine_that_arrives_after_the_last_look_at_its_request(shell: Shell, stage: Stage, proxied: Behind) -> None:
    proxied(vm_allocate=Delayed(0.35))
    assert reported(shell, TTYLINUX) == (0, [1], "")
    assert living(stage) == [1]


@pytest.mark.parametrize("fault", [mishaps.dropped, Delayed(1.5)])
def test_what_may_still_arrive_is_in_doubt_and_not_sent_again(shell: Shell, stage: Stage, proxied: Behind, fault: Fault) -> None:
    proxy = proxied(vm_allocate=fault)
    status, ids, said = reported(shell, TTYLINUX)
    assert (status, ids) == (8, [])
    assert "no machine was created for this request, but the cloud may still start it" in said
    found = re.search(r"check with stratus-describe-instance --request (\S+)\)$", said.strip())
    assert found
    proxy.close()
    proxied()
    expected = [] if fault is mishaps.dropped else [1]
    assert living(stage) == expected
    ran = shell("describe", "--request", found[1], "--format", "ids")
    assert (ran.status, ran.out.split()) == (0 if expected else 4, list(map(str, expected)))


def test_the_surplus_of_a_request_that_arrived_twice_is_killed(shell: Shell, stage: Stage, proxied: Behind) -> None:
    proxied(vm_allocate=Twice())
    status, ids, said = reported(shell, TTYLINUX)
    assert (status, ids) == (0, [2])
    assert said == "stratus-run-instance: the network delivered the request for machine 2 twice; killed the second machine, 1\n"
    assert living(stage) == [2]


def test_the_surplus_that_arrives_late_is_killed(shell: Shell, stage: Stage, proxied: Behind) -> None:
    """The answer to another request was lost, so it is waited for what is on its way."""
    proxy = proxied(vm_allocate=Twice(0.3))
    proxy._faults["one.vm.allocate"].append(mishaps.lost)
    status, ids, said = reported(shell, "-n", "2", TTYLINUX)
    assert (status, said.count("twice; killed the second machine, 3")) == (0, 1)
    proxy.close()
    assert living(stage) == ids == [1, 2]


def test_a_surplus_that_cannot_be_killed_is_named(shell: Shell, stage: Stage, proxied: Behind) -> None:
    proxied(vm_allocate=Twice(), vm_action=mishaps.refused)
    status, ids, said = reported(shell, TTYLINUX)
    assert (status, ids) == (5, [2])
    assert "cannot kill the second machine, 1: over quota (stratus-kill-instance 1)" in said


@pytest.mark.parametrize("fault", [what for what in mishaps.CARRIED_OUT if what is not mishaps.silent_after])
@pytest.mark.parametrize(
    "command", [["kill"], ["shutdown", "--no-wait"], ["stop_instance", "--no-wait"], ["update_instance", "--name", "other"]]
)
def test_what_was_done_is_done_whatever_the_answer(
    shell: Shell, stage: Stage, proxied: Behind, command: list[str], fault: Fault
) -> None:
    proxied(vm_action=fault, vm_rename=fault)
    assert shell("run", TTYLINUX).status == 0
    stage.runs(1)
    ran = shell(*command, "1")
    assert (ran.status, ran.err) == (0, "")


def test_what_was_not_done_is_said(shell: Shell, stage: Stage, proxied: Behind) -> None:
    proxied(vm_action=mishaps.bad_gateway)
    assert shell("run", TTYLINUX).status == 0
    ran = shell("kill", "1")
    assert ran.status == 8
    assert ran.err.endswith(
        "answers HTTP 502 Bad Gateway; whether it was done to machine 1 is not known (stratus-describe-instance 1)\n"
    )
