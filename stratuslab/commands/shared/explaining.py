"""Why instances are as they are: what describe adds with -v, and with -vv all that is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stratuslab.answers import InstanceRow, Portrait
from stratuslab.commands.base import Session
from stratuslab.commands.shared.side_by_side import in_order
from stratuslab.errors import StratusLabError
from stratuslab.opennebula.instance import Instance

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud

CONSOLE_LINES = 10
"""How many of the console's last lines are shown of an instance that failed."""


def explains(session: Session) -> bool:
    """Whether reasons are wanted: with -v, and where another form or other columns than the guide's are asked for."""
    return session.talk.level >= 1 or not session.shape.plain


def in_full(session: Session, cloud: Cloud, instances: Sequence[Instance]) -> list[Instance]:
    """The instances of a listing, those of which more is to be told with their whole documents: at -vv all of them, else those
    that failed or went away, of which a listing has the reason, but no times."""
    wanted = [one.id for one in instances if session.talk.level >= 2 or _is_short_of_times(session, one)]
    whole = {outcome.item: outcome.value for outcome in in_order(cloud.instance, wanted)} if wanted else {}
    # What cannot be read now (it may have been cleared away meanwhile) is shown as it was listed.
    return [whole.get(instance.id) or instance for instance in instances]


def _is_short_of_times(session: Session, instance: Instance) -> bool:
    if not explains(session) or any(stay.last for stay in instance.stays):
        return False
    from stratuslab.diagnosis.explanation import Kind, explain

    explanation = explain(instance, session.context.clock())
    return explanation is not None and explanation.kind is not Kind.WAITING


def explained(session: Session, rows: Sequence[InstanceRow]) -> list[InstanceRow]:
    """The rows with their explanations, where these are wanted."""
    if not explains(session):
        return list(rows)
    from stratuslab.diagnosis.explanation import explain

    now = session.context.clock()
    return [replace(row, explanation=explain(row.instance, now)) if row.instance else row for row in rows]


def portraits(session: Session, rows: Sequence[InstanceRow]) -> Iterator[Portrait]:
    """All that is known of the instance of each row, at -vv in a table's form."""
    if session.talk.level < 2 or session.shape.form != "table":
        return
    from stratuslab.diagnosis.steps import steps

    now = session.context.clock()
    for row in rows:
        if row.instance is not None:
            yield Portrait(
                instance=row.instance,
                explanation=row.explanation,
                steps=steps(row.instance, now),
                now=now,
                console=_console(session, row.instance) if row.instance.failed else (),
                whole=session.talk.level >= 3,
            )


def _console(session: Session, instance: Instance) -> Sequence[str]:
    """The last lines of the console; none where it cannot be read."""
    from stratuslab.gateway import console

    try:
        return console(session.settings, session.context, instance.id)[-CONSOLE_LINES:]
    except StratusLabError:
        return ()
