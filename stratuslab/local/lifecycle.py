"""The life of an instance as changes to its record: each function is one arrow of the state diagram, and does nothing else.

PENDING -> PROLOG -> BOOT -> RUNNING -> UNKNOWN      (the guest halted itself, or its process was killed)
              |        |        |-> SHUTDOWN -> DONE
              |        |        `-> SHUTDOWN_POWEROFF -> POWEROFF -> BOOT_POWEROFF -> RUNNING
              |        `-> BOOT_FAILURE
              `-> PROLOG_FAILURE                     any -> CLEANUP_DELETE -> DONE
"""

from __future__ import annotations

from enum import Enum

from stratuslab.local.flavours import Verb
from stratuslab.local.record import Record, User
from stratuslab.local.refusal import Refusal
from stratuslab.opennebula.numbers import ErrorCode
from stratuslab.opennebula.states import Lcm, State

HALTING = (Lcm.SHUTDOWN, Lcm.SHUTDOWN_POWEROFF)
STARTING_AGAIN = (Lcm.BOOT_UNKNOWN, Lcm.BOOT_POWEROFF)
WATCHED = frozenset({Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING, Lcm.CLEANUP_DELETE, *HALTING, *STARTING_AGAIN})
"""The LCM_STATEs in which the instance has a supervisor; when that is dead, the instance is :func:`bereaved`."""

_LOST_PROCESS = "the machine's process ended unexpectedly"
# OpenNebula's numbers for HISTORY/ACTION.
_ACTION_NUMBERS = {
    Verb.TERMINATE: 28,
    Verb.TERMINATE_HARD: 29,
    Verb.POWEROFF: 19,
    Verb.POWEROFF_HARD: 20,
    Verb.REBOOT: 15,
    Verb.REBOOT_HARD: 16,
}
_TIMES = ("stime", "etime", "pstime", "petime", "rstime", "retime", "estime", "eetime")


class Step(Enum):
    """What is left to do with the instance's supervisor once the record is saved."""

    NOTHING = "nothing"
    HALT = "halt"
    REBOOT = "reboot"
    KILL = "kill"
    START_AGAIN = "start again"


def placed(record: Record, now: int) -> None:
    """A host was found: the prolog begins."""
    record.enter(Lcm.PROLOG)
    record.waiting = ""
    record.history.append({**dict.fromkeys(_TIMES, 0), "stime": now, "pstime": now, "action": 0, "uid": -1, "gid": -1})


def reached(record: Record, step: Lcm, now: int) -> bool:
    """The supervisor is at PROLOG, BOOT or RUNNING; whether the instance is still wanted there."""
    if record.state == State.PENDING and step == Lcm.PROLOG:
        # Its spawner was killed before it could say so.
        placed(record, now)
        return True
    if record.state != State.ACTIVE:
        return False
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
    """The prolog or the boot went wrong."""
    if record.state != State.ACTIVE:
        return
    if record.lcm_state == Lcm.PROLOG and step == Lcm.PROLOG:
        record.enter(Lcm.PROLOG_FAILURE)
    elif record.lcm_state in (Lcm.PROLOG, Lcm.BOOT):
        _stamp(record, now, "retime")
        record.enter(Lcm.BOOT_FAILURE)
    elif record.lcm_state in STARTING_AGAIN:
        bereaved(record, now)
    else:
        return
    record.message, record.message_time = message, now


def bereaved(record: Record, now: int) -> None:
    """The guest has ended, or its supervisor was found dead: on to what that means in the record's state."""
    if record.state != State.ACTIVE:
        return
    if record.lcm_state in (Lcm.PROLOG, Lcm.BOOT):
        failed(record, Lcm(record.lcm_state), _LOST_PROCESS, now)
    elif record.lcm_state in (Lcm.SHUTDOWN_POWEROFF, Lcm.BOOT_POWEROFF):
        _stamp(record, now, "retime", "etime")
        record.rest(State.POWEROFF)
    elif record.lcm_state in (Lcm.SHUTDOWN, Lcm.CLEANUP_DELETE):
        done(record, now)
    elif record.lcm_state in (Lcm.RUNNING, Lcm.BOOT_UNKNOWN):
        record.enter(Lcm.UNKNOWN)
    record.cpu_percent = 0.0


def done(record: Record, now: int) -> None:
    """The instance's end."""
    record.etime = now
    if record.history:
        last = record.history[-1]
        if last["rstime"] and not last["retime"]:
            last["retime"] = now
        if not last["etime"]:
            last.update(etime=now, estime=now, eetime=now)
    record.rest(State.DONE)
    record.cpu_percent = 0.0


def start_again(record: Record, now: int) -> bool:
    """Boot a machine that was on before: after POWEROFF, UNKNOWN, or for a reboot; whether the state allows it."""
    running = record.state == State.ACTIVE and record.lcm_state in (Lcm.RUNNING, Lcm.UNKNOWN)
    if record.state != State.POWEROFF and not running:
        return False
    record.enter(Lcm.BOOT_POWEROFF if record.state == State.POWEROFF else Lcm.BOOT_UNKNOWN)
    if record.lcm_state == Lcm.BOOT_POWEROFF:
        record.history.append({**dict.fromkeys(_TIMES, 0), "stime": now, "rstime": now, "action": 0, "uid": -1, "gid": -1})
    return True


def begin(record: Record, verb: Verb, user: User, now: int) -> Step:
    """Begin what a user asked for; the step that must follow. Raises Refusal where the state does not allow it."""
    step = _BEGINNINGS[verb](record, now)
    if verb in _ACTION_NUMBERS and record.history and step is not Step.NOTHING:
        record.history[-1].update(action=_ACTION_NUMBERS[verb], uid=user.id, gid=user.group[0])
    return step


def _terminate(record: Record, now: int) -> Step:
    if record.state == State.ACTIVE and record.lcm_state == Lcm.RUNNING:
        _stamp(record, now, "estime")
        record.enter(Lcm.SHUTDOWN)
        return Step.HALT
    if record.state == State.ACTIVE and record.lcm_state in WATCHED:
        raise Refusal(ErrorCode.ACTION, f"Could not terminate VM {record.id}, wrong state {record.state_name}.")
    return _terminate_hard(record, now)


def _terminate_hard(record: Record, now: int) -> Step:
    if record.state == State.DONE:
        return Step.NOTHING
    if record.state != State.ACTIVE:
        done(record, now)
        return Step.NOTHING
    record.enter(Lcm.CLEANUP_DELETE)
    return Step.KILL


def _poweroff(record: Record, now: int) -> Step:
    _require(record, Lcm.RUNNING, Lcm.UNKNOWN)
    unknown = record.lcm_state == Lcm.UNKNOWN
    record.enter(Lcm.SHUTDOWN_POWEROFF)
    return Step.KILL if unknown else Step.HALT


def _poweroff_hard(record: Record, now: int) -> Step:
    _require(record, Lcm.RUNNING, Lcm.UNKNOWN, Lcm.SHUTDOWN_POWEROFF)
    record.enter(Lcm.SHUTDOWN_POWEROFF)
    return Step.KILL


def _reboot(record: Record, now: int) -> Step:
    _require(record, Lcm.RUNNING)
    return Step.REBOOT


def _reboot_hard(record: Record, now: int) -> Step:
    _require(record, Lcm.RUNNING)
    return Step.START_AGAIN


def _resume(record: Record, now: int) -> Step:
    if record.state != State.POWEROFF:
        _require(record, Lcm.UNKNOWN)
    return Step.START_AGAIN


def _hold(record: Record, now: int) -> Step:
    if record.state != State.PENDING:
        raise _wrong_state(record)
    record.rest(State.HOLD)
    return Step.NOTHING


def _release(record: Record, now: int) -> Step:
    if record.state != State.HOLD:
        raise _wrong_state(record)
    record.rest(State.PENDING)
    return Step.NOTHING


def _suspend(record: Record, now: int) -> Step:
    _require(record, Lcm.RUNNING)
    raise Refusal(ErrorCode.ACTION, "the embedded cloud's machines cannot be suspended, stopped or undeployed")


_BEGINNINGS = {
    Verb.TERMINATE: _terminate,
    Verb.TERMINATE_HARD: _terminate_hard,
    Verb.POWEROFF: _poweroff,
    Verb.POWEROFF_HARD: _poweroff_hard,
    Verb.REBOOT: _reboot,
    Verb.REBOOT_HARD: _reboot_hard,
    Verb.HOLD: _hold,
    Verb.RELEASE: _release,
    Verb.RESUME: _resume,
    Verb.SUSPEND: _suspend,
    Verb.STOP: _suspend,
    Verb.UNDEPLOY: _suspend,
}


def transfer_failure(message: str) -> str:
    """The words that OpenNebula puts before the reason why a prolog failed."""
    return f"Error executing image transfer script: {message}"


class WrongState(Refusal):
    """The instance's state does not allow the action."""


def _wrong_state(record: Record) -> WrongState:
    return WrongState(ErrorCode.ACTION, f"This action is not available for state {record.state_name}")


def _require(record: Record, *states: Lcm) -> None:
    if record.state != State.ACTIVE or record.lcm_state not in states:
        raise _wrong_state(record)


def _stamp(record: Record, now: int, *times: str) -> None:
    if record.history:
        record.history[-1].update(dict.fromkeys(times, now))
