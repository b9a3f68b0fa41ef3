"""Adds what ``stratus-describe-instance`` shows with -v (reasons) and -vv (everything that is known)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stratuslab.commands.session import Session
from stratuslab.errors import StratusLabError
from stratuslab.opennebula.instance import Instance
from stratuslab.results import InstanceDetails, InstanceRow

CONSOLE_LINES = 10
"""Number of console lines to show for an instance that failed."""


def explained(session: Session, rows: Sequence[InstanceRow]) -> list[InstanceRow]:
    """The rows with their explanations, if -v is given or the output differs from the default."""
    if session.messages.level < 1 and session.output.is_default:
        return list(rows)
    from stratuslab.diagnosis.explanation import explain

    now = session.environment.clock()
    return [row._replace(explanation=explain(row.instance, now)) if row.instance else row for row in rows]


def all_details(session: Session, rows: Sequence[InstanceRow]) -> Iterator[InstanceDetails]:
    """The details of each row's instance, with -vv and only for tables."""
    if session.messages.level < 2 or session.output.format != "table":
        return
    from stratuslab.diagnosis.timeline import steps

    now = session.environment.clock()
    for row in rows:
        if row.instance is not None:
            yield InstanceDetails(
                instance=row.instance,
                explanation=row.explanation,
                steps=steps(row.instance, now),
                now=now,
                console=_console(session, row.instance) if row.instance.failed else (),
                whole=session.messages.level >= 3,
            )


def _console(session: Session, instance: Instance) -> Sequence[str]:
    """The last lines of the console; none if it cannot be read."""
    from stratuslab.connections import console

    try:
        return console(session.settings, session.environment, instance.id)[-CONSOLE_LINES:]
    except StratusLabError:
        return ()
