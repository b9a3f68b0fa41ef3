"""Why an instance failed, waits, or is away, as its document tells."""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass
from enum import Enum

from stratuslab.diagnosis.causes import Cause, known_cause
from stratuslab.diagnosis.message import Message, clean
from stratuslab.opennebula.history import Stay
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Lcm, State


class Kind(Enum):
    """What there is to explain."""

    FAILED = "failed"
    WAITING = "waiting"
    GONE = "gone"


@dataclass(frozen=True)
class Explanation:
    """Why an instance is not up.

    ``step`` is where it failed, as OpenNebula's LCM_STATE has it without FAILURE (``PROLOG``, ``BOOT``, ``PROLOG_MIGRATE``),
    or the STATE in which it waits or rests (``PENDING``, ``POWEROFF``, ``UNKNOWN``); empty where nobody tells. ``since`` is
    when that began, in seconds since the epoch (None where the document has no time), ``ago`` the seconds from then to now.
    ``message`` are the server's words without noise, not yet safe for a terminal; ``cause`` the known cause behind them.
    """

    kind: Kind
    step: str = ""
    host: str = ""
    since: int | None = None
    ago: int | None = None
    message: str = ""
    cause: Cause | None = None


_WAITING = (State.PENDING, State.HOLD, State.CLONING)
_GONE = (State.STOPPED, State.SUSPENDED, State.DONE, State.POWEROFF, State.UNDEPLOYED)


def explain(instance: Instance, now: float) -> Explanation | None:
    """Why the instance failed, waits or is away; None for one that runs or is on its way. ``now`` is seconds since the epoch."""
    if instance.failed:
        return _failure(instance, now)
    if instance.state in _WAITING:
        return _explanation(instance, now, Kind.WAITING, State(instance.state).name, instance.started, clean(instance.message))
    if instance.state in _GONE:
        # One that is DONE still says why it failed, when it did.
        since = instance.ended or _last_time(instance)
        message = clean(instance.message) if instance.state == State.DONE else Message()
        return _explanation(instance, now, Kind.GONE, State(instance.state).name, since, message)
    if instance.state == State.ACTIVE and instance.lcm_state == Lcm.UNKNOWN:
        return _explanation(instance, now, Kind.GONE, Lcm.UNKNOWN.name, instance.last_poll, Message())
    return None


def _failure(instance: Instance, now: float) -> Explanation:
    message = clean(instance.message)
    since = failed_at(instance, now, message)
    return _explanation(instance, now, Kind.FAILED, failed_step(instance, message), since, message)


def _explanation(instance: Instance, now: float, kind: Kind, step: str, since: int | None, message: Message) -> Explanation:
    return Explanation(
        kind=kind,
        step=step,
        host=instance.hostname,
        since=since or None,
        ago=max(int(now) - since, 0) if since else None,
        message=message.text,
        cause=known_cause(message.text),
    )


def failed_step(instance: Instance, message: Message) -> str:
    """The step at which an instance failed: what its state says, else its message, else the times of its history."""
    if instance.state == State.CLONING_FAILURE:
        return "CLONING"
    if instance.state == State.ACTIVE and instance.lcm_state != Lcm.FAILURE:
        return Lcm(instance.lcm_state or 0).name.removesuffix("_FAILURE")
    # 3.x has one state for all failures.
    if message.step not in ("", "TRANSFER"):
        return message.step
    stay = instance.stays[-1] if instance.stays else Stay()
    begun = (("EPILOG", stay.epilog), ("BOOT", stay.running), ("PROLOG", stay.prolog))
    otherwise = "PROLOG" if message.step == "TRANSFER" else ""
    return next((step for step, times in begun if times[0]), otherwise)


def failed_at(instance: Instance, now: float, message: Message) -> int:
    """When an instance failed; 0 where nothing tells.

    The date before the server's message is exact, but in the server's time zone, which it does not tell. It counts where it
    makes sense as this computer's time or as UTC: not before the last time of the history, and not after now.
    """
    least = _last_time(instance)
    if message.date is not None and least:
        moment = (*message.date, 0, 0, -1)
        for read in (time.mktime, calendar.timegm):
            try:
                when = int(read(moment))
            except (OverflowError, ValueError):
                continue
            if least <= when <= now + 1:
                return when
    return least


def _last_time(instance: Instance) -> int:
    return max((stay.last for stay in instance.stays), default=0) or instance.started or 0
