"""The state diagram of an instance: each function is one transition and changes the record only.

PENDING -> PROLOG -> BOOT -> RUNNING -> UNKNOWN      (the guest shut down by itself, or its process died)
              |        |        |-> SHUTDOWN -> DONE
              |        |        `-> SHUTDOWN_POWEROFF -> POWEROFF -> BOOT_POWEROFF -> RUNNING
              |        `-> BOOT_FAILURE
              `-> PROLOG_FAILURE
RUNNING -> SAVE_SUSPEND -> SUSPENDED -> BOOT_SUSPENDED -> RUNNING
RUNNING -> SAVE_STOP -> STOPPED -> PENDING
any -> CLEANUP_DELETE -> DONE                        any -> CLEANUP_RESUBMIT -> PENDING
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from time import asctime, localtime

from stratuslab.local.api_error import WrongState
from stratuslab.local.engine.server_rules import Verb
from stratuslab.local.store.stored_records import SIMULATED, Record, User
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.instance import MONITORING_ERROR_ATTRIBUTE
from stratuslab.opennebula.states import Lcm, State

SAVING = (Lcm.SAVE_SUSPEND, Lcm.SAVE_STOP)
STARTING_AGAIN = (Lcm.BOOT_UNKNOWN, Lcm.BOOT_POWEROFF)
CLEANING = (Lcm.CLEANUP_DELETE, Lcm.CLEANUP_RESUBMIT)
_RUNNING = (Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING, Lcm.SHUTDOWN, Lcm.SHUTDOWN_POWEROFF)
SUPERVISED = (*_RUNNING, *CLEANING, *STARTING_AGAIN)
"""The LCM_STATEs in which the instance has a supervisor. If it is dead, :func:`machine_gone` follows."""

PROLOG_FAILED = "Error executing image transfer script: "
"""What OpenNebula puts before the reason for which a prolog failed."""
_LOST_PROCESS = "the machine's process ended unexpectedly"
_TIMES = ("stime", "etime", "pstime", "petime", "rstime", "retime", "estime", "eetime")


class Step(Enum):
    """What to do with the supervisor once the record is saved."""

    NOTHING = "nothing"
    HALT = "halt"
    REBOOT = "reboot"
    KILL = "kill"
    START_AGAIN = "start again"
    PAUSE = "pause"
    RESUME = "resume"


def placed(record: Record, now: int) -> None:
    """The scheduler has found a host: the prolog begins."""
    record.enter(Lcm.PROLOG)
    record.sched_message = ""
    _add_history(record, stime=now, pstime=now)


def reached(record: Record, step: Lcm, now: int) -> bool:
    """The supervisor has reached PROLOG, BOOT or RUNNING. False if the instance is no longer wanted."""
    if record.state == State.PENDING and step == Lcm.PROLOG:
        # The process that started the supervisor was killed before it could commit.
        placed(record, now)
        return True
    if record.lcm_state in STARTING_AGAIN:
        if step == Lcm.RUNNING:
            record.enter(Lcm.RUNNING)
        return True
    if step == record.lcm_state:
        return True
    if (record.lcm_state, step) == (Lcm.PROLOG, Lcm.BOOT):
        _stamp(record, now, "petime", "rstime")
    elif (record.lcm_state, step) != (Lcm.BOOT, Lcm.RUNNING):
        return False
    record.enter(step)
    return True


def failed(record: Record, step: Lcm, message: str, now: int) -> None:
    """The prolog or the boot has failed."""
    if record.lcm_state == Lcm.PROLOG and step == Lcm.PROLOG:
        record.enter(Lcm.PROLOG_FAILURE)
    elif record.lcm_state in (Lcm.PROLOG, Lcm.BOOT):
        _stamp(record, now, "retime")
        record.enter(Lcm.BOOT_FAILURE)
    elif record.lcm_state in STARTING_AGAIN:
        machine_gone(record, now)
    else:
        return
    record.message, record.message_time = message, now


def machine_gone(record: Record, now: int, reason: str = _LOST_PROCESS) -> None:
    """The guest has ended (without a ``reason``), or its supervisor was found dead."""
    if record.state != State.ACTIVE:
        return
    if record.lcm_state in (Lcm.PROLOG, Lcm.BOOT):
        failed(record, Lcm(record.lcm_state), _LOST_PROCESS, now)
    elif record.lcm_state in (Lcm.SHUTDOWN_POWEROFF, Lcm.BOOT_POWEROFF):
        _stamp(record, now, "retime", "etime")
        record.leave_active(State.POWEROFF)
    elif record.lcm_state in (Lcm.SHUTDOWN, Lcm.CLEANUP_DELETE):
        done(record, now)
    elif record.lcm_state == Lcm.CLEANUP_RESUBMIT:
        _recreated(record, now)
    elif record.lcm_state in (Lcm.RUNNING, Lcm.BOOT_UNKNOWN):
        record.enter(Lcm.UNKNOWN)
        if reason:
            record.user_attributes.append((MONITORING_ERROR_ATTRIBUTE, f"{asctime(localtime(now))}: {reason}"))
    record.cpu_percent = 0.0


def _recreated(record: Record, now: int) -> None:
    """The machine is removed, and the instance pending again."""
    _close_history(record, now)
    record.message, record.message_time = "", 0
    record.ssh_address, record.ssh_port = "", 0
    record.memory_kib = record.polled = 0
    record.leave_active(State.PENDING)


def done(record: Record, now: int) -> None:
    record.etime = now
    _close_history(record, now)
    record.leave_active(State.DONE)
    record.cpu_percent = 0.0


def _close_history(record: Record, now: int) -> None:
    if record.history:
        last = record.history[-1]
        if last["rstime"] and not last["retime"]:
            last["retime"] = now
        if not last["etime"]:
            last.update(etime=now, estime=now, eetime=now)


def start_again(record: Record, now: int) -> bool:
    """Boot a machine that ran before, after POWEROFF or UNKNOWN or for a reboot. False if the state does not allow it."""
    if record.state == State.POWEROFF:
        record.enter(Lcm.BOOT_POWEROFF)
        _add_history(record, stime=now, rstime=now)
    elif record.state_name in _RAN:
        record.enter(Lcm.BOOT_UNKNOWN)
    else:
        return False
    record.user_attributes = [pair for pair in record.user_attributes if pair[0] != MONITORING_ERROR_ATTRIBUTE]
    return True


def begin(record: Record, verb: Verb, user: User, now: int) -> Step:
    """Begin an action of a user and return the step that must follow. Raises APIError if the state does not allow it."""
    allowed, beginning, number = _BEGINNINGS[verb]
    before = record.state_name
    if before not in allowed:
        raise _wrong_state(record, verb)
    step = beginning(record, now)
    nothing_done = step is Step.NOTHING and record.state_name == before
    if number and record.history and not nothing_done:
        record.history[-1].update(action=number, uid=user.id, gid=user.group[0])
    return step


def _end(record: Record, now: int) -> Step:
    if record.lcm_state == Lcm.RUNNING:
        record.enter(Lcm.SHUTDOWN)
        return Step.HALT
    return _end_hard(record, now)


def _end_hard(record: Record, now: int) -> Step:
    if record.state == State.DONE:
        return Step.NOTHING
    # The process of a machine that was suspended or stopped is still there.
    if record.state not in (State.ACTIVE, State.SUSPENDED, State.STOPPED):
        done(record, now)
        return Step.NOTHING
    return _enter(Lcm.CLEANUP_DELETE, Step.KILL, record, now)


def _recreate(record: Record, now: int) -> Step:
    return Step.NOTHING if record.state == State.PENDING else _enter(Lcm.CLEANUP_RESUBMIT, Step.KILL, record, now)


def _poweroff(record: Record, now: int) -> Step:
    step = Step.KILL if record.lcm_state == Lcm.UNKNOWN else Step.HALT
    return _enter(Lcm.SHUTDOWN_POWEROFF, step, record, now)


def _start_again(record: Record, now: int) -> Step:
    if record.state == State.SUSPENDED:
        record.enter(Lcm.BOOT_SUSPENDED)
        _add_history(record, stime=now, rstime=now)
        return Step.RESUME
    return _rest(State.PENDING, record, now) if record.state in (State.STOPPED, State.UNDEPLOYED) else Step.START_AGAIN


def _enter(lcm_state: Lcm, step: Step, record: Record, now: int) -> Step:
    record.enter(lcm_state)
    return step


def _rest(state: State, record: Record, now: int) -> Step:
    record.leave_active(state)
    return Step.NOTHING


def _stop(record: Record, now: int) -> Step:
    if record.hypervisor != SIMULATED:
        # The memory of a real machine would have to be saved on the disk.
        raise _wrong_state(record, Verb.STOP)
    if record.state == State.SUSPENDED:
        return _rest(State.STOPPED, record, now)
    return _enter(Lcm.SAVE_STOP, Step.PAUSE, record, now)


def paused(record: Record, now: int) -> None:
    """The machine is paused and keeps its memory."""
    if record.lcm_state in SAVING:
        _stamp(record, now, "retime", "etime")
        record.leave_active(State.SUSPENDED if record.lcm_state == Lcm.SAVE_SUSPEND else State.STOPPED)
        record.cpu_percent = 0.0


def was_stopped(record: Record) -> bool:
    """Whether a pending instance was stopped, so that its process may still exist."""
    return bool(record.history) and record.history[-1]["action"] == _STOP


_FAILED = {lcm.name for lcm in Lcm if lcm.name.endswith("_FAILURE")}
_RAN = {"RUNNING", "UNKNOWN"}
_ENDS = _RAN | _FAILED | {"INIT", "PENDING", "HOLD", "CLONING"} | {"SUSPENDED", "POWEROFF", "STOPPED", "UNDEPLOYED", "DONE"}
_ALL = {state.name for state in (*State, *Lcm)}

_STOP = 9
# For each action the states that allow it, what it does, and OpenNebula's number for HISTORY/ACTION if it has one.
_BEGINNINGS: dict[Verb, tuple[set[str], Callable[[Record, int], Step], int]] = {
    Verb.TERMINATE: (_ENDS, _end, 27),
    Verb.TERMINATE_HARD: (_ENDS | {"SHUTDOWN"}, _end_hard, 28),
    Verb.TERMINATE_HARD_5: (_ENDS, _end_hard, 28),
    Verb.SHUTDOWN: (_RAN | {"POWEROFF", "SUSPENDED"}, _end, 3),
    Verb.SHUTDOWN_HARD: (_RAN | {"POWEROFF", "SUSPENDED"}, _end_hard, 4),
    Verb.SHUTDOWN_RUNNING: ({"RUNNING"}, _end, 3),
    Verb.CANCEL: ({"RUNNING"}, _end_hard, 4),
    Verb.DELETE: (_ALL, _end_hard, 13),
    Verb.RECREATE: (_ALL - {"SUSPENDED", "DONE"}, _recreate, 14),
    Verb.POWEROFF: (_RAN, _poweroff, 19),
    Verb.POWEROFF_HARD: (_RAN | {"SHUTDOWN_POWEROFF"}, partial(_enter, Lcm.SHUTDOWN_POWEROFF, Step.KILL), 20),
    Verb.POWEROFF_HARD_5: (_RAN, partial(_enter, Lcm.SHUTDOWN_POWEROFF, Step.KILL), 20),
    Verb.REBOOT: ({"RUNNING"}, lambda record, now: Step.REBOOT, 15),
    Verb.REBOOT_HARD: ({"RUNNING"}, _start_again, 16),
    Verb.HOLD: ({"PENDING"}, partial(_rest, State.HOLD), 0),
    Verb.RELEASE: ({"HOLD"}, partial(_rest, State.PENDING), 0),
    Verb.RESUME: ({"POWEROFF", "SUSPENDED", "STOPPED", "UNDEPLOYED", "UNKNOWN"}, _start_again, 0),
    Verb.RESUME_SAVED: ({"SUSPENDED", "STOPPED"}, _start_again, 0),
    Verb.RESTART: ({"UNKNOWN"}, _start_again, 0),
    Verb.SUSPEND: ({"RUNNING"}, partial(_enter, Lcm.SAVE_SUSPEND, Step.PAUSE), 10),
    Verb.STOP: ({"RUNNING", "SUSPENDED"}, _stop, _STOP),
    Verb.UNDEPLOY: (set(), _end, 0),  # refused in every state
}


def _wrong_state(record: Record, verb: Verb) -> WrongState:
    text = f"This action is not available for state {record.state_name}"
    if verb in (Verb.TERMINATE, Verb.TERMINATE_HARD, Verb.TERMINATE_HARD_5):
        text = f"Could not terminate VM {record.id}, wrong state {record.state_name}."
    return WrongState(ErrorCode.ACTION, text)


def _add_history(record: Record, **times: int) -> None:
    record.history.append({**dict.fromkeys(_TIMES, 0), **times, "action": 0, "uid": -1, "gid": -1})


def _stamp(record: Record, now: int, *times: str) -> None:
    if record.history:
        record.history[-1].update(dict.fromkeys(times, now))
