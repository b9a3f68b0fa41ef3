"""Waiting for instances, as run, describe, connect and shutdown do: until they are in a state, or answer by SSH.

A cloud that cannot be reached is asked again as long as the time lasts; what it refuses (AuthenticationError, NotFound) is final.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import TypeVar

from stratuslab.cloud.endpoint import is_local
from stratuslab.commands.session import Session
from stratuslab.commands.shared.login_address import login_points
from stratuslab.commands.shared.parallel import in_order
from stratuslab.diagnosis.explanation import ExplanationKind, explain
from stratuslab.errors import InstanceFailed, StratusLabError, TimedOut, Unreachable
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import SSH, Lcm, Phase, State, cannot_reach, has_reached
from stratuslab.output.reason_text import away, reason
from stratuslab.output.status_line import Progress
from stratuslab.output.time_format import duration
from stratuslab.ssh.banner import Knocking, Point, ReadBanner, read_banner

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 2.0  # seconds between looks
_TICK = 1.0  # seconds between changes of the line that shows the progress
_LAST_TRY = 0.25  # seconds that an SSH server has to answer when the time is over already
_REFUSED_AT_ONCE = 5.0  # seconds from the request to the first look, and between the clocks

_Value = TypeVar("_Value")

Way = Callable[[Instance], tuple[Sequence[Point], ReadBanner | None]]
"""Where an instance's SSH server may answer, and how its banner is read (None: not at all, the first point is taken)."""


def patiently(session: Session, ask: Callable[[], _Value], seconds: float, *, known: bool = False) -> _Value:
    """What ``ask`` gives. A cloud that cannot be reached is asked again, as long as the time lasts; one that is not ``known`` to
    have answered before only where that can help."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    with _progress(session) as progress:
        while True:
            try:
                return ask()
            except Unreachable as error:
                now = time.monotonic()
                if now >= deadline or (error.lasting and not known):
                    raise
                session.messages.step(f"{error.message}; asking again")
                progress.show(f"{error.message}; asking again")
            time.sleep(min(pause, deadline - now))
            pause = min(pause * 1.3, _LONGEST_PAUSE)


def wait(
    session: Session,
    numbers: Sequence[int],
    goal: str,
    seconds: float,
    way: Way | None = None,
    *,
    visible: bool = True,
    announce: bool = False,
    asked_for: bool = False,
) -> Waited:
    """Wait until the instances are in the state ``goal`` or past it on the way to Running, or answer by SSH (``way`` says where).

    An instance that failed or went away has an InstanceFailed, which says why; one that was not there in time a TimedOut,
    which says how far it got. Raises nothing for a single instance but KeyboardInterrupt. A line shows the progress where it is
    to be ``visible``; where nobody sees it, and there is something to ``announce``, a note says that an instance is waited for.
    ``asked_for`` says that the cloud was asked for the goal just now: what is seen first may be from before.
    """
    messages = session.messages
    if numbers and messages.level >= 1:
        messages.step(f"Waiting for {goal.lower()}, at most {duration(round(seconds))}")
    elif numbers and not announce:
        messages.hint(f"waiting until {_have_reached(numbers, goal)}, at most {duration(round(seconds))}")
    way = way or (lambda instance: (login_points(session, instance), read_banner))
    with _progress(session, visible) as progress, closing(Waited(session, goal, seconds, way, progress, asked_for)) as waited:
        waited.wait(numbers, announce and not progress.visible)
    if waited.reached and not announce:
        passed = duration(int(session.environment.clock() - waited.begun))
        messages.hint(f"{_have_reached(waited.reached, goal)} after {passed}")
    return waited


def _have_reached(numbers: Sequence[int], goal: str) -> str:
    who = f"machine {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} machines are"
    return f"{who} {'ready for SSH' if goal == SSH else goal.lower()}"


def _progress(session: Session, visible: bool = True) -> Progress:
    # With -v other lines come meanwhile, and would stand behind it.
    environment = session.environment
    return Progress(environment.stderr, environment.environ, visible and session.messages.level == 0)


class _NotYet(StratusLabError):
    """The instance is not there yet; the text says what is missing beside its state."""


_AT_REST = (State.POWEROFF, State.SUSPENDED, State.STOPPED, State.UNDEPLOYED)
_LAG = 15.0  # seconds


class Waited:
    """Instances that are waited for, and what became of each, by its id: ``latest`` as it was seen last, ``errors`` of those that
    did not get there, ``answered`` where SSH did; ``begun`` when the waiting began, in seconds since the epoch."""

    def __init__(self, session: Session, goal: str, seconds: float, way: Way, progress: Progress, asked_for: bool) -> None:
        self._session = session
        self._goal = goal
        self._begin = time.monotonic()
        self._deadline = self._begin + seconds
        self._way = way
        self._knocking = Knocking(self._deadline)
        self._progress = progress
        self._asked_for = asked_for
        self._points: dict[int, Sequence[Point]] = {}
        self._missing: dict[int, str] = {}
        self.begun = session.environment.clock()
        self.latest: dict[int, Instance] = {}
        self.errors: dict[int, StratusLabError] = {}
        self.answered = self._knocking.answered

    @property
    def reached(self) -> list[int]:
        return [number for number in self.latest if number not in self.errors]

    def seen(self, numbers: Iterable[int]) -> list[Instance]:
        """Those of the instances that were seen, in this order."""
        return [self.latest[number] for number in numbers if number in self.latest]

    def close(self) -> None:
        self._knocking.close()

    def wait(self, numbers: Sequence[int], announce: bool) -> None:
        waiting = list(numbers)
        pause = _FIRST_PAUSE
        while waiting:
            now = time.monotonic()
            waiting = self._look(waiting, late=now >= self._deadline)
            for instance in self.seen(waiting) if announce else ():
                if instance.phase != Phase.UP:
                    self._session.messages.note(f"machine {instance.id} is {instance.state_label}, waiting for it")
            announce = False
            self._show(waiting, len(numbers))
            while waiting and (left := min(now + pause, self._deadline) - time.monotonic()) > 0:
                self._knocking.wait(min(left, _TICK))
                waiting = [number for number in waiting if number not in self.answered]
                self._show(waiting, len(numbers))
            pause = min(pause * 1.3, _LONGEST_PAUSE)

    def _look(self, waiting: Sequence[int], late: bool) -> list[int]:
        """Ask the cloud for the instances; those to go on waiting for."""
        found = []
        lost: StratusLabError | None = None
        for outcome in in_order(self._instance, waiting):
            number = outcome.item
            error = self._missing_of(outcome.value, late) if outcome.value is not None else outcome.error
            if not late and isinstance(error, Unreachable) and (number in self.latest or not error.lasting):
                lost, error = error, _NotYet("the cloud does not answer")
            if isinstance(error, _NotYet):
                self._missing[number] = error.message
                if not late:
                    found.append(number)
                    continue
                error = self._too_late(self.latest[number])
            if error is not None:
                self.errors[number] = error
        if lost is not None:
            self._session.messages.step(f"{lost.message}; asking again")
        return found

    def _instance(self, number: int) -> Instance:
        """The instance as it is now; from when it is up its SSH server is tried in the background."""
        instance = self._session.cloud.instance(number)
        if self._goal == SSH and instance.phase == Phase.UP and not self._points.get(number):
            points, read = self._way(instance)
            self._points[number] = points
            if points and read is None:
                self.answered[number] = points[0]
            elif points and read is not None:
                self._knocking.begin(number, points, read)
        return instance

    def _missing_of(self, instance: Instance, late: bool) -> StratusLabError | None:
        """Why an instance is not there (a _NotYet), or never will be."""
        before = self.latest.get(instance.id)
        self.latest[instance.id] = instance
        if self._is_hopeless(instance, before):
            return hopeless(self._session, instance)
        if self._goal != SSH or instance.phase != Phase.UP:
            return None if has_reached(instance.state, instance.lcm_state, self._goal) else _NotYet("")
        if late and instance.id not in self.answered:
            self._knocking.wait(_LAST_TRY)
        if instance.id in self.answered:
            return None
        seen = self._knocking.seen(instance.id)
        # An address that the cloud does not give may be reported by the guest.
        return _NotYet(f"no SSH server answered ({seen})" if seen else "it has no address to connect to")

    def _is_hopeless(self, instance: Instance, before: Instance | None) -> bool:
        """Whether waiting alone will not bring the instance there. ``before`` is how it was seen the last time."""
        fails = cannot_reach(instance.state, instance.lcm_state, self._goal)
        if not self._asked_for and self._goal != "Done":
            return fails
        if has_reached(instance.state, instance.lcm_state, self._goal):
            return False
        # The first sight may be from before the cloud was asked. A busy cloud starts a machine seconds after it has agreed to.
        if before is None:
            return False
        if fails and instance.state == before.state and instance.state in _AT_REST:
            fails = time.monotonic() - self._begin > _LAG
        # Its driver could not shut it down, or power it off.
        came_back = before.lcm_state in (Lcm.SHUTDOWN, Lcm.SHUTDOWN_POWEROFF) and instance.phase == Phase.UP
        return fails or came_back or self._was_refused(instance)

    def _was_refused(self, instance: Instance) -> bool:
        """Whether its driver refused to shut it down, so fast that no look saw it try. An earlier refusal does not count."""
        explanation = explain(instance, self._session.environment.clock())
        if explanation is None or explanation.kind is not ExplanationKind.REFUSED:
            return False
        return (explanation.since or 0) >= self.begun - _REFUSED_AT_ONCE

    def _too_late(self, instance: Instance) -> TimedOut:
        explanation = explain(instance, self._session.environment.clock())
        missing = self._missing[instance.id]
        why = f", it {reason(explanation)}" if explanation else f", {missing}" if missing else ""
        said = f"machine {instance.id} is still {instance.state_label} after {self._passed()}{why}"
        if instance.phase == Phase.UP and is_local(self._session.settings.endpoint.value):
            return TimedOut(said, f"stratus-describe-instance --console {instance.id} shows its console")
        return TimedOut(said, "wait longer with --wait-timeout")

    def _passed(self) -> str:
        return duration(int(time.monotonic() - self._begin))

    def _show(self, waiting: Sequence[int], count: int) -> None:
        if not waiting:
            return
        states = {number: self.latest[number].state_label if number in self.latest else "-" for number in waiting}
        if count == 1:
            missing = self._missing.get(waiting[0], "")
            self._progress.show(f"machine {waiting[0]}: {states[waiting[0]]}, {self._passed()}{missing and ', '}{missing}")
            return
        numbers = ", ".join(f"{number} {state}" for state, number in Counter(states.values()).most_common(3))
        self._progress.show(f"{count - len(waiting)} of {count} machines are ready; {numbers}; {self._passed()}")


def hopeless(session: Session, instance: Instance) -> InstanceFailed:
    """Why waiting does not bring an instance where it should be, and what helps."""
    explanation = explain(instance, session.environment.clock())
    if explanation:
        return InstanceFailed(f"machine {instance.id} {reason(explanation)}")
    if instance.phase == Phase.UP:
        said = f"machine {instance.id} is {instance.state_label} again: the cloud could not shut it down"
        return InstanceFailed(said, f"kill it: stratus-kill-instance {instance.id}")
    return InstanceFailed(f"machine {instance.id} {away(instance)}")
