"""Starting machines through a proxy that loses answers: on each family of servers exactly those run that are reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from stratuslab.local.api.http_server import Urls
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.local.store.instance_record import ADMINISTRATOR
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from tests.fakes import mishaps
from tests.fakes.faulty_proxy import Fault, FaultyProxy, Late
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Shell

USERS = {"alice": "secret", "bob": "secret"}
TEMPLATE = "template:tiny"
STARTS = ("one.vm.allocate", "one.template.instantiate")  # 3.x starts machines of templates with the first as well

Behind = Callable[..., FaultyProxy]


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
