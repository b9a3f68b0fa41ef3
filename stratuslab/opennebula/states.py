"""The states of an instance: STATE, and LCM_STATE that says more while STATE is ACTIVE.

Numbers and names are those of OpenNebula 7.4, whose table holds all that earlier versions had, except STATE 7 (FAILED, 3.x)
and the meaning of LCM_STATE 13 to 15, which 3.x calls CANCEL, FAILURE and DELETE.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache


class State(IntEnum):
    """The element STATE of a VM document."""

    INIT = 0
    PENDING = 1
    HOLD = 2
    ACTIVE = 3
    STOPPED = 4
    SUSPENDED = 5
    DONE = 6
    FAILED = 7  # 3.x only; later versions are ACTIVE with a *_FAILURE in LCM_STATE
    POWEROFF = 8
    UNDEPLOYED = 9
    CLONING = 10
    CLONING_FAILURE = 11


class Lcm(IntEnum):
    """The element LCM_STATE of a VM document, meaningful while STATE is ACTIVE."""

    LCM_INIT = 0
    PROLOG = 1
    BOOT = 2
    RUNNING = 3
    MIGRATE = 4
    SAVE_STOP = 5
    SAVE_SUSPEND = 6
    SAVE_MIGRATE = 7
    PROLOG_MIGRATE = 8
    PROLOG_RESUME = 9
    EPILOG_STOP = 10
    EPILOG = 11
    SHUTDOWN = 12
    CANCEL = 13
    FAILURE = 14
    CLEANUP_RESUBMIT = 15
    UNKNOWN = 16
    HOTPLUG = 17
    SHUTDOWN_POWEROFF = 18
    BOOT_UNKNOWN = 19
    BOOT_POWEROFF = 20
    BOOT_SUSPENDED = 21
    BOOT_STOPPED = 22
    CLEANUP_DELETE = 23
    HOTPLUG_SNAPSHOT = 24
    HOTPLUG_NIC = 25
    HOTPLUG_SAVEAS = 26
    HOTPLUG_SAVEAS_POWEROFF = 27
    HOTPLUG_SAVEAS_SUSPENDED = 28
    SHUTDOWN_UNDEPLOY = 29
    EPILOG_UNDEPLOY = 30
    PROLOG_UNDEPLOY = 31
    BOOT_UNDEPLOY = 32
    HOTPLUG_PROLOG_POWEROFF = 33
    HOTPLUG_EPILOG_POWEROFF = 34
    BOOT_MIGRATE = 35
    BOOT_FAILURE = 36
    BOOT_MIGRATE_FAILURE = 37
    PROLOG_MIGRATE_FAILURE = 38
    PROLOG_FAILURE = 39
    EPILOG_FAILURE = 40
    EPILOG_STOP_FAILURE = 41
    EPILOG_UNDEPLOY_FAILURE = 42
    PROLOG_MIGRATE_POWEROFF = 43
    PROLOG_MIGRATE_POWEROFF_FAILURE = 44
    PROLOG_MIGRATE_SUSPEND = 45
    PROLOG_MIGRATE_SUSPEND_FAILURE = 46
    BOOT_UNDEPLOY_FAILURE = 47
    BOOT_STOPPED_FAILURE = 48
    PROLOG_RESUME_FAILURE = 49
    PROLOG_UNDEPLOY_FAILURE = 50
    DISK_SNAPSHOT_POWEROFF = 51
    DISK_SNAPSHOT_REVERT_POWEROFF = 52
    DISK_SNAPSHOT_DELETE_POWEROFF = 53
    DISK_SNAPSHOT_SUSPENDED = 54
    DISK_SNAPSHOT_REVERT_SUSPENDED = 55
    DISK_SNAPSHOT_DELETE_SUSPENDED = 56
    DISK_SNAPSHOT = 57
    DISK_SNAPSHOT_REVERT = 58
    DISK_SNAPSHOT_DELETE = 59
    PROLOG_MIGRATE_UNKNOWN = 60
    PROLOG_MIGRATE_UNKNOWN_FAILURE = 61
    DISK_RESIZE = 62
    DISK_RESIZE_POWEROFF = 63
    DISK_RESIZE_UNDEPLOYED = 64
    HOTPLUG_NIC_POWEROFF = 65
    HOTPLUG_RESIZE = 66
    HOTPLUG_SAVEAS_UNDEPLOYED = 67
    HOTPLUG_SAVEAS_STOPPED = 68
    BACKUP = 69
    BACKUP_POWEROFF = 70
    RESTORE = 71


@lru_cache(256)  # a listing has few different states
def state_label(state: int | None, lcm_state: int | None) -> str:
    """The state as the table shows it, one word: ``Running``, ``Lcm_Init``, ``Prolog_Failure``.

    LCM_STATE counts only while STATE is ACTIVE. An unknown number is shown as itself
    (``State_42``, ``Lcm_State_99``); a missing STATE is ``-``.
    """
    if state is None:
        return "-"
    if state != State.ACTIVE:
        return _label(State, "State", state)
    return _label(Lcm, "Lcm_State", lcm_state) if lcm_state is not None else "Active"


def _label(names: type[IntEnum], prefix: str, number: int) -> str:
    try:
        return names(number).name.title()
    except ValueError:
        return f"{prefix}_{number}"


@lru_cache(256)
def has_failed(state: int | None, lcm_state: int | None) -> bool:
    """Whether the instance failed: FAILED of 3.x, CLONING_FAILURE, or an LCM_STATE that ends in FAILURE."""
    if state != State.ACTIVE:
        return state in (State.FAILED, State.CLONING_FAILURE)
    return lcm_state is not None and _label(Lcm, "", lcm_state).endswith("Failure")


class Phase(IntEnum):
    """What to expect from an instance, whatever its exact state."""

    COMING = 1  # it is being prepared: waiting may help
    UP = 2  # its operating system runs, as far as the cloud knows
    LEAVING = 3  # it is being terminated or suspended, or changed while it is off: the state will change, but not to UP
    AWAY = 4  # it does not run, and stays as it is until somebody acts


_LEAVING = {Lcm.SHUTDOWN, Lcm.SHUTDOWN_POWEROFF, Lcm.SHUTDOWN_UNDEPLOY, Lcm.CANCEL, Lcm.CLEANUP_DELETE, Lcm.RESTORE}


@lru_cache(256)
def phase(state: int | None, lcm_state: int | None) -> Phase:
    """The phase of a state. An unknown number counts as UP: the way to find out is to try."""
    if has_failed(state, lcm_state) or (state == State.ACTIVE and lcm_state == Lcm.UNKNOWN):
        return Phase.AWAY
    if state != State.ACTIVE:
        coming = (State.INIT, State.PENDING, State.CLONING)
        return Phase.COMING if state in coming else Phase.AWAY if state in State.__members__.values() else Phase.UP
    name = _label(Lcm, "", lcm_state or 0)
    if lcm_state == Lcm.SAVE_MIGRATE:
        return Phase.COMING  # it moves, and runs again on another host
    if lcm_state in _LEAVING or name.startswith(("Epilog", "Save")):
        return Phase.LEAVING
    if name.startswith(("Lcm_Init", "Prolog", "Boot", "Cleanup")):
        return Phase.COMING
    # Changes to a machine that is off: HOTPLUG_SAVEAS_POWEROFF, DISK_RESIZE_UNDEPLOYED ...
    return Phase.LEAVING if name.endswith(("_Poweroff", "_Suspended", "_Undeployed", "_Stopped")) else Phase.UP


SSH = "Ssh"
"""The goal that is not a state: an instance that answers by SSH."""

_ON_THE_WAY = ("Pending", "Prolog", "Boot", "Running")  # the states that an instance passes by itself


def has_reached(state: int | None, lcm_state: int | None, goal: str) -> bool:
    """Whether an instance is in the state with the label ``goal``, or past it if the state is on the way to Running."""
    label = state_label(state, lcm_state)
    if label == goal or goal not in _ON_THE_WAY:
        return label == goal
    return phase(state, lcm_state) == Phase.UP or label in _ON_THE_WAY[_ON_THE_WAY.index(goal) :]


def cannot_reach(state: int | None, lcm_state: int | None, goal: str) -> bool:
    """Whether an instance in this state cannot get to the state ``goal``, or to answering by SSH, by waiting alone."""
    if has_reached(state, lcm_state, goal):
        return False
    if goal == "Done":
        # What failed in the epilog stays until somebody recovers or deletes it.
        return has_failed(state, lcm_state) and state_label(state, lcm_state).startswith("Epilog")
    if goal == SSH or goal in _ON_THE_WAY:
        return phase(state, lcm_state) >= Phase.LEAVING
    return has_failed(state, lcm_state) or state == State.DONE
