"""The cloud endpoint client against a scripted OpenNebula over HTTP: what it asks, and what becomes of lost answers."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from xmlrpc.client import loads

import pytest

from stratuslab.cloud import client as client_module
from stratuslab.cloud.bounded_parser import InvalidAnswer
from stratuslab.cloud.client import Cloud
from stratuslab.cloud.delivery_failures import AnswerLost, ConnectionDropped, NeverSent
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.cloud.instance_actions import LOOKS
from stratuslab.cloud.machine_request import ImageDisk, MachineRequest, MachineTemplate
from stratuslab.cloud.reply import Fault, Refused
from stratuslab.errors import (
    AuthenticationError,
    InstanceFailed,
    NotFound,
    PermissionDenied,
    StratusLabError,
    Unreachable,
    UsageError,
)
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from tests.fakes import mishaps as mishap
from tests.fakes import scripted_server as servers
from tests.fakes.certificate_authority import Authority
from tests.fakes.mishaps import Mishap
from tests.fakes.opennebula_answers import failure, fault, machine, pool, recording, recording_of, success
from tests.fakes.scripted_opennebula import Clouds
from tests.fakes.scripted_server import Conversation, Scripted, ScriptedServer

ALICE = Credentials("alice", "secret", origin="STRATUSLAB_USERNAME")
REQUEST = MachineRequest(root=ImageDisk("https://marketplace.example.org/metadata/X"), cpu=1, ram=128, swap=1024, token="t-1/1")


class Pauses(list[float]):
    """What the client wanted to sleep; it is not kept waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def cloud_at(
    url: str, *, timeout: float = 5.0, trace: Callable[[str], None] | None = None, pauses: Pauses | None = None
) -> Cloud:
    transport = HttpTransport(resolve(url, ALICE), ALICE, timeout, {}, trace=trace)
    return Cloud(transport, ALICE, url, trace=trace, sleep=Pauses() if pauses is None else pauses)


# --- starting a machine exactly once --------------------------------------------------------------------------------------


def test_a_machine_is_started(opennebula: Clouds) -> None:
    one = opennebula()
    assert cloud_at(one.url).allocate(REQUEST) == 1
    assert one.counted() == {"one.system.version": 1, "one.vm.allocate": 1}


@pytest.mark.parametrize("what", [what for what in mishap.CARRIED_OUT if what is not mishap.silent_after])
def test_an_answer_that_is_lost_after_the_machine_was_started(opennebula: Clouds, what: Mishap) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [what]})
    one.vm_allocate('NAME = "another"')
    assert cloud_at(one.url).allocate(REQUEST) == 2
    assert len(one.machines) == 2
    assert one.counted()["one.vm.allocate"] == 1


def test_a_time_out_after_the_machine_was_started(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [mishap.silent_after]})
    assert cloud_at(one.url, timeout=0.3).allocate(REQUEST) == 1
    assert one.counted()["one.vm.allocate"] == 1


def test_a_machine_that_shows_only_at_the_last_look(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [mishap.lost]})
    looks = Pauses()

    class Slow(Pauses):
        def __call__(self, seconds: float) -> None:
            super().__call__(seconds)
            if len(self) == 1:
                looks.append(len(one.machines))
                hidden.update(one.machines)
                one.machines.clear()
            if len(self) == 4:
                one.machines.update(hidden)

    hidden: dict[int, str] = {}
    assert cloud_at(one.url, pauses=Slow()).allocate(REQUEST) == 1
    assert one.counted() == {"one.system.version": 1, "one.vm.allocate": 1, "one.vmpool.infoextended": 4}


def test_a_dropped_request_is_not_sent_again(opennebula: Clouds) -> None:
    """A proxy may still deliver it, a minute later."""
    one = opennebula(mishaps={"one.vm.allocate": [mishap.dropped]})
    with pytest.raises(AnswerLost, match=r"closed the connection.*may still start.*stratus-describe-instance --request t-1/1"):
        cloud_at(one.url).allocate(REQUEST)
    assert one.counted()["one.vm.allocate"] == 1


def test_what_certainly_did_not_arrive_is_sent_again(authority: Authority, scripted: Scripted) -> None:
    """The connection was never established."""
    tls, answers = authority.server("127.0.0.1"), [success("7.4.0"), None, success(1)]

    def answer(conversation: servers.Conversation) -> None:
        body = answers.pop(0)
        if body is None:
            conversation.socket.recv(1 << 16)
            conversation.reset()
        else:
            conversation.socket = tls.wrap_socket(conversation.socket, server_side=True)
            servers.document(body)(conversation)

    url = f"https://127.0.0.1:{scripted(answer).port}/RPC2"
    transport = HttpTransport(resolve(url, ALICE), ALICE, 5.0, {}, ca_bundle=str(authority.bundle))
    assert Cloud(transport, ALICE, url, sleep=Pauses()).allocate(REQUEST) == 1


@pytest.mark.parametrize(
    "what, words", [(mishap.silent, "sent no data"), (mishap.bad_gateway, "502"), (mishap.web_page, "web page")]
)
def test_what_may_still_be_at_work_is_not_sent_again(opennebula: Clouds, what: Mishap, words: str) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [what]})
    with pytest.raises(AnswerLost, match=f"{words}.*may still start it") as raised:
        cloud_at(one.url, timeout=0.3).allocate(REQUEST)
    assert raised.value.status == 8
    assert one.counted()["one.vm.allocate"] == 1


@pytest.mark.parametrize("hinders", [mishap.dropped, mishap.bad_gateway, mishap.refused, mishap.denied, mishap.web_page])
@pytest.mark.parametrize("what", [mishap.lost, mishap.dropped])
def test_nothing_is_said_where_nobody_can_look(opennebula: Clouds, what: Mishap, hinders: Mishap) -> None:
    """It may run, so a second try may be a second machine, and to say that it was not started would be a guess."""
    listings = ("one.vmpool.info", "one.vmpool.infoextended")
    one = opennebula(mishaps={"one.vm.allocate": [what], **{listing: [hinders] * 30 for listing in listings}})
    with pytest.raises(AnswerLost, match=r"cannot find out whether the machine was started: .*check with") as raised:
        cloud_at(one.url).allocate(REQUEST)
    assert "not started" not in str(raised.value)
    assert one.counted()["one.vm.allocate"] == 1


def test_a_look_that_fails_is_repeated(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [mishap.lost], "one.vmpool.infoextended": [mishap.bad_gateway, mishap.halved]})
    assert cloud_at(one.url).allocate(REQUEST) == 1
    assert one.counted()["one.vm.allocate"] == 1


def test_after_a_look_that_failed_the_next_one_counts(opennebula: Clouds) -> None:
    looks = {"one.vmpool.infoextended": [mishap.bad_gateway]}
    one = opennebula(mishaps={"one.vm.allocate": [mishap.bad_gateway], **looks})
    with pytest.raises(AnswerLost, match="no machine was created for this request"):
        cloud_at(one.url).allocate(REQUEST)


def test_what_was_never_sent_fails_at_once() -> None:
    server = ScriptedServer(servers.document(success("7.4.0")))
    cloud, pauses = cloud_at(f"{server.url}/RPC2"), Pauses()
    assert cloud.server.version == "7.4.0"
    server.close()
    with pytest.raises(NeverSent):
        cloud.allocate(REQUEST)
    assert pauses == []


def test_a_refusal_is_final(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [mishap.refused]})
    with pytest.raises(Refused, match=r"^over quota$"):
        cloud_at(one.url).allocate(REQUEST)
    assert one.counted()["one.vm.allocate"] == 1
    assert one.counted()["one.vmpool.info"] == 0


@pytest.mark.parametrize("what", [mishap.lost, mishap.halved, mishap.unauthorized_after, mishap.fault_after])
def test_a_machine_template_is_instantiated_once_too(opennebula: Clouds, what: Mishap) -> None:
    one = opennebula(mishaps={"one.template.instantiate": [what]})
    laid_over = replace(REQUEST, name="mine", template=MachineTemplate(7))
    assert cloud_at(one.url).allocate(laid_over) == 1
    assert len(one.machines) == 1
    method, (number, name, hold, extra, persistent) = one.calls[1]
    assert (method, number, name, hold, persistent) == ("one.template.instantiate", 7, "mine", False, False)
    assert "t-1/1" in str(extra)


@pytest.mark.parametrize("id_", ["soon", "-1", "\u0663", str(2**31), "9" * 5000])
def test_an_answer_that_is_no_id(scripted: Scripted, id_: str) -> None:
    """It may have been started all the same, so it is looked for."""
    listing = servers.document(success("<VM_POOL/>"))
    server = scripted(servers.document(success("7.4.0")), servers.document(success(id_)), listing)
    with pytest.raises(AnswerLost, match="answered without an id; no machine"):
        cloud_at(f"{server.url}/RPC2").allocate(REQUEST)


def test_an_id_beyond_what_can_be_sent(opennebula: Clouds) -> None:
    one = opennebula()
    with pytest.raises(UsageError, match="ids end at 2147483647"):
        cloud_at(one.url).kill(2**31)


def test_a_version_of_5000_digits(scripted: Scripted) -> None:
    answers = (success("9" * 5000 + "." + "1" * 5000), pool([machine(1)]))
    server = scripted(*map(servers.document, answers))
    assert [found.id for found in cloud_at(f"{server.url}/RPC2").instances()] == [1]


def test_many_at_once_are_started_once_each(opennebula: Clouds) -> None:
    """With every third answer lost."""
    mishaps = [mishap.lost if n % 3 == 1 else None for n in range(30)]
    one = opennebula(mishaps={"one.vm.allocate": mishaps})
    cloud = cloud_at(one.url)
    requests = [replace(REQUEST, token=f"t-2/{place}") for place in range(20)]
    with ThreadPoolExecutor(6) as pool:
        started = list(pool.map(cloud.allocate, requests))
    assert sorted(started) == list(range(1, 21))
    assert len(one.machines) == 20
    assert one.counted()["one.system.version"] == 1


# --- reading, and what may be done twice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [lambda cloud: cloud.instance(1), lambda cloud: list(cloud.instances())])
def test_reads_are_repeated_when_the_connection_drops(opennebula: Clouds, call: Callable[[Cloud], object]) -> None:
    dropped = [mishap.dropped, mishap.reset]
    one = opennebula(machines={1: machine(1)}, mishaps={"one.vm.info": [*dropped], "one.vmpool.info": [*dropped]})
    pauses = Pauses()
    assert call(cloud_at(one.url, pauses=pauses))
    assert pauses == [0.2, 1.0]


def test_reads_are_not_repeated_for_ever(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.info": [mishap.dropped] * 9})
    with pytest.raises(ConnectionDropped):
        cloud_at(one.url).instance(1)
    assert one.counted()["one.vm.info"] == 3


@pytest.mark.parametrize("what", [mishap.halved, mishap.silent, mishap.bad_gateway, mishap.web_page])
def test_other_failures_of_reads_are_not_repeated(opennebula: Clouds, what: Mishap) -> None:
    one = opennebula(machines={1: machine(1)}, mishaps={"one.vm.info": [what]})
    with pytest.raises(Unreachable):
        cloud_at(one.url, timeout=0.3).instance(1)
    assert one.counted()["one.vm.info"] == 1


def test_a_kill_is_repeated_when_the_connection_drops(opennebula: Clouds) -> None:
    one = opennebula(machines={1: machine(1)}, mishaps={"one.vm.action": [mishap.lost]})
    cloud_at(one.url).kill(1)
    assert one.counted()["one.vm.action"] == 2


def test_a_kill_whose_answer_is_lost_is_looked_for(opennebula: Clouds) -> None:
    one = opennebula(machines={1: machine(1)}, mishaps={"one.vm.action": [mishap.halved]})
    pauses = Pauses()
    with pytest.raises(Unreachable, match="whether it was done to machine 1 is not known"):
        cloud_at(one.url, pauses=pauses).kill(1)
    assert pauses == list(LOOKS)

    class Ends(Pauses):
        def __call__(self, seconds: float) -> None:
            super().__call__(seconds)
            if len(self) == 2:
                one.machines[1] = machine(1, state=6, lcm=0)

    ends = Ends()
    one.mishaps["one.vm.action"] = [mishap.halved]
    cloud_at(one.url, pauses=ends).kill(1)
    assert ends == list(LOOKS[:2])


@pytest.mark.parametrize(
    ("states", "calls"),
    [(((1, 0), (3, 3), (3, 3)), 1), (((3, 16),), 1), (((1, 0), (8, 0), (3, 1)), 0)],
    ids=["two run", "one is unknown", "none runs"],
)
def test_figures_are_requested_once_where_something_runs(
    opennebula: Clouds, states: tuple[tuple[int, int], ...], calls: int
) -> None:
    numbered = dict(enumerate(states, 1))
    one = opennebula(
        version="6.8.0",
        machines={number: machine(number, state=state, lcm=lcm) for number, (state, lcm) in numbered.items()},
        figures={number: (12.5, 1024 * number) for number in numbered},
        newest_first=False,
    )
    found = {one.id: one.last_memory_kib for one in cloud_at(one.url).instances(usage=True)}
    assert found == {number: 1024 * number if state == 3 and calls else 0 for number, (state, _) in numbered.items()}
    # Of each machine the last figures only.
    assert [arguments for method, arguments in one.calls if method == "one.vmpool.monitoring"] == [(Owner.MINE, 0)] * calls


def test_where_calls_go_can_differ_from_the_name() -> None:
    transport = HttpTransport(resolve("cloud.example.org", ALICE), ALICE, 5.0, {})
    assert (Cloud(transport, ALICE, "lab").name, Cloud(transport, ALICE, "lab").address) == ("lab", "lab")
    assert Cloud(transport, ALICE, "lab", address="cloud.example.org").address == "cloud.example.org"


def test_who_the_user_is() -> None:
    transport = HttpTransport(resolve("cloud.example.org", ALICE), ALICE, 5.0, {})
    assert Cloud(transport, ALICE, "lab").user == "alice"
    assert Cloud(transport, Credentials(certificate="/usercert.pem"), "lab").user == "/usercert.pem"


# --- what the calls are ---------------------------------------------------------------------------------------------------


def test_the_calls_and_their_session(opennebula: Clouds) -> None:
    one = opennebula(machines={7: machine(7)})
    cloud = cloud_at(one.url)
    assert cloud.instance(7).name == "one-7"
    list(cloud.instances(Owner.ALL, PoolState.ANY))
    cloud.kill(7)
    assert one.calls == [
        ("one.vm.info", (7,)),
        ("one.system.version", ()),
        ("one.vmpool.info", (-2, 0, -1000, -2)),
        ("one.vm.action", ("terminate-hard", 7)),
    ]
    for request in one.server.requests:
        parameters, _ = loads(request.body)
        assert parameters[0] == "alice:secret"
        assert b"<i8>" not in request.body


def test_the_oldest_servers_have_no_pages(opennebula: Clouds) -> None:
    one = opennebula(version="", machines={7: machine(7)}, actions=("finalize",))
    cloud = cloud_at(one.url)
    assert [instance.id for instance in cloud.instances()] == [7]
    cloud.kill(7)
    assert one.calls[1:] == [("one.vmpool.info", (-3, -1, -1, -1)), ("one.vm.action", ("finalize", 7))]


@pytest.mark.parametrize("count", [0, 1, 49, 50, 98, 99, 120])
def test_pages(opennebula: Clouds, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Of 50 machines, of which the last is the next page's first."""
    monkeypatch.setattr(client_module, "PAGE", 50)
    one = opennebula(machines={number: machine(number) for number in range(count)})
    assert [instance.id for instance in cloud_at(one.url).instances()] == list(reversed(range(count)))
    assert one.counted()["one.vmpool.info"] == 1 + max(count - 1, 0) // 49


def test_a_machine_that_ends_while_pages_are_fetched(opennebula: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 50)
    one = opennebula(machines={number: machine(number) for number in range(60)})
    found = cloud_at(one.url).instances()
    assert next(found).id == 59
    del one.machines[58]
    assert {*range(58)} <= {instance.id for instance in found}


def test_a_machine_that_starts_while_pages_are_fetched(opennebula: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE", 5)
    one = opennebula(machines={number: machine(number) for number in range(1, 9)})
    found = cloud_at(one.url).instances()
    ids = [next(found).id for _ in range(5)]
    one.machines[9] = machine(9)
    ids += [instance.id for instance in found]
    assert ids == [8, 7, 6, 5, 4, 3, 2, 1]


def test_a_server_that_ignores_pages(opennebula: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers with everything each time; where that happens to be a page's size, asking would never end."""
    monkeypatch.setattr(client_module, "PAGE", 5)
    one = opennebula(machines={number: machine(number) for number in range(5)})
    everything = one.vmpool_info
    one.vmpool_info = lambda owner, start, end, state: everything(owner, -1, -1, state)  # type: ignore[method-assign]
    assert len(list(cloud_at(one.url).instances())) == 5
    assert one.counted()["one.vmpool.info"] == 2


def test_the_version_is_asked_once_by_many(opennebula: Clouds) -> None:
    one = opennebula(machines={number: machine(number) for number in range(12)})
    cloud, together = cloud_at(one.url), threading.Barrier(6, timeout=10)

    def kill(number: int) -> None:
        if number < 6:
            together.wait()
        cloud.kill(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(kill, range(12)))
    assert one.counted() == {"one.system.version": 1, "one.vm.action": 12}


@pytest.mark.parametrize(
    "version, has, sent",
    [
        ("7.4.0", ("terminate-hard",), ["terminate-hard"]),
        ("5.0.1", ("terminate-hard",), ["terminate-hard"]),
        ("4.14.2", ("delete",), ["delete"]),
        ("", ("finalize",), ["finalize"]),
        ("nobody knows", ("terminate-hard",), ["terminate-hard"]),
        ("7.4.0", ("delete",), ["terminate-hard", "delete"]),
        ("", ("terminate-hard",), ["finalize", "terminate-hard"]),
    ],
)
def test_how_a_machine_is_killed(opennebula: Clouds, version: str, has: tuple[str, ...], sent: list[str]) -> None:
    one = opennebula(version=version, machines={1: machine(1)}, actions=has)
    cloud_at(one.url).kill(1)
    assert [arguments[0] for method, arguments in one.calls if method == "one.vm.action"] == sent


def test_a_server_that_cannot_kill_says_so_about_its_own_action(opennebula: Clouds) -> None:
    one = opennebula(machines={1: machine(1)}, actions=())
    with pytest.raises(Refused, match='Action "terminate-hard" is not supported'):
        cloud_at(one.url).kill(1)


BOOTING = '[one.vm.action] Error performing action "terminate-hard": Could not terminate VM 1, wrong state BOOT.'


def test_a_machine_that_boots_is_killed_when_it_can_be(scripted: Scripted) -> None:
    refused, done = servers.document(failure(BOOTING, 2048)), servers.document(success(1))
    boots = servers.document(success(machine(1, lcm=2)))
    server = scripted(servers.document(success("7.4.0")), refused, boots, refused, boots, done)
    pauses = Pauses()
    cloud_at(server.url, pauses=pauses).kill(1)
    assert (server.connections, pauses) == (6, [0.5, 1.0])


def test_a_machine_that_is_removed_while_it_is_stopped(scripted: Scripted) -> None:
    refused = servers.document(failure(BOOTING, 2048))
    gone = servers.document(failure("Error getting virtual machine [1].", 1024))
    with pytest.raises(NotFound, match=r"^no machine 1 at "):
        cloud_at(scripted(refused, gone).url).stop(1)


@pytest.mark.parametrize(
    "version, words, action",
    [
        ("7.4.0", BOOTING, "kill"),
        ("6.8.0", BOOTING, "kill"),
        ("5.0.2", BOOTING, "kill"),
        ("4.14.2", BOOTING, "kill"),
        ("6.8.0", BOOTING.replace("-hard", ""), "shut_down"),
        ("4.14.2", "[VirtualMachineAction] Error performing action: This action is not available for state BOOT", "shut_down"),
        ("", "[VirtualMachineAction] Wrong state to perform action", "shut_down"),
    ],
)
def test_a_state_that_forbids_it_is_named(opennebula: Clouds, version: str, words: str, action: str) -> None:
    one = opennebula(version=version, machines={1: machine(1, lcm=2)})
    one.vm_action = lambda action, number: failure(words, 2048)  # type: ignore[method-assign]
    with pytest.raises(InstanceFailed) as raised:
        getattr(cloud_at(one.url), action)(1)
    what = {"kill": "kill", "shut_down": "shut down"}[action]
    assert raised.value.message == f"cannot {what} machine 1 while it is Boot"
    assert ("onevm recover --delete 1" in raised.value.hint) is (action == "kill" and version != "4.14.2")


def test_a_state_that_cannot_be_looked_up_is_refused_with_the_servers_words(scripted: Scripted) -> None:
    refused = servers.document(failure("[VirtualMachineAction] Wrong state to perform action", 2048))
    server = scripted(servers.document(fault(-506, "Method not defined")), refused, servers.document(b"nonsense"))
    with pytest.raises(InstanceFailed, match=r"cannot shut down machine 1 now: Wrong state to perform action"):
        cloud_at(server.url).shut_down(1)


def test_to_end_what_is_done_is_a_success_whatever_the_server_says(opennebula: Clouds) -> None:
    one = opennebula(version="", machines={1: machine(1, state=6, lcm=0)})
    one.vm_action = lambda action, number: failure("[VirtualMachineAction] Wrong state to perform action", 2048)  # type: ignore[method-assign]
    cloud_at(one.url).shut_down(1)


@pytest.mark.parametrize(
    "recorded",
    [
        "3.2.1/vm.action-delete-action-result-not-defined",
        "4.14.2/vm.action-terminate-hard-not-supported",
        "5.12.0.4/vm.action-not-supported-finalize",
        "6.8.0/vm.action-shutdown-not-supported",
    ],
)
def test_a_name_that_the_server_does_not_have_is_followed_by_the_next(scripted: Scripted, recorded: str) -> None:
    unknown, done = servers.document(recording_of(recorded)), servers.document(success(1))
    server = scripted(servers.document(success("7.4.0")), unknown, unknown, done)
    cloud_at(server.url).kill(1)
    assert [loads(request.body)[0][1] for request in server.requests[1:]] == ["terminate-hard", "delete", "finalize"]


@pytest.mark.parametrize(
    ("call", "version", "has", "sent"),
    [
        (lambda cloud: cloud.stop(1), "7.4.0", ("poweroff",), ["poweroff"]),
        (lambda cloud: cloud.stop(1, hard=True), "7.4.0", ("poweroff-hard",), ["poweroff-hard"]),
        (lambda cloud: cloud.start(1), "7.4.0", ("resume",), ["resume"]),
        (lambda cloud: cloud.start(1), "4.12.1", ("resume", "restart"), ["resume"]),
        (lambda cloud: cloud.start(1), "4.12.1", ("restart",), ["resume", "restart"]),
        (lambda cloud: cloud.reboot(1), "7.4.0", ("reboot",), ["reboot"]),
        (lambda cloud: cloud.reboot(1, hard=True), "7.4.0", ("reboot-hard", "reset"), ["reboot-hard"]),
        (lambda cloud: cloud.reboot(1, hard=True), "3.8.1", ("reset",), ["reboot-hard", "reset"]),
    ],
)
def test_how_its_power_is_changed(
    opennebula: Clouds, call: Callable[[Cloud], None], version: str, has: tuple[str, ...], sent: list[str]
) -> None:
    one = opennebula(version=version, machines={1: machine(1)}, actions=has)
    call(cloud_at(one.url))
    assert [arguments[0] for method, arguments in one.calls if method == "one.vm.action"] == sent


def test_a_server_that_cannot_reboot(opennebula: Clouds) -> None:
    one = opennebula(version="3.2.1", machines={1: machine(1)}, actions=())
    with pytest.raises(StratusLabError, match=r' cannot reboot machines: Action "reboot" is not supported$'):
        cloud_at(one.url).reboot(1)


@pytest.mark.parametrize(
    ("what", "state", "lcm", "remedy"),
    [
        ("stop", 6, 0, "stratus-run-instance starts a new one"),
        ("stop", 3, 36, "stratus-describe-instance -v 1 says why; kill it: stratus-kill-instance 1"),
        ("reboot", 8, 0, "start it: stratus-start-instance 1"),
        ("stop", 3, 1, "try again later"),
        ("start", 6, 0, "stratus-run-instance starts a new one"),
    ],
)
def test_what_to_do_where_the_state_forbids_it(opennebula: Clouds, what: str, state: int, lcm: int, remedy: str) -> None:
    one = opennebula(machines={1: machine(1, state=state, lcm=lcm)})
    wrong = failure("[one.vm.action] This action is not available for state X", 2048)
    one.vm_action = lambda action, number: wrong  # type: ignore[method-assign]
    with pytest.raises(InstanceFailed, match=f"^cannot {what} machine 1 while it is ") as raised:
        getattr(cloud_at(one.url), what)(1)
    assert raised.value.hint == remedy


def test_what_is_off_or_runs_already_is_a_success(opennebula: Clouds) -> None:
    wrong = failure("[one.vm.action] This action is not available for state X", 2048)
    for what, state, lcm in (("stop", 8, 0), ("stop", 3, 18), ("start", 3, 3), ("start", 3, 2)):
        one = opennebula(machines={1: machine(1, state=state, lcm=lcm)})
        one.vm_action = lambda action, number: wrong  # type: ignore[method-assign]
        getattr(cloud_at(one.url), what)(1)


@pytest.mark.parametrize(
    ("what", "state", "lcm", "is_on_its_way"),
    [
        ("kill", 3, 11, True),  # EPILOG
        ("kill", 3, 23, True),  # CLEANUP_DELETE
        ("kill", 3, 12, False),  # SHUTDOWN
        ("shut_down", 3, 23, True),
        ("shut_down", 3, 12, True),
        ("shut_down", 3, 18, False),  # SHUTDOWN_POWEROFF
        ("kill", 4, 11, False),  # STOPPED: what it did while it was active does not matter
        ("shut_down", 4, 12, False),
    ],
)
def test_what_is_on_its_way_to_done(opennebula: Clouds, what: str, state: int, lcm: int, is_on_its_way: bool) -> None:
    one = opennebula(machines={1: machine(1, state=state, lcm=lcm)})
    one.vm_action = lambda action, number: failure("[one.vm.action] wrong state X", 2048)  # type: ignore[method-assign]
    with nullcontext() if is_on_its_way else pytest.raises(InstanceFailed):
        getattr(cloud_at(one.url), what)(1)


def test_names_and_labels_can_be_changed_since_4_0(opennebula: Clouds) -> None:
    one = opennebula(version="4.0.0", machines={1: machine(1)})
    one.vm_rename = lambda number, name: success(number)  # type: ignore[attr-defined]
    one.vm_update = lambda number, text, merge: success(number)  # type: ignore[attr-defined]
    cloud_at(one.url).rename(1, "web")
    cloud_at(one.url).set_labels(1, ["a", "b"])
    changes = [call for call in one.calls if call[0] in ("one.vm.rename", "one.vm.update")]
    assert changes == [("one.vm.rename", (1, "web")), ("one.vm.update", (1, 'LABELS = "a,b"', 1))]
    old = opennebula(version="3.8.4", machines={1: machine(1)})
    for change in (lambda cloud: cloud.rename(1, "web"), lambda cloud: cloud.set_labels(1, ["a"])):
        with pytest.raises(StratusLabError, match=r"it needs OpenNebula 4$"):
            change(cloud_at(old.url))
    assert {method for method, _ in old.calls} == {"one.system.version"}


def test_a_machine_template_by_id_and_by_name(opennebula: Clouds) -> None:
    one = opennebula(things={"template": {7: "<VMTEMPLATE><ID>7</ID><UNAME>alice</UNAME><NAME>web</NAME></VMTEMPLATE>"}})
    assert cloud_at(one.url).machine_template("7").name == "web"
    assert one.counted()["one.templatepool.info"] == 0
    assert cloud_at(one.url).machine_template("web").id == 7
    assert one.counted()["one.templatepool.info"] == 1


def test_what_a_cloud_has_to_start_machines_from(opennebula: Clouds) -> None:
    owned = "<ID>7</ID><UNAME>alice</UNAME><NAME>web</NAME>"
    kinds = {"image": f"<IMAGE>{owned}</IMAGE>", "template": f"<VMTEMPLATE>{owned}</VMTEMPLATE>", "vn": f"<VNET>{owned}</VNET>"}
    cloud = cloud_at(opennebula(things={kind: {7: document} for kind, document in kinds.items()}).url)
    assert [(found.word, found.kind) for found in cloud.images()] == [("one:web", "image"), ("template:web", "template")]
    assert [(found.word, found.id, found.owner) for found in cloud.networks()] == [("web", 7, "alice")]


def test_a_lock_is_what_forbids_it(opennebula: Clouds) -> None:
    one = opennebula(machines={68: machine(68).replace("<STIME>", "<LOCK><LOCKED>1</LOCKED><OWNER>2</OWNER></LOCK><STIME>")})
    one.vm_action = lambda action, number: recording_of("7.4.0/vm.action-locked")  # type: ignore[method-assign]
    for act in (Cloud.kill, Cloud.shut_down):
        with pytest.raises(PermissionDenied, match=r"^machine 68 is locked by user 2: ") as raised:
            act(cloud_at(one.url), 68)
        assert raised.value.hint == "unlock it with onevm unlock 68"
    for plain in (True, False):  # and where nobody can look
        one.machines[68] = machine(68)
        if not plain:
            one.mishaps["one.vm.info"] = [mishap.bad_gateway] * 9
        with pytest.raises(PermissionDenied, match=r"^User \[2\] : Not authorized to perform MANAGE VM \[68\]\.$"):
            cloud_at(one.url).kill(68)


ACTIONS = [Cloud.kill, Cloud.shut_down, Cloud.stop, Cloud.start, Cloud.reboot]


@pytest.mark.parametrize("act", ACTIONS)
def test_other_refusals_are_final(opennebula: Clouds, act: Callable[[Cloud, int], None]) -> None:
    one = opennebula(machines={1: machine(1, state=6, lcm=0)}, mishaps={"one.vm.action": [mishap.refused]})
    with pytest.raises(Refused, match="over quota"):
        act(cloud_at(one.url), 1)
    assert one.counted()["one.vm.action"] == 1


@pytest.mark.parametrize(
    ("call", "after"),
    [
        (lambda cloud: cloud.kill(1), machine(1, state=6, lcm=0)),
        (lambda cloud: cloud.shut_down(1), machine(1, lcm=12)),
        (lambda cloud: cloud.stop(1), machine(1, state=8, lcm=0)),
        (lambda cloud: cloud.start(1), machine(1)),
        (lambda cloud: cloud.rename(1, "web"), machine(1, name="web")),
        (lambda cloud: cloud.set_labels(1, ["a", "b"]), machine(1, user_template="<LABELS>a,b</LABELS>")),
    ],
)
def test_a_change_whose_answer_is_lost_is_looked_for(opennebula: Clouds, call: Callable[[Cloud], None], after: str) -> None:
    methods = ("one.vm.action", "one.vm.rename", "one.vm.update")
    for now, found in ((after, True), (machine(1, state=5, lcm=0), False)):
        one = opennebula(machines={1: now}, mishaps={method: [mishap.bad_gateway] * 9 for method in methods})
        pauses = Pauses()
        if found:
            call(cloud_at(one.url, pauses=pauses))
            assert pauses == [LOOKS[0]]
        else:
            with pytest.raises(StratusLabError, match=r"whether it was done to machine 1 is not known ") as raised:
                call(cloud_at(one.url, pauses=pauses))
            assert (raised.value.hint, tuple(pauses)) == ("stratus-describe-instance 1", LOOKS)


@pytest.mark.parametrize("change", [lambda cloud: cloud.rename(99, "web"), lambda cloud: cloud.set_labels(99, ["a"])])
def test_changes_of_what_is_not_there_or_locked(opennebula: Clouds, change: Callable[[Cloud], None]) -> None:
    one = opennebula(version="4")
    for answer, kind, words in (
        (recording_of("7.4.0/vm.action-locked"), PermissionDenied, r"^machine 99 is locked by user 2: "),
        (recording("05-vm.info-unknown-id"), NotFound, r"^no machine 99 at http"),
    ):
        one.machines[99] = machine(99).replace("<STIME>", "<LOCK><LOCKED>1</LOCKED><OWNER>2</OWNER></LOCK><STIME>")
        one.vm_rename = one.vm_update = lambda *arguments, said=answer: said  # type: ignore[attr-defined]
        with pytest.raises(kind, match=words):
            change(cloud_at(one.url))


@pytest.mark.parametrize("call", [lambda cloud: cloud.instance(99), lambda cloud: cloud.kill(99)])
def test_an_instance_that_is_not_there(opennebula: Clouds, call: Callable[[Cloud], object]) -> None:
    one = opennebula()
    with pytest.raises(NotFound, match=r"^no machine 99 at http://127\.0\.0\.1:\d+/RPC2: Error getting virtual"):
        call(cloud_at(one.url))


# --- messages -------------------------------------------------------------------------------------------------------------


def test_wrong_credentials_name_the_user_and_where_they_came_from(scripted: Scripted) -> None:
    for answer in (
        servers.document(failure("[one.system.version] User couldn't be authenticated, aborting call.", 256)),
        servers.document(b"", "401 Unauthorized"),
    ):
        server = scripted(answer)
        with pytest.raises(AuthenticationError) as raised:
            list(cloud_at(f"{server.url}/RPC2").instances())
        assert raised.value.message.startswith(f'user "alice" (STRATUSLAB_USERNAME) at {server.url}/RPC2: ')
        assert raised.value.message.count("http://") == 1
        assert "secret" not in str(raised.value)
        assert raised.value.status == 3


@pytest.mark.parametrize(
    "answer, kind, words",
    [
        (servers.document(b"<html></html>"), InvalidAnswer, r"^http://[^ ]*/RPC2: the answer is a web page.*see --endpoint"),
        (servers.document(b"", "404 Not Found"), Unreachable, r"^http://.*/RPC2 does not speak XML-RPC"),
        (servers.document(success("<VM_POOL/>")), InvalidAnswer, r"^http://.*/RPC2 answered with 0 VM documents instead of one"),
        (
            servers.document(success("<P>" + machine(1) * 2 + "</P>")),
            InvalidAnswer,
            "answered with 2 VM documents instead of one",
        ),
        (servers.document(success(5)), InvalidAnswer, "^http://.*: the document in the answer is damaged"),
        (servers.document(fault(-503, "bad XML")), Fault, r"^http://[^ ]* rejected the call: bad XML \(fault -503\)$"),
        (servers.document(fault(-506, "")), Fault, r"rejected the call: no reason given \(fault -506\)$"),
        (servers.document(failure("[one.vm.info] Not authorized", 512)), PermissionDenied, "^Not authorized$"),
    ],
)
def test_messages(scripted: Scripted, answer: servers.Answer, kind: type[StratusLabError], words: str) -> None:
    server = scripted(answer)
    with pytest.raises(StratusLabError, match=words) as raised:
        cloud_at(f"{server.url}/RPC2").instance(1)
    assert type(raised.value) is kind


def test_the_trace_holds_no_secret(opennebula: Clouds) -> None:
    one = opennebula(mishaps={"one.vm.allocate": [mishap.lost]})
    told: list[str] = []
    secretive = replace(REQUEST, context={"ROOT_PASSWORD": "hush"}, name="x")
    cloud = cloud_at(one.url, trace=told.append)
    assert [cloud.allocate(secretive), cloud.allocate(replace(secretive, token="t-2"))] == [1, 2]
    text = "\n".join(told)
    assert "secret" not in text
    assert "hush" not in text
    assert "> one.system.version(***)" in told
    assert any(line.startswith("> one.vm.allocate(***, <") for line in told)
    assert any(line.startswith("< one.vm.allocate: ") and line.endswith(" s") for line in told)


def test_the_trace_tells_of_repetitions(opennebula: Clouds) -> None:
    one = opennebula(machines={1: machine(1)}, mishaps={"one.vm.info": [mishap.dropped]})
    told: list[str] = []
    cloud_at(one.url, trace=told.append).instance(1)
    assert [line[0] for line in told if not line.startswith("< HTTP")] == [">", "!", ">", "<"]


# --- long listings --------------------------------------------------------------------------------------------------------


def listing_server(scripted: Scripted, count: int) -> ScriptedServer:
    """An old server whose listing is made while it is sent."""
    whole = success("<VM_POOL>HERE</VM_POOL>")
    begin, end = whole.split(b"HERE")

    def answer(conversation: Conversation) -> None:
        if b"one.system.version" in conversation.read_request().body:
            conversation.send(servers.head(Connection="close") + fault(-506, "Method not defined"))
            return
        conversation.send(servers.head(Connection="close") + begin)
        for first in range(0, count, 50):
            conversation.send("".join(machine(first + n) for n in range(50)).replace("<", "&lt;").encode())
        conversation.send(end)

    return scripted(answer)


def test_the_first_machines_are_there_before_the_last_are_sent(scripted: Scripted) -> None:
    begin, end = success("<VM_POOL>HERE</VM_POOL>").split(b"HERE")
    seen = threading.Event()

    def answer(conversation: Conversation) -> None:
        if b"one.system.version" in conversation.read_request().body:
            conversation.send(servers.head(Connection="close") + success("7.4.0"))
            return
        machines = "".join(map(machine, range(900))).replace("<", "&lt;").encode()
        conversation.send(servers.head(Connection="close") + begin + machines)
        conversation.send(end if seen.wait(5) else b"")

    found = cloud_at(f"{scripted(answer).url}/RPC2").instances()
    assert next(found).id == 0
    seen.set()
    assert sum(1 for _ in found) == 899


@pytest.mark.parametrize("version", ["6.8.0", "5.12.0.4"])
def test_figures_from_a_server_that_answers_one_call_at_a_time(scripted: Scripted, version: str) -> None:
    """It asks for them when it has the page: more than 10 MB are not on the way while nobody reads them."""
    begin, end = success("<VM_POOL>HERE</VM_POOL>").split(b"HERE")
    machines = [machine(number, user_template=f"<A>{'x' * 100_000}</A>").replace("<", "&lt;").encode() for number in range(150)]
    one_at_a_time = threading.Lock()

    def answer(conversation: Conversation) -> None:
        body = conversation.read_request().body
        with one_at_a_time:
            if b"one.system.version" in body:
                conversation.send(servers.head(Connection="close") + success(version))
            elif b"one.vmpool.info" in body:
                conversation.send(servers.head(Connection="close") + begin + b"".join(machines) + end)
            else:
                figures = "<MONITORING><ID>7</ID><CPU>1</CPU><MEMORY>2048</MEMORY></MONITORING>"
                conversation.send(servers.head(Connection="close") + success(f"<MONITORING_DATA>{figures}</MONITORING_DATA>"))

    found = {one.id: one.last_memory_kib for one in cloud_at(f"{scripted(answer).url}/RPC2").instances(usage=True)}
    assert found == {number: 2048 if number == 7 else 0 for number in range(150)}


def test_ten_thousand_machines_take_the_memory_of_a_thousand(scripted: Scripted) -> None:
    peaks = []
    for count in (1000, 1000, 10_000):  # the first to warm up
        cloud = cloud_at(f"{listing_server(scripted, count).url}/RPC2")
        tracemalloc.start()
        try:
            assert sum(1 for _ in cloud.instances()) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1]
