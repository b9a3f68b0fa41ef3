"""Commands against a small OpenNebula that does what real ones do and the embedded cloud does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from stratuslab.errors import ExitStatus
from tests.fakes.opennebula_answers import failure, machine, recording_of, success
from tests.fakes.scripted_opennebula import ScriptedOpenNebula
from tests.harness import Ran, Shell

At = Callable[[ScriptedOpenNebula], Shell]


@pytest.fixture
def at(shell: Shell) -> Iterator[At]:
    """A shell set up for a small OpenNebula, which ends with the test."""
    served: list[ScriptedOpenNebula] = []

    def visit(cloud: ScriptedOpenNebula) -> Shell:
        served.append(cloud)
        shell.environ.update(STRATUSLAB_ENDPOINT=cloud.url, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
        return shell

    yield visit
    for cloud in served:
        cloud.server.close()


class Ending(ScriptedOpenNebula):
    """Whose machine 1 goes through states (STATE, LCM_STATE) once it was asked to shut down, one with each look."""

    states: list[tuple[int, int]]
    asked = False

    def vm_action(self, action: str, number: int) -> bytes:
        self.asked = True
        return success(number)

    def vm_info(self, number: int) -> bytes:
        if self.asked:
            state, lcm = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            self.machines[number] = machine(number, state=state, lcm=lcm)
        return super().vm_info(number)


def shut_down(at: At, *states: tuple[int, int]) -> Ran:
    cloud = Ending(machines={1: machine(1)})
    cloud.states = list(states)
    return at(cloud)("shutdown", "1", "--timeout", "20")


def test_a_shutdown_that_works(at: At) -> None:
    assert shut_down(at, (3, 12), (3, 11), (6, 0)) == Ran(0, "", "")


@pytest.mark.parametrize(
    ("command", "version", "states"),
    [
        ("shutdown", "7.4.0", ((3, 12), (3, 11), (6, 0))),
        ("shutdown", "6.8.0", ((3, 11), (6, 0))),
        ("shutdown", "", ((3, 12), (3, 11), (6, 0))),
        ("kill", "6.8.0", ((3, 11),)),
        ("kill", "5.12.0.4", ((3, 23),)),
    ],
)
def test_an_end_that_was_asked_for_before_is_not_refused(
    at: At, command: str, version: str, states: tuple[tuple[int, int], ...]
) -> None:
    """As where the answer to the request was lost, and it was sent again."""
    cloud = ScriptedOpenNebula(version, machines={1: machine(1)})
    coming = list(states)

    def look(number: int) -> bytes:
        state, lcm = coming.pop(0) if len(coming) > 1 else coming[0]
        return success(machine(number, state=state, lcm=lcm))

    wrong = "Wrong state to perform action" if not version else f"Could not {command} VM 1, wrong state X."
    cloud.vm_action = lambda action, number: failure(wrong, 2048)  # type: ignore[method-assign]
    cloud.vm_info = look  # type: ignore[method-assign]
    assert at(cloud)(command, "1") == Ran(0, "", "")


def test_a_start_that_a_busy_cloud_begins_later(at: At) -> None:
    """As 5.12.0.4 and 7.4.0 were seen to do with many machines."""
    cloud = ScriptedOpenNebula(machines={1: machine(1)})
    coming = [(8, 0), (8, 0), (3, 20), (3, 3)]
    cloud.vm_action = lambda action, number: success(number)  # type: ignore[method-assign]
    cloud.vm_info = lambda number: success(machine(number, state=coming[0][0], lcm=coming.pop(0)[1]))  # type: ignore[method-assign]
    assert at(cloud)("start", "1") == Ran(0, "", "")


def test_a_shutdown_whose_epilog_fails_is_not_waited_for_any_longer(at: At) -> None:
    ran = shut_down(at, (3, 12), (3, 11), (3, 40))
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert "machine 1 failed" in ran.err
    assert "while saving or removing its disks (epilog)" in ran.err


def test_a_shutdown_that_the_driver_refuses_says_so(at: At) -> None:
    ran = shut_down(at, (3, 12), (3, 3))
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert "machine 1 is Running again: the cloud could not shut it down" in ran.err
    assert "kill it: stratus-kill-instance 1" in ran.err


@pytest.mark.parametrize("old", [False, True])
def test_a_shutdown_that_the_driver_refuses_before_the_first_look(at: At, old: bool) -> None:
    """As 3.2.1 was seen to do; the message of an earlier try is there, too, while the machine is being shut down."""
    date = time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(time.time() - 3600 * old))
    refused = f"<ERROR>{date} : Error shutting down VM: guest does not answer</ERROR>"
    cloud = ScriptedOpenNebula(machines={1: machine(1, user_template=refused)})
    cloud.vm_action = lambda action, number: success(number)  # type: ignore[method-assign]
    ran = at(cloud)("shutdown", "1", "--timeout", "2")
    assert "runs; the cloud could not shut it down" in ran.err
    assert ran.status == (ExitStatus.TIMED_OUT if old else ExitStatus.INSTANCE_FAILED)


@pytest.mark.parametrize(
    ("lcm", "words"),
    [(6, "is being suspended"), (18, "is being powered off"), (12, "is being shut down"), (5, "is being stopped")],
)
def test_what_is_put_aside_is_not_said_to_end(at: At, lcm: int, words: str) -> None:
    shell = at(ScriptedOpenNebula(machines={1: machine(1, lcm=lcm)}))
    ran = shell("describe", "--wait-for", "running", "1")
    assert ran.status == ExitStatus.INSTANCE_FAILED
    assert f"machine 1 {words}\n" in ran.err
    ran = shell("connect", "1", "--", "true")
    assert f"machine 1 {words}\n" in ran.err


def test_a_machine_that_moves_is_waited_for(at: At) -> None:
    ran = at(ScriptedOpenNebula(machines={1: machine(1, lcm=7)}))("describe", "--wait-for", "running", "--timeout", "0.1", "1")
    assert ran.status == ExitStatus.TIMED_OUT


def test_a_listing_shows_what_is_well_formed(at: At) -> None:
    broken = machine(2, template="<A><B></A></B>")
    shell = at(ScriptedOpenNebula(machines={1: machine(1), 2: broken, 3: machine(3)}))
    ran = shell("describe", "--columns", "id,state", "--no-header")
    assert [line.split() for line in ran.out.splitlines()] == [["1", "Running"], ["2", "-"], ["3", "Running"]]
    assert (ran.status, ran.err) == (
        0,
        "stratus-describe-instance: cannot show machine 2: the cloud's description of it is not well-formed\n",
    )
    ran = shell("describe", "-v")
    assert "cannot be shown: the cloud's description of it is not well-formed (mismatched tag)" in ran.out


def test_a_machine_is_named_whatever_the_server_says_of_its_state(at: At) -> None:
    cloud = ScriptedOpenNebula(version="", machines={7: machine(7, lcm=1)})
    cloud.vm_action = lambda action, number: recording_of(  # type: ignore[method-assign]
        "3.2.1/vm.action-shutdown-wrong-state-PROLOG"
    )
    ran = at(cloud)("shutdown", "7")
    assert ran == Ran(
        ExitStatus.INSTANCE_FAILED,
        "",
        "stratus-shutdown-instance: cannot shut down machine 7 while it is Prolog "
        "(try again later, or kill it: stratus-kill-instance 7)\n",
    )


def test_a_lock_is_told(at: At) -> None:
    locked = "<LOCK><LOCKED>1</LOCKED><OWNER>2</OWNER><TIME>1795812481</TIME></LOCK><STIME>"
    cloud = ScriptedOpenNebula(machines={68: machine(68).replace("<STIME>", locked)})
    cloud.vm_action = lambda action, number: recording_of("7.4.0/vm.action-locked")  # type: ignore[method-assign]
    shell = at(cloud)
    ran = shell("kill", "68")
    assert ran.status == ExitStatus.DENIED
    assert "machine 68 is locked by user 2: " in ran.err
    assert "unlock it with onevm unlock 68" in ran.err
    assert "has been locked by user 2 for " in shell("describe", "-v", "68").out
    assert "  lock       use by user 2 since 2026-11-27 " in shell("describe", "-vv", "68").out
    assert '"cause": "locked"' in shell("describe", "--format", "json", "68").out


@pytest.mark.parametrize(
    ("refused", "advice"),
    [
        (recording_of("6.8.0/vm.allocate-quota-reached"), "kill machines that you no longer need"),
        (recording_of("7.4.0/vm.allocate-no-lease"), "choose another network"),
        (recording_of("3.2.1/vm.allocate-unknown-image"), "does not exist, is not ready, or is in use"),
        (recording_of("6.8.0/vm.allocate-bad-name-char"), "(see --vm-name and --name-prefix)"),
        (
            failure("DISK 2: Cannot acquire image 1, it is persistent and already in use", 8192),
            "shut down the machine that uses it",
        ),
        (failure("DISK 2: Cannot acquire image 1, it is in state: ERROR", 8192), '"oneimage enable" with the id'),
    ],
)
def test_a_start_that_is_refused_is_with_hint(at: At, refused: bytes, advice: str) -> None:
    cloud = ScriptedOpenNebula(version="6.8.0")
    cloud.vm_allocate = lambda template, hold=False: refused  # type: ignore[method-assign]
    ran = at(cloud)("run", "-q", "--no-check-image-url", "http://images.example.org/x.img")
    assert ran.status in (ExitStatus.FAILED, ExitStatus.DENIED)
    assert advice in ran.err


def test_a_machine_that_has_no_address_yet_is_waited_for(at: At) -> None:
    shell = at(ScriptedOpenNebula(machines={1: machine(1, template="<NIC><MAC>02:00:00:00:00:01</MAC></NIC>"), 2: machine(2)}))
    ran = shell("describe", "--wait-for", "ssh", "--timeout", "0.3", "1")
    assert ran.status == ExitStatus.TIMED_OUT
    assert "it has no address to connect to" in ran.err
    assert shell("describe", "--wait-for", "ssh", "2").status == ExitStatus.INSTANCE_FAILED


def test_all_addresses_are_shown(at: At) -> None:
    template = (
        "<NIC><IP>10.0.0.1</IP><EXTERNAL_IP>192.0.2.1</EXTERNAL_IP><IP6>2001:db8::1</IP6><NETWORK>public</NETWORK></NIC>"
        "<NIC_ALIAS><IP>10.0.0.2</IP><NETWORK>public</NETWORK></NIC_ALIAS><PCI><TYPE>NIC</TYPE><IP>10.0.0.3</IP></PCI>"
    )
    reported = "<MONITORING><GUEST_IP_ADDRESSES>10.0.0.1,198.51.100.7</GUEST_IP_ADDRESSES></MONITORING>"
    shell = at(ScriptedOpenNebula(machines={1: machine(1, template=template).replace("<MONITORING/>", reported)}))
    block = shell("describe", "-n", "-vv", "1").out
    for line in (
        "address    10.0.0.1, 2001:db8::1, network public, external 192.0.2.1",
        "address    10.0.0.2, alias, network public",
        "address    10.0.0.3, PCI device",
        "address    198.51.100.7, reported by the guest",
    ):
        assert line in block
    (one,) = json.loads(shell("describe", "--format", "json", "1").out)["instances"]
    assert one["addresses"] == ["10.0.0.1", "192.0.2.1", "2001:db8::1", "10.0.0.2", "10.0.0.3", "198.51.100.7"]
    assert one["address"] == "10.0.0.1"
    assert one["networks"] == ["public"]


def test_an_address_that_is_taken_before_opennebula_4(at: At) -> None:
    image = "<IMAGE><ID>0</ID><NAME>tty</NAME><UNAME>alice</UNAME></IMAGE>"
    network = "<VNET><ID>0</ID><NAME>public</NAME><UNAME>oneadmin</UNAME></VNET>"
    cloud = ScriptedOpenNebula(version="", things={"image": {0: image}, "vn": {0: network}})
    refused = recording_of("3.2.1/vm.allocate-unknown-network-name")
    cloud.vm_allocate = lambda template, hold=False: refused  # type: ignore[method-assign]
    shell = at(cloud)
    ran = shell("run", "-q", "one:0", "--network", "public", "--address", "10.0.0.9")
    assert (ran.status, "(the address 10.0.0.9 is taken or not in that network)" in ran.err) == (1, True), ran.err
    ran = shell("run", "-q", "one:0", "--network", "public")
    assert (ran.status, "(it may have no free address; see --network" in ran.err) == (1, True), ran.err
