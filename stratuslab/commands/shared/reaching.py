"""Waiting for an instance: until the cloud says that it runs, and until its SSH server says so itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from stratuslab.commands.base import Session
from stratuslab.diagnosis.explanation import explain
from stratuslab.errors import InstanceFailed, TimedOut, Unreachable
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Phase
from stratuslab.output.progress import Progress
from stratuslab.output.reason_text import away, reason
from stratuslab.ssh.banner import Point, read_banner, wait_for_ssh

_POLL = 1.0
_LOOK_AGAIN = 5.0
"""Seconds between looks at the state of an instance whose SSH server does not answer."""


def until_up(session: Session, number: int, deadline: float, progress: Progress) -> Instance:
    """The instance once it runs; ``deadline`` is a time of time.monotonic().

    Raises InstanceFailed, with the reason and what to do, for one that does not run and will not by waiting; TimedOut.
    """
    began = time.monotonic()
    told = progress.visible
    instance = session.cloud.instance(number)
    while True:
        refuse_if_away(session, instance)
        if instance.phase == Phase.UP:
            return instance
        now = time.monotonic()
        if now > deadline:
            progress.clear()
            raise TimedOut(_still(session, instance), "wait longer with --wait-timeout, or see stratus-describe-instance -v")
        if not told:
            session.messages.note(f"instance {number} is {instance.state_label}, waiting for it")
            told = True
        progress.show(f"Instance {number} is {instance.state_label} ({now - began:.0f} s)")
        time.sleep(max(0.0, min(_POLL, deadline - now)))
        instance = _looked_at_again(session, instance)


def _looked_at_again(session: Session, instance: Instance) -> Instance:
    """The instance as it is now, or as it was: a cloud that was there a moment ago may be there again, too."""
    try:
        return session.cloud.instance(instance.id)
    except Unreachable as error:
        session.messages.step(f"{error.message}; asking again")
        return instance


def _still(session: Session, instance: Instance) -> str:
    explanation = explain(instance, session.environment.clock())
    why = f": it {reason(explanation)}" if explanation else ""
    return f"instance {instance.id} is still {instance.state_label}{why}"


def refuse_if_away(session: Session, instance: Instance) -> None:
    """Raise InstanceFailed, which says why, for an instance that does not run and will not by waiting."""
    if instance.phase >= Phase.LEAVING:
        explanation = explain(instance, session.environment.clock())
        why = reason(explanation) if explanation else away(instance)
        raise InstanceFailed(f"instance {instance.id} cannot be connected to, it is {instance.state_label}: it {why}")


def until_ssh(
    session: Session,
    instance: Instance,
    points: Sequence[Point],
    deadline: float,
    progress: Progress,
    read: Callable[[str, int, float], object] = read_banner,
) -> Point:
    """The first of the points where an SSH server answers. Raises TimedOut, and InstanceFailed when it ends meanwhile."""
    began = looked = time.monotonic()

    def on_wait(seen: str) -> None:
        nonlocal looked
        now = time.monotonic()
        progress.show(f"Waiting for the SSH server of instance {instance.id} ({now - began:.0f} s): {seen}")
        if now - looked > _LOOK_AGAIN:
            looked = now
            refuse_if_away(session, _looked_at_again(session, instance))

    return wait_for_ssh(points, deadline, on_wait=on_wait, read=read)
