"""The states: every number has a word, and what it means for somebody who waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.opennebula.states import SSH, Lcm, Phase, State, cannot_reach, has_failed, has_reached, phase, state_label

# OpenNebula 7.4's table, written out as its documentation has it.
_STATES = "INIT PENDING HOLD ACTIVE STOPPED SUSPENDED DONE FAILED POWEROFF UNDEPLOYED CLONING CLONING_FAILURE"
_LCM_STATES = """
LCM_INIT PROLOG BOOT RUNNING MIGRATE SAVE_STOP SAVE_SUSPEND SAVE_MIGRATE PROLOG_MIGRATE PROLOG_RESUME EPILOG_STOP EPILOG
SHUTDOWN CANCEL FAILURE CLEANUP_RESUBMIT UNKNOWN HOTPLUG SHUTDOWN_POWEROFF BOOT_UNKNOWN BOOT_POWEROFF BOOT_SUSPENDED
BOOT_STOPPED CLEANUP_DELETE HOTPLUG_SNAPSHOT HOTPLUG_NIC HOTPLUG_SAVEAS HOTPLUG_SAVEAS_POWEROFF HOTPLUG_SAVEAS_SUSPENDED
SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY PROLOG_UNDEPLOY BOOT_UNDEPLOY HOTPLUG_PROLOG_POWEROFF HOTPLUG_EPILOG_POWEROFF BOOT_MIGRATE
BOOT_FAILURE BOOT_MIGRATE_FAILURE PROLOG_MIGRATE_FAILURE PROLOG_FAILURE EPILOG_FAILURE EPILOG_STOP_FAILURE
EPILOG_UNDEPLOY_FAILURE PROLOG_MIGRATE_POWEROFF PROLOG_MIGRATE_POWEROFF_FAILURE PROLOG_MIGRATE_SUSPEND
PROLOG_MIGRATE_SUSPEND_FAILURE BOOT_UNDEPLOY_FAILURE BOOT_STOPPED_FAILURE PROLOG_RESUME_FAILURE PROLOG_UNDEPLOY_FAILURE
DISK_SNAPSHOT_POWEROFF DISK_SNAPSHOT_REVERT_POWEROFF DISK_SNAPSHOT_DELETE_POWEROFF DISK_SNAPSHOT_SUSPENDED
DISK_SNAPSHOT_REVERT_SUSPENDED DISK_SNAPSHOT_DELETE_SUSPENDED DISK_SNAPSHOT DISK_SNAPSHOT_REVERT DISK_SNAPSHOT_DELETE
PROLOG_MIGRATE_UNKNOWN PROLOG_MIGRATE_UNKNOWN_FAILURE DISK_RESIZE DISK_RESIZE_POWEROFF DISK_RESIZE_UNDEPLOYED
HOTPLUG_NIC_POWEROFF HOTPLUG_RESIZE HOTPLUG_SAVEAS_UNDEPLOYED HOTPLUG_SAVEAS_STOPPED BACKUP BACKUP_POWEROFF RESTORE
"""
STATES, LCM_STATES = _STATES.split(), _LCM_STATES.split()


def test_the_tables_are_complete() -> None:
    assert [state.name for state in State] == STATES
    assert list(map(int, State)) == list(range(12))
    assert [lcm.name for lcm in Lcm] == LCM_STATES
    assert list(map(int, Lcm)) == list(range(72))


@pytest.mark.parametrize(
    "state, lcm, label",
    [
        (0, None, "Init"),
        (0, 3, "Init"),  # LCM_STATE counts while ACTIVE only
        (1, 0, "Pending"),
        (3, 0, "Lcm_Init"),  # the original took 0 for nothing
        (3, 3, "Running"),
        (3, 16, "Unknown"),
        (3, 36, "Boot_Failure"),
        (3, 69, "Backup"),
        (3, None, "Active"),
        (6, 0, "Done"),
        (7, 0, "Failed"),
        (8, 0, "Poweroff"),
        (11, 0, "Cloning_Failure"),
        (12, 0, "State_12"),
        (-1, 0, "State_-1"),
        (3, 72, "Lcm_State_72"),
        (3, -5, "Lcm_State_-5"),
        (None, None, "-"),
        (None, 3, "-"),
    ],
)
def test_labels(state: int | None, lcm: int | None, label: str) -> None:
    assert state_label(state, lcm) == label


@given(st.none() | st.integers(), st.none() | st.integers())
def test_any_number_has_a_label_of_one_word_and_a_phase(state: int | None, lcm: int | None) -> None:
    label = state_label(state, lcm)
    assert len(label.split()) == 1
    assert isinstance(phase(state, lcm), Phase)
    assert isinstance(has_failed(state, lcm), bool)


def test_what_has_failed() -> None:
    assert has_failed(7, 0)
    assert has_failed(11, 0)
    assert not has_failed(None, None)
    assert not has_failed(3, None)
    assert not has_failed(6, 36)
    for number, name in enumerate(LCM_STATES):
        assert has_failed(3, number) is name.endswith("FAILURE"), name


@pytest.mark.parametrize(
    "expected, states",
    [
        (Phase.COMING, [(0, 0), (1, 0), (10, 0), (3, None), (3, 0), (3, 1), (3, 2), (3, 15), (3, 20)]),
        (Phase.UP, [(3, 3), (3, 4), (3, 17), (3, 25), (3, 57), (3, 69), (3, 999), (99, 0), (None, None)]),
        (Phase.AWAY, [(2, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0), (9, 0), (11, 0)]),
        (Phase.AWAY, [(3, 14), (3, 16), (3, 36), (3, 39), (3, 61)]),
        (Phase.LEAVING, [(3, 5), (3, 6), (3, 10), (3, 11), (3, 12), (3, 13), (3, 18), (3, 23), (3, 29), (3, 30)]),
    ],
)
def test_phases(expected: Phase, states: list[tuple[int | None, int | None]]) -> None:
    for state, lcm in states:
        assert phase(state, lcm) == expected, (state, lcm)


@pytest.mark.parametrize("lcm", [27, 28, 33, 34, 51, 53, 54, 56, 63, 64, 65, 67, 68, 70, 71])
def test_a_machine_that_is_off_while_something_is_done_to_it_is_not_up(lcm: int) -> None:
    assert phase(State.ACTIVE, lcm) == Phase.LEAVING


@pytest.mark.parametrize(
    "goal, reached, possible, hopeless",
    [
        ("Prolog", [(3, 1), (3, 2), (3, 3), (3, 4)], [(1, 0), (3, 0)], [(3, 39), (6, 0), (3, 12), (8, 0)]),
        ("Running", [(3, 3), (3, 17)], [(1, 0), (3, 2), (3, 20), (3, 7)], [(3, 16), (3, 12), (2, 0), (6, 0), (3, 36)]),
        (SSH, [], [(1, 0), (3, 3)], [(3, 16), (3, 11), (6, 0), (3, 36)]),
        ("Done", [(6, 0)], [(1, 0), (3, 3), (3, 12), (3, 36), (8, 0)], [(3, 40), (3, 41)]),
        ("Poweroff", [(8, 0)], [(3, 3), (3, 18), (5, 0)], [(6, 0), (3, 36), (7, 0)]),
        ("Boot_Failure", [(3, 36)], [(3, 2)], [(6, 0), (3, 39)]),
    ],
)
def test_what_waiting_leads_to(
    goal: str, reached: list[tuple[int, int]], possible: list[tuple[int, int]], hopeless: list[tuple[int, int]]
) -> None:
    for state in [*reached, *possible, *hopeless]:
        assert has_reached(*state, goal) is (state in reached), state
        assert cannot_reach(*state, goal) is (state in hopeless), state
