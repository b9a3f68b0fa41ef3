"""Waiting until instances are where somebody wants them (--wait-for), and saying why they will not get there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from stratuslab.cloud.endpoint import is_local
from stratuslab.commands.base import Session
from stratuslab.commands.shared.login_address import translated_point
from stratuslab.commands.shared.parallel import Outcome, in_order
from stratuslab.diagnosis.explanation import ExplanationKind, explain
from stratuslab.errors import InstanceFailed, StratusLabError, TimedOut, Unreachable
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import SSH, Lcm, Phase, cannot_reach, has_reached
from stratuslab.output.progress import Progress
from stratuslab.output.reason_text import away, reason
from stratuslab.output.time_format import duration
from stratuslab.ssh.banner import Point, wait_for_ssh
from stratuslab.ssh.listening_points import listening_points

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
_ROUND = 2.0  # seconds that SSH is knocked for before the cloud is asked again whether the machine still runs
_REFUSED_AT_ONCE = 5.0  # seconds from the request to the first look, and between the clocks


@dataclass
class Waited:
    """What became of each instance, by its id: ``latest`` as it was seen last, ``errors`` of those that did not get there,
    ``points`` where SSH was tried; ``begun`` when the waiting began, in seconds since the epoch."""

    begun: float
    latest: dict[int, Instance] = field(default_factory=dict)
    errors: dict[int, StratusLabError] = field(default_factory=dict)
    points: dict[int, list[Point]] = field(default_factory=dict)

    @property
    def reached(self) -> list[int]:
        return [number for number in self.latest if number not in self.errors]


def wait(session: Session, numbers: Sequence[int], goal: str, seconds: float) -> Waited:
    """Wait until the instances are in the state ``goal``, or answer by SSH; a state on the way to Running is also reached by
    what is behind it.

    An instance that failed or went away has an InstanceFailed, which says why; one that was not there in time a TimedOut,
    which says how far it got. Raises nothing for a single instance but KeyboardInterrupt.
    """
    begin = time.monotonic()
    deadline = begin + seconds
    waited = Waited(session.environment.clock())
    waiting = list(numbers)
    if waiting:
        session.messages.step(f"Waiting for {goal.lower()}, at most {duration(int(seconds))}")
    with Progress(session.environment.stderr, session.environment.environ, session.messages.level >= 0) as progress:
        pause = _FIRST_PAUSE
        while waiting:
            now = time.monotonic()
            late = now >= deadline
            for outcome in in_order(lambda number: _look(session, waited, number, goal, deadline), waiting):
                if _is_over(session, waited, outcome, int(time.monotonic() - begin), late):
                    waiting.remove(outcome.item)
            if waiting:
                progress.show(_progress(waited, waiting, len(numbers), int(time.monotonic() - begin)))
                # A round that knocked at SSH servers has taken its time.
                time.sleep(max(min(now + pause, deadline) - time.monotonic(), 0.0))
                pause = min(pause * 1.3, _LONGEST_PAUSE)
    return waited


def _is_over(session: Session, waited: Waited, outcome: Outcome[int, _Look], seconds: int, late: bool) -> bool:
    """Note what was seen of an instance; whether it need not be looked at again."""
    number, look, error = outcome.item, outcome.value, outcome.error
    if look is not None:
        waited.latest[number] = look.instance
        error = look.error
    if not late and (isinstance(error, _NotYet) or (isinstance(error, Unreachable) and number in waited.latest)):
        return False  # a cloud that was there a moment ago may be there again, too
    if isinstance(error, _NotYet):
        error = _too_late(session, waited.latest[number], seconds, error.message)
    if error is not None:
        waited.errors[number] = error
    return True


class _NotYet(StratusLabError):
    """The instance is not there yet; the text says what is missing beside its state."""


@dataclass(frozen=True)
class _Look:
    instance: Instance
    error: StratusLabError | None = None


def _look(session: Session, waited: Waited, number: int, goal: str, deadline: float) -> _Look:
    instance = session.cloud.instance(number)
    before = waited.latest.get(number)
    if _is_hopeless(instance, goal, before) or (goal == "Done" and before and _was_refused(session, instance, waited.begun)):
        return _Look(instance, _hopeless(session, instance))
    if goal == SSH and instance.phase == Phase.UP:
        return _Look(instance, _no_ssh(instance, _points(session, waited, instance), deadline))
    return _Look(instance, None if has_reached(instance.state, instance.lcm_state, goal) else _NotYet(""))


def _is_hopeless(instance: Instance, goal: str, before: Instance | None) -> bool:
    """Whether waiting alone will not bring the instance there. ``before`` is how it was seen the last time."""
    if goal == "Done":
        # Seen twice: the first time may be from before it was asked to end.
        return before is not None and (cannot_reach(instance.state, instance.lcm_state, goal) or _came_back(instance, before))
    return cannot_reach(instance.state, instance.lcm_state, goal)


def _came_back(instance: Instance, before: Instance) -> bool:
    """Whether it was being shut down and runs again: its driver could not do it."""
    return before.lcm_state == Lcm.SHUTDOWN and instance.phase == Phase.UP


def _was_refused(session: Session, instance: Instance, begun: float) -> bool:
    """Whether its driver refused to shut it down, so fast that no look saw it try. An earlier refusal may be in the document."""
    explanation = explain(instance, session.environment.clock())
    if explanation is None or explanation.kind is not ExplanationKind.REFUSED:
        return False
    return (explanation.since or 0) >= begun - _REFUSED_AT_ONCE


def _hopeless(session: Session, instance: Instance) -> InstanceFailed:
    explanation = explain(instance, session.environment.clock())
    if explanation:
        return InstanceFailed(f"machine {instance.id} {reason(explanation)}")
    if instance.phase == Phase.UP:
        said = f"machine {instance.id} is {instance.state_label} again: the cloud could not shut it down"
        return InstanceFailed(said, f"stratus-kill-instance {instance.id} ends it")
    return InstanceFailed(f"machine {instance.id} {away(instance)}")


def _points(session: Session, waited: Waited, instance: Instance) -> list[Point]:
    """Where the instance's SSH server may answer; a cloud that translates ports is asked once."""
    if not waited.points.get(instance.id):
        translated = translated_point(session, instance)
        waited.points[instance.id] = (
            [translated] if translated else listening_points(instance.nics, instance.hostname, reported=instance.guest_addresses)
        )
    return waited.points[instance.id]


def _no_ssh(instance: Instance, points: list[Point], deadline: float) -> StratusLabError | None:
    if not points and not instance.nics:
        return InstanceFailed(f"machine {instance.id} has no address to connect to")
    if not points:
        return _NotYet("it has no address to connect to")  # where the cloud gives none its guest may report one
    try:
        wait_for_ssh(points, min(deadline, time.monotonic() + _ROUND))
    except TimedOut as error:
        return _NotYet(error.message)
    return None


def _too_late(session: Session, instance: Instance, seconds: int, missing: str) -> TimedOut:
    explanation = explain(instance, session.environment.clock())
    why = f", it {reason(explanation)}" if explanation else f", {missing}" if missing else ""
    said = f"machine {instance.id} is still {instance.state_label} after {duration(seconds)}{why}"
    if instance.phase == Phase.UP and is_local(session.settings.endpoint.value):
        return TimedOut(said, f"stratus-describe-instance --console {instance.id} shows what it says")
    return TimedOut(said)


def _progress(waited: Waited, waiting: Sequence[int], count: int, seconds: int) -> str:
    states = Counter(waited.latest[number].state_label if number in waited.latest else "-" for number in waiting)
    if count == 1:
        return f"machine {waiting[0]}: {next(iter(states))}, {duration(seconds)}"
    told = ", ".join(f"{number} {state}" for state, number in states.most_common(3))
    return f"{count - len(waiting)} of {count} machines are there; {told}; {duration(seconds)}"
