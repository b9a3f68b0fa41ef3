"""The state diagram: for each action the states that allow it and what it does, and what a machine's reports do."""

from __future__ import annotations

from itertools import chain

import pytest

from stratuslab.local.api_error import WrongState
from stratuslab.local.engine.lifecycle import Step, begin, failed, machine_gone, paused, placed, reached, start_again, was_stopped
from stratuslab.local.engine.server_rules import Verb
from stratuslab.local.store.stored_records import QEMU, Record, User
from stratuslab.opennebula.states import Lcm, State

NOW = 1_795_329_549
RESTING = [state.name for state in State if state is not State.ACTIVE]
ACTIVE = [lcm.name for lcm in Lcm]
FAILURES = [name for name in ACTIVE if name.endswith("_FAILURE")]


def record(state: str, **others: object) -> Record:
    """An instance in this state, which ran, with a measurement."""
    lcm = Lcm[state] if state in ACTIVE else Lcm.LCM_INIT
    number = State.ACTIVE if state in ACTIVE else State[state]
    found = Record(7, 2, "x", State.PENDING, 0, 1, 64, "", "", [], [], cpu_percent=5.0, memory_kib=99, polled=NOW - 1)
    placed(found, NOW - 9)
    found.history[0]["rstime"] = NOW - 8
    found.state, found.lcm_state = number, lcm
    for name, value in others.items():
        setattr(found, name, value)
    return found


Outcome = tuple[str, Step]
RELEASED = ("DONE", Step.NOTHING)
KILLED = ("CLEANUP_DELETE", Step.KILL)
HARD: dict[str, Outcome] = {
    **dict.fromkeys(["INIT", "PENDING", "HOLD", "CLONING", "POWEROFF", "UNDEPLOYED", "DONE"], RELEASED),
    **dict.fromkeys(["RUNNING", "UNKNOWN", "SUSPENDED", "STOPPED", *FAILURES], KILLED),
}
SOFT: dict[str, Outcome] = {**HARD, "RUNNING": ("SHUTDOWN", Step.HALT)}
OF_4_X = ("RUNNING", "UNKNOWN", "POWEROFF", "SUSPENDED")
POWERED_OFF = ("SHUTDOWN_POWEROFF", Step.KILL)
RECREATED = ("CLEANUP_RESUBMIT", Step.KILL)
RESUMED: dict[str, Outcome] = {
    "SUSPENDED": ("BOOT_SUSPENDED", Step.RESUME),
    "STOPPED": ("PENDING", Step.NOTHING),
    "UNDEPLOYED": ("PENDING", Step.NOTHING),
    "POWEROFF": ("POWEROFF", Step.START_AGAIN),
    "UNKNOWN": ("UNKNOWN", Step.START_AGAIN),
}

# In every other state an action is refused.
ALLOWED: dict[Verb, dict[str, Outcome]] = {
    Verb.TERMINATE: SOFT,
    Verb.TERMINATE_HARD: {**HARD, "SHUTDOWN": KILLED},
    Verb.TERMINATE_HARD_5: HARD,
    Verb.SHUTDOWN: {name: SOFT[name] for name in OF_4_X},
    Verb.SHUTDOWN_HARD: {name: HARD[name] for name in OF_4_X},
    Verb.SHUTDOWN_RUNNING: {"RUNNING": ("SHUTDOWN", Step.HALT)},
    Verb.CANCEL: {"RUNNING": KILLED},
    Verb.DELETE: {
        **dict.fromkeys(RESTING, RELEASED),
        **dict.fromkeys(ACTIVE, KILLED),
        **dict.fromkeys(["SUSPENDED", "STOPPED"], KILLED),
    },
    Verb.RECREATE: {
        **{name: RECREATED for name in (*RESTING, *ACTIVE) if name not in ("SUSPENDED", "DONE")},
        "PENDING": ("PENDING", Step.NOTHING),
    },
    Verb.SUSPEND: {"RUNNING": ("SAVE_SUSPEND", Step.PAUSE)},
    Verb.STOP: {"RUNNING": ("SAVE_STOP", Step.PAUSE), "SUSPENDED": ("STOPPED", Step.NOTHING)},
    Verb.POWEROFF: {"RUNNING": ("SHUTDOWN_POWEROFF", Step.HALT), "UNKNOWN": POWERED_OFF},
    Verb.POWEROFF_HARD: dict.fromkeys(["RUNNING", "UNKNOWN", "SHUTDOWN_POWEROFF"], POWERED_OFF),
    Verb.POWEROFF_HARD_5: dict.fromkeys(["RUNNING", "UNKNOWN"], POWERED_OFF),
    Verb.REBOOT: {"RUNNING": ("RUNNING", Step.REBOOT)},
    Verb.REBOOT_HARD: {"RUNNING": ("RUNNING", Step.START_AGAIN)},
    Verb.HOLD: {"PENDING": ("HOLD", Step.NOTHING)},
    Verb.RELEASE: {"HOLD": ("PENDING", Step.NOTHING)},
    Verb.RESUME: RESUMED,
    Verb.RESUME_SAVED: {name: RESUMED[name] for name in ("SUSPENDED", "STOPPED")},
    Verb.RESTART: {"UNKNOWN": RESUMED["UNKNOWN"]},
    Verb.UNDEPLOY: {},
}


@pytest.mark.parametrize("verb", Verb)
def test_each_action_in_each_state(verb: Verb) -> None:
    found = {}
    for state in chain(RESTING, ACTIVE):
        one = record(state)
        try:
            step = begin(one, verb, User(2, "alice"), NOW)
        except WrongState:
            assert one == record(state)
        else:
            found[state] = (one.state_name, step)
    assert found == ALLOWED[verb]


def test_messages_of_wrong_states() -> None:
    for verb, message in (
        (Verb.TERMINATE, "Could not terminate VM 7, wrong state BOOT."),
        (Verb.TERMINATE_HARD, "Could not terminate VM 7, wrong state BOOT."),
        (Verb.TERMINATE_HARD_5, "Could not terminate VM 7, wrong state BOOT."),
        (Verb.SUSPEND, "This action is not available for state BOOT"),
    ):
        with pytest.raises(WrongState) as raised:
            begin(record("BOOT"), verb, User(2, "alice"), NOW)
        assert message in str(raised.value)


@pytest.mark.parametrize(
    ("state", "verb", "action"),
    [
        ("RUNNING", Verb.TERMINATE, 27),
        ("RUNNING", Verb.TERMINATE_HARD_5, 28),
        ("RUNNING", Verb.SHUTDOWN_RUNNING, 3),
        ("RUNNING", Verb.SHUTDOWN_HARD, 4),
        ("RUNNING", Verb.CANCEL, 4),
        ("RUNNING", Verb.POWEROFF_HARD_5, 20),
        ("SUSPENDED", Verb.STOP, 9),
        ("POWEROFF", Verb.TERMINATE, 27),
        ("UNKNOWN", Verb.RESTART, 0),
        ("HOLD", Verb.RELEASE, 0),
        ("DONE", Verb.DELETE, 0),
        ("PENDING", Verb.RECREATE, 0),
    ],
)
def test_the_history_says_who_did_what(state: str, verb: Verb, action: int) -> None:
    one = record(state)
    begin(one, verb, User(2, "alice"), NOW)
    last = one.history[-1]
    assert (last["action"], last["uid"], last["gid"]) == ((action, 2, 1) if action else (0, -1, -1))


def test_what_never_ran_has_no_history() -> None:
    one = record("PENDING", history=[])
    begin(one, Verb.DELETE, User(0, "oneadmin"), NOW)
    assert (one.state, one.etime, one.history) == (State.DONE, NOW, [])
    assert not was_stopped(one)


def test_a_second_kill_leaves_the_times_of_the_first() -> None:
    one = record("POWEROFF")
    begin(one, Verb.TERMINATE, User(2, "alice"), NOW)
    first = (one.etime, dict(one.history[-1]))
    begin(one, Verb.TERMINATE, User(3, "bob"), NOW + 5)
    assert (one.etime, one.history[-1]) == first == (NOW, {**first[1], "retime": NOW, "estime": NOW, "eetime": NOW, "etime": NOW})


def test_real_machines_cannot_be_stopped() -> None:
    for state in ("RUNNING", "SUSPENDED"):
        with pytest.raises(WrongState):
            begin(record(state, hypervisor=QEMU), Verb.STOP, User(2, "alice"), NOW)


@pytest.mark.parametrize(("state", "rests"), [("SAVE_SUSPEND", "SUSPENDED"), ("SAVE_STOP", "STOPPED")])
def test_a_machine_is_paused(state: str, rests: str) -> None:
    one = record(state)
    paused(one, NOW)
    assert (one.state_name, one.cpu_percent, one.listed_usage["cpu_percent"]) == (rests, 0.0, 5.0)
    assert (one.history[-1]["retime"], one.history[-1]["etime"]) == (NOW, NOW)
    for other in ("RUNNING", "SUSPENDED", "DONE"):
        one = record(other)
        paused(one, NOW)
        assert one == record(other)


@pytest.mark.parametrize(
    ("state", "step", "becomes"),
    [
        ("PENDING", Lcm.PROLOG, "PROLOG"),  # whoever started the process was killed before it could commit
        ("PENDING", Lcm.BOOT, None),
        ("PROLOG", Lcm.PROLOG, "PROLOG"),
        ("PROLOG", Lcm.BOOT, "BOOT"),
        ("PROLOG", Lcm.RUNNING, None),
        ("BOOT", Lcm.BOOT, "BOOT"),
        ("BOOT", Lcm.RUNNING, "RUNNING"),
        ("BOOT", Lcm.PROLOG, None),
        ("RUNNING", Lcm.RUNNING, "RUNNING"),
        ("RUNNING", Lcm.BOOT, None),
        *((state, step, state) for state in ("BOOT_UNKNOWN", "BOOT_POWEROFF") for step in (Lcm.PROLOG, Lcm.BOOT)),
        *((state, Lcm.RUNNING, "RUNNING") for state in ("BOOT_UNKNOWN", "BOOT_POWEROFF")),
        *((state, Lcm.PROLOG, None) for state in ("CLEANUP_DELETE", "CLEANUP_RESUBMIT", "DONE", "POWEROFF", "HOLD")),
    ],
)
def test_what_a_machine_reaches(state: str, step: Lcm, becomes: str | None) -> None:
    one = record(state)
    assert reached(one, step, NOW) == (becomes is not None)
    assert one.state_name == (becomes or state)
    if becomes is None:
        assert one == record(state)


def test_times_of_the_steps() -> None:
    one = Record(7, 2, "x", State.PENDING, 0, 1, 64, "", "", [], [], sched_message="no CPU")
    assert reached(one, Lcm.PROLOG, 10)
    assert one.sched_message == ""
    assert reached(one, Lcm.BOOT, 20)
    assert reached(one, Lcm.RUNNING, 30)
    times = dict.fromkeys(("stime", "etime", "pstime", "petime", "rstime", "retime", "estime", "eetime"), 0)
    begun = {**times, "stime": 10, "pstime": 10, "petime": 20, "rstime": 20}
    assert one.history == [{**begun, "action": 0, "uid": -1, "gid": -1}]
    begin(one, Verb.TERMINATE, User(2, "alice"), 40)
    assert (one.history[0]["estime"], one.history[0]["etime"]) == (0, 0)  # it still shuts down
    machine_gone(one, 50, "")
    ended = {**begun, "retime": 50, "estime": 50, "eetime": 50, "etime": 50}
    assert one.history == [{**ended, "action": 27, "uid": 2, "gid": 1}]
    assert (one.etime, one.cpu_percent) == (50, 0.0)


@pytest.mark.parametrize(
    ("state", "step", "becomes"),
    [
        ("PROLOG", Lcm.PROLOG, "PROLOG_FAILURE"),
        ("PROLOG", Lcm.BOOT, "BOOT_FAILURE"),
        ("BOOT", Lcm.BOOT, "BOOT_FAILURE"),
        ("BOOT", Lcm.PROLOG, "BOOT_FAILURE"),
        ("BOOT_UNKNOWN", Lcm.BOOT, "UNKNOWN"),
        ("BOOT_POWEROFF", Lcm.BOOT, "POWEROFF"),
        *((state, Lcm.BOOT, None) for state in ("RUNNING", "SHUTDOWN", "CLEANUP_DELETE", "PENDING", "DONE", "POWEROFF")),
    ],
)
def test_failures(state: str, step: Lcm, becomes: str | None) -> None:
    one = record(state)
    failed(one, step, "no space", NOW)
    if becomes is None:
        assert one == record(state)
        return
    assert (one.state_name, one.message, one.message_time) == (becomes, "no space", NOW)
    assert one.history[-1]["retime"] == (NOW if becomes in ("BOOT_FAILURE", "POWEROFF") else 0)


LOST = "the machine's process ended unexpectedly"


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        ("PROLOG", "PROLOG_FAILURE"),
        ("BOOT", "BOOT_FAILURE"),
        ("SHUTDOWN_POWEROFF", "POWEROFF"),
        ("BOOT_POWEROFF", "POWEROFF"),
        ("SHUTDOWN", "DONE"),
        ("CLEANUP_DELETE", "DONE"),
        ("CLEANUP_RESUBMIT", "PENDING"),
        ("RUNNING", "UNKNOWN"),
        ("BOOT_UNKNOWN", "UNKNOWN"),
        ("UNKNOWN", "UNKNOWN"),
    ],
)
def test_a_machine_that_is_gone(state: str, becomes: str) -> None:
    one = record(state)
    machine_gone(one, NOW)
    assert (one.state_name, one.cpu_percent) == (becomes, 0.0)
    assert one.message == (LOST if becomes.endswith("FAILURE") else "")
    assert [str(text).partition(": ")[2] for _, text in one.user_attributes] == ([LOST] if becomes == "UNKNOWN" != state else [])
    last = one.history[-1]
    assert (last["etime"] == NOW) == (becomes in ("POWEROFF", "DONE", "PENDING"))
    assert (last["retime"] == NOW) == (becomes in ("BOOT_FAILURE", "POWEROFF", "DONE", "PENDING"))
    assert one.memory_kib == (0 if becomes == "PENDING" else 99)


def test_a_guest_that_shut_down_needs_no_reason() -> None:
    one = record("RUNNING")
    machine_gone(one, NOW, "")
    assert (one.state_name, one.user_attributes) == ("UNKNOWN", [])


@pytest.mark.parametrize("state", [name for name in RESTING if name != "DONE"])
def test_what_does_not_run_cannot_be_gone(state: str) -> None:
    one = record(state)
    machine_gone(one, NOW)
    assert one == record(state)


def test_what_is_made_anew_has_nothing_of_before() -> None:
    one = record("CLEANUP_RESUBMIT", message="no", message_time=5, ssh_address="127.0.0.1", ssh_port=40022)
    machine_gone(one, NOW)
    assert (one.message, one.message_time, one.ssh_address, one.ssh_port) == ("", 0, "", 0)
    assert (one.memory_kib, one.polled, one.cpu_percent) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("state", "becomes", "stays"),
    [
        ("POWEROFF", "BOOT_POWEROFF", 2),
        ("UNKNOWN", "BOOT_UNKNOWN", 1),
        ("RUNNING", "BOOT_UNKNOWN", 1),
        *((state, None, 1) for state in ("BOOT", "SHUTDOWN", "DONE", "PENDING", "SUSPENDED")),
    ],
)
def test_start_again(state: str, becomes: str | None, stays: int) -> None:
    one = record(state, user_attributes=[("ERROR_MONITOR", "Sun: gone"), ("A", "1")])
    assert start_again(one, NOW) == (becomes is not None)
    assert (one.state_name, len(one.history)) == (becomes or state, stays)
    assert (("ERROR_MONITOR", "Sun: gone") in one.user_attributes) == (becomes is None)
    if stays == 2:
        assert (one.history[1]["stime"], one.history[1]["rstime"], one.history[1]["pstime"]) == (NOW, NOW, 0)


def test_a_resumed_machine_begins_another_stay() -> None:
    one = record("SUSPENDED")
    begin(one, Verb.RESUME, User(2, "alice"), NOW)
    assert (len(one.history), one.history[1]["stime"], one.history[1]["rstime"]) == (2, NOW, NOW)


def test_what_is_killed_keeps_the_end_of_its_run() -> None:
    never_ran, failed_to_boot, off = record("PROLOG"), record("BOOT"), record("POWEROFF")
    never_ran.history[0]["rstime"] = 0
    failed(failed_to_boot, Lcm.BOOT, "no memory", NOW)
    for one in (never_ran, failed_to_boot, off):
        begin(one, Verb.DELETE, User(2, "alice"), NOW + 1)
        machine_gone(one, NOW + 1)
    assert [one.history[0]["retime"] for one in (never_ran, failed_to_boot)] == [0, NOW]
    assert [(one.state_name, one.cpu_percent) for one in (never_ran, failed_to_boot, off)] == [("DONE", 0.0)] * 3


def test_the_last_stay_is_closed() -> None:
    one = record("SUSPENDED")
    begin(one, Verb.RESUME, User(2, "alice"), NOW)
    first = dict(one.history[0])
    begin(one, Verb.DELETE, User(2, "alice"), NOW + 1)
    machine_gone(one, NOW + 2)
    assert (one.state_name, one.history[0], one.history[1]["etime"]) == ("DONE", first, NOW + 2)


def test_a_pause_ends_the_last_stay() -> None:
    one = record("SAVE_SUSPEND")
    one.history.append(dict(one.history[0]))
    first = dict(one.history[0])
    paused(one, NOW + 1)
    assert (one.history[0], one.history[1]["retime"], one.history[1]["etime"]) == (first, NOW + 1, NOW + 1)


def test_what_was_stopped_is_known_when_it_is_placed_again() -> None:
    for state in ("RUNNING", "SUSPENDED"):
        one = record(state)
        begin(one, Verb.STOP, User(2, "alice"), NOW)
        paused(one, NOW)
        begin(one, Verb.RESUME, User(2, "alice"), NOW)
        assert (one.state_name, was_stopped(one)) == ("PENDING", True)
    assert not was_stopped(record("PENDING"))
