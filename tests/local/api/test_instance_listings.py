"""Listings of instances as each family of servers has them: what they keep, leave out and are out of date about."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from tests.fakes.staged_cloud import Stage
from tests.fakes.stopped_clock import StoppedClock
from tests.local.conftest import Caller
from tests.local.templates import SMALL

WHOLE = ["opennebula-4", "stratuslab-3"]
SHORT = ["opennebula-5", "opennebula-6", "opennebula-7"]
ALL = (-2, -1, -1, -1)


def listed(call: Caller, profile: str, method: str = "one.vmpool.info", arguments: tuple[int, ...] = ALL) -> ElementTree.Element:
    ok, text, code = call(method, *arguments, profile=profile)
    assert (ok, code) == (True, 0), text
    return ElementTree.fromstring(text)


@pytest.fixture
def labelled(call: Caller, stage: Stage) -> int:
    text = f'{SMALL}LABELS=night\nSCHED_RANK=FREE_CPU\nSCHED_REQUIREMENTS="CPUSPEED > 1"\nNOTE=mine\n{TOKEN_ATTRIBUTE}=f00d\n'
    ok, number, _ = call("one.vm.allocate", text)
    assert ok
    assert isinstance(number, int)
    return number


@pytest.mark.parametrize("profile", SHORT)
def test_a_short_listing_keeps_little_of_the_user_template(call: Caller, labelled: int, profile: str) -> None:
    template = listed(call, profile).find("VM/USER_TEMPLATE")
    assert template is not None
    assert [child.tag for child in template] == ["LABELS", "SCHED_RANK", "SCHED_REQUIREMENTS"]
    whole = listed(call, profile, "one.vmpool.infoextended")
    assert whole.findtext(f"VM/USER_TEMPLATE/{TOKEN_ATTRIBUTE}") == "f00d"


@pytest.mark.parametrize("profile", SHORT)
def test_only_6_and_later_list_what_went_wrong(call: Caller, stage: Stage, labelled: int, profile: str) -> None:
    from stratuslab.opennebula.states import Lcm

    stage.engine.machine_failed(labelled, Lcm.PROLOG, "no space")
    message = listed(call, profile).findtext("VM/USER_TEMPLATE/ERROR")
    assert (message is None) is (profile == "opennebula-5")


@pytest.mark.parametrize("profile", WHOLE)
def test_older_listings_are_whole(call: Caller, stage: Stage, labelled: int, profile: str) -> None:
    stage.runs(labelled)
    stage.polled(labelled, 12.0, 131072)
    machine = listed(call, profile).find("VM")
    assert machine is not None
    place = "TEMPLATE" if SERVER_PROFILES[profile].legacy else "USER_TEMPLATE"
    assert machine.findtext(f"{place}/{TOKEN_ATTRIBUTE}") == "f00d"
    assert machine.findtext("MEMORY" if SERVER_PROFILES[profile].legacy else "MONITORING/MEMORY") == "131072"
    assert call("one.vmpool.infoextended", *ALL, profile=profile).faultCode == -506


@pytest.mark.parametrize("profile", SHORT)
def test_figures_are_empty_while_it_runs_and_old_after(call: Caller, stage: Stage, labelled: int, profile: str) -> None:
    methods = ("one.vmpool.info", "one.vmpool.infoextended")
    stage.runs(labelled)
    stage.polled(labelled, 12.5, 131072)
    for method in methods:
        assert len(listed(call, profile, method).find("VM/MONITORING") or ()) == 0
        assert listed(call, profile, method).findtext("VM/LAST_POLL") == "0"
    ok, text, _ = call("one.vm.info", labelled, profile=profile)
    assert ok
    assert ElementTree.fromstring(text).findtext("MONITORING/MEMORY") == "131072"
    assert call("one.vm.action", "poweroff", labelled, profile=profile)[0]
    for method in methods:
        machine = listed(call, profile, method).find("VM")
        assert machine is not None
        assert machine.findtext("STATE") == "8"
        assert (machine.findtext("MONITORING/CPU"), machine.findtext("MONITORING/MEMORY")) == ("12.5", "131072")


@pytest.mark.parametrize("profile", SHORT)
def test_monitoring_of_the_pool(call: Caller, stage: Stage, clock: StoppedClock, labelled: int, profile: str) -> None:
    assert [call("one.vm.allocate", SMALL, user="alice")[0] for _ in range(2)] == [True, True]
    for number, memory in ((labelled, 1), (2, 2)):
        stage.runs(number)
        stage.polled(number, 12.5, memory)
    pool = listed(call, profile, "one.vmpool.monitoring", (-2, 0))
    assert pool.tag == "MONITORING_DATA"
    assert [(one.findtext("ID"), one.findtext("MEMORY"), one.findtext("CPU")) for one in pool] == [
        ("1", "1", "12.5"),
        ("2", "2", "12.5"),
    ]
    ok, text, _ = call("one.vmpool.monitoring", -3, 0, user="alice", profile=profile)
    assert ok
    assert [one.findtext("ID") for one in ElementTree.fromstring(text)] == ["2"]
    assert len(listed(call, profile, "one.vmpool.monitoring", (-2,))) == 2, "the seconds are optional"
    clock.now += 100
    assert len(listed(call, profile, "one.vmpool.monitoring", (-2, 50))) == 0
    assert len(listed(call, profile, "one.vm.monitoring", (2,))) == 1
    assert call("one.vm.monitoring", 99, profile=profile)[2] == ErrorCode.NO_EXISTS
    assert call("one.vm.monitoring", labelled, user="alice", profile=profile)[2] == ErrorCode.AUTHORIZATION
    assert call("one.vmpool.monitoring", -9, 0, profile=profile)[2] == ErrorCode.API


def test_monitoring_before_5(call: Caller, stage: Stage, labelled: int) -> None:
    stage.runs(labelled)
    stage.polled(labelled, 12.0, 131072)
    records = listed(call, "opennebula-4", "one.vmpool.monitoring", (-2,))
    assert [record.tag for record in records] == ["VM"]
    assert records.findtext("VM/MONITORING/MEMORY") == "131072"
    assert call("one.vmpool.monitoring", -2, profile="stratuslab-3").faultCode == -506


@pytest.mark.parametrize("profile", sorted(SERVER_PROFILES))
def test_order_and_pages(call: Caller, profile: str) -> None:
    for _ in range(6):
        assert call("one.vm.allocate", SMALL)[0]

    def ids(start: int, end: int) -> list[int]:
        return [int(machine.findtext("ID", "")) for machine in listed(call, profile, arguments=(-2, start, end, -1))]

    numbers = [6, 5, 4, 3, 2, 1] if profile in SHORT else [1, 2, 3, 4, 5, 6]
    assert ids(-1, -1) == numbers
    assert sorted(ids(2, 4)) == [2, 3, 4]
    assert sorted(ids(4, -1)) == [4, 5, 6]
    if SERVER_PROFILES[profile].legacy:
        assert ids(0, -5) == []
    else:
        assert (ids(0, -4), ids(4, -4), ids(8, -4)) == (numbers[:4], numbers[4:], [])


@pytest.mark.parametrize("profile", SHORT)
def test_a_search_is_refused(call: Caller, labelled: int, profile: str) -> None:
    for method in ("one.vmpool.info", "one.vmpool.infoextended"):
        refused = call(method, *ALL, "NAME=node", profile=profile)
        assert refused[1:3] == [f"[{method}] Full text search is not supported by the SQL backend", ErrorCode.INTERNAL]
        assert call(method, *ALL, "", profile=profile)[0]
