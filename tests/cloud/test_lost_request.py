"""Machines whose request's answer was lost: found by the token wherever a server's version has it, in pools of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from stratuslab.cloud.client import Cloud
from stratuslab.cloud.delivery_failures import AnswerLost
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.cloud.instance_actions import LOOKS
from stratuslab.cloud.lost_request import PAGE
from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, MachineTemplate
from stratuslab.cloud.reply import Refused
from stratuslab.opennebula.error_codes import ErrorCode
from tests.fakes import mishaps as mishap
from tests.fakes.mishaps import Mishap
from tests.fakes.opennebula_answers import failure, fault, machine
from tests.fakes.scripted_opennebula import Clouds, ScriptedOpenNebula

ALICE = Credentials("alice", "secret", origin="STRATUSLAB_USERNAME")
REQUEST = MachineRequest(root=ImageDisk("https://marketplace.example.org/metadata/X"), cpu=1, ram=128, swap=1024, token="t-1/1")
OF_TEMPLATE = replace(REQUEST, template=MachineTemplate(7))
VERSIONS = ["", "4.4.1", "4.14.2", "5.4.15", "5.6.2", "5.8.0", "5.8.1", "5.12.0.4", "6.8.0", "7.4.0", "nightly 99.1"]
BEGIN = 1795329551
YEAR = 365 * 24 * 3600
OURS = "<STRATUSLAB_REQUEST>t-1/1</STRATUSLAB_REQUEST>"


def cloud_at(one: ScriptedOpenNebula, timeout: float = 5.0, sleep: Callable[[float], None] = lambda seconds: None) -> Cloud:
    return Cloud(HttpTransport(resolve(one.url, ALICE), ALICE, timeout, {}), ALICE, one.url, sleep=sleep)


def years_of_machines(count: int) -> dict[int, str]:
    """A pool of years: of each ten machines nine are DONE, and each third is another user's."""
    return {
        number: machine(
            number,
            state=3 if number % 10 == 0 else 6,
            uid=5 if number % 3 == 0 else 2,
            stime=BEGIN - YEAR + number * (YEAR // (count + 1)),
        )
        for number in range(count)
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("request_", [REQUEST, OF_TEMPLATE], ids=["allocate", "instantiate"])
@pytest.mark.parametrize("what", mishap.CARRIED_OUT)
def test_a_machine_is_started_once(opennebula: Clouds, version: str, request_: MachineRequest, what: Mishap) -> None:
    # Before 4.0 the client merges a template itself, and allocates.
    call = "one.template.instantiate" if request_.template and version else "one.vm.allocate"
    one = opennebula(version=version, machines=years_of_machines(40), mishaps={call: [what] * 9})
    assert cloud_at(one, timeout=0.3 if what is mishap.silent_after else 5.0).allocate(request_) == 40
    assert one.counted()[call] == 1
    assert len(one.machines) == 41


@pytest.mark.parametrize("version", VERSIONS)
def test_a_machine_that_is_done_already_counts(opennebula: Clouds, version: str) -> None:
    """It failed at once, and somebody's script has killed it meanwhile."""
    one = opennebula(version=version, mishaps={"one.vm.allocate": [mishap.lost]})
    pauses: list[float] = []

    def kill_it(seconds: float) -> None:
        pauses.append(seconds)
        one.machines[1] = one.machines[1].replace("<STATE>3</STATE>", "<STATE>6</STATE>")

    assert cloud_at(one, sleep=kill_it).allocate(REQUEST) == 1
    assert (len(one.machines), len(pauses)) == (1, 1)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("newest_first", [None, True, False])
def test_a_large_pool_is_not_read_as_a_whole(opennebula: Clouds, version: str, newest_first: bool | None) -> None:
    """Nor does the order matter, which is another with versions and with API_LIST_ORDER."""
    one = opennebula(version=version, newest_first=newest_first, machines=years_of_machines(3000))
    one.mishaps["one.vm.allocate"] = [mishap.lost]
    served: list[int] = []
    listed = one._listed
    one._listed = lambda *filters: _counting(served, listed(*filters))  # type: ignore[method-assign]
    assert cloud_at(one).allocate(REQUEST) == 3000
    assert sum(served) <= 4 * PAGE
    assert sum(one.counted().values()) <= 40
    assert sum(call[1][2] == -PAGE for call in one.calls if "vmpool" in call[0]) <= 2  # whole pages


@pytest.mark.parametrize("version", ["7.4.0", "5.6.2"])
def test_of_a_busy_pool_a_few_minutes_are_read(opennebula: Clouds, version: str) -> None:
    """One machine a second: those of the five minutes by which a server's clock may be wrong."""
    machines = {number: machine(number, stime=BEGIN + number) for number in range(1500)}
    one = opennebula(version=version, machines=machines)
    served: list[int] = []
    listed = one._listed
    one._listed = lambda *filters: _counting(served, listed(*filters))  # type: ignore[method-assign]
    one.mishaps["one.vm.allocate"] = [mishap.bad_gateway]
    with pytest.raises(AnswerLost):
        cloud_at(one, sleep=lambda seconds: served.clear()).allocate(REQUEST)
    assert 300 < sum(served) < 300 + 3 * PAGE


def _counting(served: list[int], found: list[str]) -> list[str]:
    served.append(len(found))
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_one_that_was_not_started_costs_little_too(opennebula: Clouds, version: str) -> None:
    one = opennebula(version=version, machines=years_of_machines(3000), mishaps={"one.vm.allocate": [mishap.bad_gateway]})
    with pytest.raises(AnswerLost, match="may still start it"):
        cloud_at(one).allocate(REQUEST)
    assert sum(one.counted().values()) <= 50


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_many_that_were_started_a_moment_later(opennebula: Clouds, version: str, count: int) -> None:
    """Those of the user's own other requests, and of other users, fill more than a page."""
    one = opennebula(version=version, machines=years_of_machines(20), mishaps={"one.vm.allocate": [mishap.lost]})
    pauses: list[float] = []

    def others(seconds: float) -> None:
        if not pauses:
            one.machines.update((number, machine(number, stime=BEGIN + 21)) for number in range(21, 21 + count))
        pauses.append(seconds)

    assert cloud_at(one, sleep=others).allocate(REQUEST) == 20


def test_the_oldest_of_a_listing_that_begins_with_it(opennebula: Clouds) -> None:
    one = opennebula(version="5.6.2", mishaps={"one.vm.allocate": [mishap.lost]})

    def others(seconds: float) -> None:
        one.machines.update((number, machine(number, stime=BEGIN + 2)) for number in range(2, PAGE + 50))

    assert cloud_at(one, sleep=others).allocate(REQUEST) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_run_started_beside_what_it_knows(opennebula: Clouds, version: str) -> None:
    """A proxy delivered one of its requests twice; the next run's machine is none of its own."""
    one = opennebula(version=version, machines=years_of_machines(40))
    cloud = cloud_at(one)
    known = [cloud.allocate(replace(REQUEST, token=f"t-1/{place}")) for place in (1, 2, 10)]
    one.vm_allocate('STRATUSLAB_REQUEST = "t-1/2"')
    one.vm_allocate('STRATUSLAB_REQUEST = "t-11/2"')
    assert [(found.id, found.token) for found in cloud.of_request("t-1", 5.0, known)] == [(43, "t-1/2")]
    assert [found.id for found in cloud.of_request("t-1/1", 5.0)] == [40]


def test_a_server_without_listings_of_whole_documents(opennebula: Clouds) -> None:
    """Each document is read then, and the missing call is made once."""
    one = opennebula(machines=years_of_machines(40), mishaps={"one.vm.allocate": [mishap.lost, mishap.lost]})
    one.vmpool_infoextended = lambda *arguments: fault(-506, "not defined")  # type: ignore[method-assign]
    cloud = cloud_at(one)
    assert [cloud.allocate(replace(REQUEST, token=token)) for token in ("a", "b")] == [40, 41]
    assert one.counted()["one.vmpool.infoextended"] == 1
    assert [found.token for found in cloud.of_request("a", 5.0)] == ["a"]
    assert cloud.of_request("a", 5.0, [40]) == []


def test_a_server_that_ignores_pages(opennebula: Clouds) -> None:
    """It answers with everything each time, so it is asked once more, and not for ever."""
    one = opennebula(machines={number: machine(number, stime=BEGIN) for number in range(PAGE + 50)})
    listed = one._listed
    one._listed = lambda owner, start, end, state: listed(owner, -1, -1, state)  # type: ignore[method-assign]
    assert cloud_at(one).of_request("t-1", 5.0) == []
    assert one.counted()["one.vmpool.infoextended"] == 2


def test_a_listing_that_is_refused_is_not_repeated(opennebula: Clouds) -> None:
    one = opennebula(version="4.14.2", mishaps={"one.vmpool.info": [mishap.refused] * 9})
    with pytest.raises(Refused):
        cloud_at(one).of_request("a", 5.0)
    assert one.counted()["one.vmpool.info"] == 1


def test_a_server_that_does_not_tell_which_ids_are_taken(opennebula: Clouds) -> None:
    one = opennebula(version="", machines=years_of_machines(40), mishaps={"one.vm.allocate": [mishap.lost]})
    one.vm_info = lambda number: failure("Not authorized", ErrorCode.AUTHORIZATION)  # type: ignore[method-assign]
    assert cloud_at(one).allocate(REQUEST) == 40


def test_the_first_machine_of_a_cloud(opennebula: Clouds) -> None:
    """Its id is 0, on a server that says which ids are taken, and on one that does not."""
    one = opennebula(version="", machines={0: machine(0, user_template=OURS), 1: machine(1)})
    assert [found.id for found in cloud_at(one).of_request("t-1", 5.0)] == [0]
    one.vm_info = lambda number: failure("Not authorized", ErrorCode.AUTHORIZATION)  # type: ignore[method-assign]
    assert [found.id for found in cloud_at(one).of_request("t-1", 5.0)] == [0]


@pytest.mark.parametrize("version", ["", "4.4.1"])
def test_five_hundred_ids_that_were_given_out_meanwhile(opennebula: Clouds, version: str) -> None:
    machines = {number: machine(number, stime=BEGIN) for number in range(1000)}
    one = opennebula(version=version, machines={**machines, 500: machine(500, stime=BEGIN, user_template=OURS)})
    assert [found.id for found in cloud_at(one).of_request("t-1", 5.0)] == [500]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_whose_clock_is_set_back_by_five_minutes(opennebula: Clouds, version: str) -> None:
    """The request took 20 s."""
    machines = {1: machine(1, stime=BEGIN - 320, user_template=OURS), 2: machine(2, stime=BEGIN)}
    one = opennebula(version=version, machines=machines)
    assert [found.id for found in cloud_at(one).of_request("t-1", 20.0)] == [1]


def test_late_arrivals_are_found_by_the_last_look(opennebula: Clouds) -> None:
    one = opennebula(machines={1: machine(1, user_template=OURS)})
    one.mishaps["one.vmpool.infoextended"] = [mishap.bad_gateway] * len(LOOKS)
    assert [found.id for found in cloud_at(one).late_arrivals("t-1", 5.0, ())] == [1]


def test_late_arrivals_are_looked_for_when_they_should_be_there(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [mishap.bad_gateway]})
    pauses: list[float] = []
    cloud = cloud_at(one, sleep=pauses.append)
    assert (cloud.late_arrivals("t-1", 5.0, ()), pauses) == ([], [])
    with pytest.raises(AnswerLost):
        cloud.allocate(REQUEST)
    one.vm_allocate('STRATUSLAB_REQUEST = "t-1/1"')
    one.mishaps["one.vmpool.infoextended"] = [mishap.bad_gateway]
    pauses.clear()
    assert [found.id for found in cloud.late_arrivals("t-1", 5.0, ())] == [1]
    # Ten seconds after the answer was lost, and then after a look that failed.
    assert pauses == [pytest.approx(10.0, abs=3.0), LOOKS[0]]
