"""Showing a table again and again (--watch), until nothing in it can change any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from stratuslab.commands.base import WAIT_TIMEOUT
from stratuslab.commands.session import Session
from stratuslab.commands.shared.parallel import report
from stratuslab.commands.shared.waiting import patiently
from stratuslab.environment import is_terminal
from stratuslab.errors import StratusLabError, Unreachable, UsageError
from stratuslab.opennebula.states import Phase
from stratuslab.results import InstanceRow, Result, WatchedInstances

Look = Callable[[], tuple[Sequence[InstanceRow], list[StratusLabError]]]
"""Gives the rows as they are now, and why those of some clouds are missing."""


def watch(session: Session, look: Look) -> Iterator[Result]:
    """The table that ``look`` gives, again and again. Where nobody sees a terminal only those that differ are told.

    It ends when none of the instances can change by itself: all are done, failed, or put aside. Each time the cloud may be
    unreachable for as long as commands wait. One of several clouds that cannot be read is named, and the others are shown;
    its error is raised at the end. Raises UsageError for another form than a table.
    """
    if session.output.format != "table":
        raise UsageError(f"--watch cannot be combined with --format {session.output.format}", "it shows tables")
    last: list[tuple[object, ...]] | None = None
    live = is_terminal(session.environment.stdout)
    seconds = session.settings.wait_timeout(WAIT_TIMEOUT)
    complete = time.monotonic()
    while True:
        found, errors = patiently(session, look, seconds, known=last is not None)
        rows = session.output.selected(found)
        for error in errors:
            session.messages.note(str(error))
        away = [error for error in errors if isinstance(error, Unreachable)]
        if not away:
            complete = time.monotonic()
        seen = [_seen(row) for row in rows]
        if live or seen != last:
            yield WatchedInstances(rows)
        last = seen
        settled = all(row.instance is not None and row.instance.phase == Phase.AWAY for row in rows)
        if settled and (not away or time.monotonic() - complete > seconds):
            return report(session.messages, errors, 1, "clouds")
        time.sleep(session.options.watch)


def _seen(row: InstanceRow) -> tuple[object, ...]:
    """What the table shows of a row, without what only time changes."""
    cpu = None if row.cpu_percent is None else f"{row.cpu_percent:.0f}"
    return (row.cloud, row.id, row.state, row.vcpu, row.memory_kib, cpu, *row.places, row.name, row.note)
