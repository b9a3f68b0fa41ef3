"""Explains from its document why an instance failed, waits, or does not run."""

from contextlib import suppress
from datetime import datetime, timezone
from enum import Enum
from typing import NamedTuple

from stratuslab.diagnosis.causes import DISKS_NOT_SAVED, LOCKED, Cause, known_cause
from stratuslab.diagnosis.message_cleaning import ServerMessage, clean
from stratuslab.opennebula.history import Action, HistoryRecord
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.lock import Lock
from stratuslab.opennebula.states import Lcm, State


class ExplanationKind(Enum):
    """The kinds of explanations."""

    FAILED = "failed"
    WAITING = "waiting"
    GONE = "gone"
    REFUSED = "refused"  # it runs: the cloud could not shut it down
    LOCKED = "locked"  # it runs, and is locked against changes
    UNREADABLE = "unreadable"  # its document is damaged


class Explanation(NamedTuple):
    """Why an instance is not up, or cannot be terminated.

    ``step`` is the LCM_STATE in which it failed, without FAILURE (``PROLOG``, ``BOOT``, ``PROLOG_MIGRATE``), or the STATE in
    which it waits or rests (``PENDING``, ``POWEROFF``, ``UNKNOWN``); empty if the document does not say. ``since`` is when that
    began, in seconds since the epoch (None if unknown), ``ago`` the seconds from then to now. ``message`` is the server's
    message without noise, not yet safe for a terminal; ``cause`` is its known cause.
    ``lock`` is the lock on the instance, whatever its state.
    """

    kind: ExplanationKind
    step: str = ""
    host: str = ""
    since: int | None = None
    ago: int | None = None
    message: str = ""
    cause: Cause | None = None
    lock: Lock | None = None


_WAITING = (State.PENDING, State.HOLD, State.CLONING)
_ENDED_WELL = (Action.TERMINATE, Action.TERMINATE_HARD, Action.SHUTDOWN, Action.SHUTDOWN_HARD)
_GONE = (State.STOPPED, State.SUSPENDED, State.DONE, State.POWEROFF, State.UNDEPLOYED)


def explain(instance: Instance, now: float) -> Explanation | None:
    """Why the instance failed, waits, is away or cannot be terminated; None if there is nothing to explain. ``now`` is in seconds
    since the epoch."""
    if instance.damage:
        return Explanation(ExplanationKind.UNREADABLE, message=instance.damage)
    if instance.failed:
        return _failure(instance, now)
    if instance.state in _WAITING:
        message = clean(instance.message)
        return _explanation(instance, now, ExplanationKind.WAITING, State(instance.state).name, instance.started, message)
    if instance.state in _GONE:
        # The document of a failed instance that is DONE still says why it failed.
        since = instance.ended or _last_time(instance)
        message = failure_of_done(instance) or ServerMessage()
        return _explanation(instance, now, ExplanationKind.GONE, State(instance.state).name, since, message)
    if instance.state == State.ACTIVE and instance.lcm_state == Lcm.UNKNOWN:
        message = clean(instance.monitoring_error)
        return _explanation(instance, now, ExplanationKind.GONE, Lcm.UNKNOWN.name, instance.last_poll, message)
    return _of_running(instance, now)


def _of_running(instance: Instance, now: float) -> Explanation | None:
    if instance.state != State.ACTIVE or instance.lcm_state != Lcm.RUNNING:
        return None
    message = clean(instance.dated_message)
    if message.step == "SHUTDOWN":
        since = failed_at(instance, now, message) if message.date else 0
        return _explanation(instance, now, ExplanationKind.REFUSED, message.step, since, message)
    if instance.lock is not None:
        return _explanation(instance, now, ExplanationKind.LOCKED, "", instance.lock.since, ServerMessage())._replace(
            cause=LOCKED
        )
    return None


def failure_of_done(instance: Instance) -> ServerMessage | None:
    """Why an instance that is DONE had failed; None if it had not, whatever went wrong before.

    The message stays in a document when the instance is well again, so the history decides: in 3.x and 4.x whether an error
    ended the last record, later the action that ended it (a failed machine cannot be terminated, only deleted).
    """
    message = clean(instance.dated_message)
    if instance.state != State.DONE or not message.text:
        return None
    record = instance.history[-1] if instance.history else HistoryRecord()
    if record.had_error:
        return message
    went_on = ("RUNNING", "SHUTDOWN", "HOTPLUG", "SAVE", "MIGRATE")
    if message.step in went_on or record.action in _ENDED_WELL:
        return None
    if message.step == "TRANSFER":
        return message if record.epilog[0] or not record.running[0] else None
    return None if instance.is_of_3_x and record.running[0] else message


def _failure(instance: Instance, now: float) -> Explanation:
    message = clean(instance.dated_message)
    since = failed_at(instance, now, message)
    step = failed_step(instance, message)
    found = _explanation(instance, now, ExplanationKind.FAILED, step, since, message)
    # A busy disk here is its own, not another machine's.
    is_of_epilog = step.startswith("EPILOG") and (found.cause is None or found.cause.name == "disk in use")
    return found._replace(cause=DISKS_NOT_SAVED) if is_of_epilog else found


def _explanation(
    instance: Instance, now: float, kind: ExplanationKind, step: str, since: int | None, message: ServerMessage
) -> Explanation:
    return Explanation(
        kind=kind,
        step=step,
        host=instance.hostname,
        since=since or None,
        ago=max(int(now) - since, 0) if since else None,
        message=message.text,
        cause=known_cause(message.text),
        lock=instance.lock,
    )


def failed_step(instance: Instance, message: ServerMessage) -> str:
    """The step at which an instance failed: from its state, else its message, else the times of its history."""
    if (state := instance.state_label.upper()).endswith("_FAILURE"):
        return state.removesuffix("_FAILURE")
    # 3.x has one state for all failures.
    if message.step not in ("", "TRANSFER"):
        return message.step
    record = instance.history[-1] if instance.history else HistoryRecord()
    # An instance that its host reported as running had booted, so it failed later.
    booted = "RUNNING" if record.running[0] and instance.last_poll >= record.running[0] and message.step != "TRANSFER" else "BOOT"
    begun = (("EPILOG", record.epilog), (booted, record.running), ("PROLOG", record.prolog))
    otherwise = "PROLOG" if message.step == "TRANSFER" else ""
    # 3.2 notes only the end of a prolog that failed immediately.
    return next((step for step, times in begun if any(times)), otherwise)


def failed_at(instance: Instance, now: float, message: ServerMessage) -> int:
    """When an instance failed; 0 if unknown.

    The date in the server's message is exact, but in the server's unknown time zone. It is used if it makes sense as this
    computer's time or as UTC: not before the last time of the history, and not after now.
    """
    latest = _last_time(instance)
    least = (instance.history[-1].latest_begin or latest) if instance.done and instance.history else latest
    if message.date is not None and least:
        with suppress(OverflowError, ValueError):  # such as 31 November
            moment = datetime(*message.date)
            for zone in (None, timezone.utc):
                when = int(moment.replace(tzinfo=zone).timestamp())
                if least <= when <= now + 1:
                    return when
    return latest


def _last_time(instance: Instance) -> int:
    return max((record.last for record in instance.history), default=0) or instance.started or 0
