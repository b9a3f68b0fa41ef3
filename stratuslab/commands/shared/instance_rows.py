"""The rows of instances: fetched, with usage and whole documents only where the output needs them, and explained (-v, -vv)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from stratuslab.commands.session import Session
from stratuslab.commands.shared.parallel import in_order
from stratuslab.errors import StratusLabError
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from stratuslab.output.result_columns import FACTS
from stratuslab.results import InstanceDetails, InstanceFacts, InstanceRow

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud
    from stratuslab.opennebula.instance import Instance

CONSOLE_LINES = 10
"""Number of console lines to show for an instance that failed."""

_USAGE = ("memory_kib", "cpu_percent")
_REASONS = ("message", "cause", "reason")


def listed(
    session: Session, cloud: Cloud, owner: int = Owner.MINE, state: int = PoolState.NOT_DONE, *, shown: bool = True
) -> Iterator[Instance]:
    """The owner's instances in a state (see PoolState), in no order, each as soon as it is known: with usage if a column needs
    it, and with whole documents if the output needs more than a listing contains. Without ``shown`` they are only filtered."""
    uses = session.output.uses if shown else session.output.filters_by
    everything = shown and session.messages.level >= 2
    reasons = uses(*_REASONS) or (shown and session.messages.level >= 1 and session.output.format == "table")
    now = session.environment.clock()
    short: dict[int, Instance] = {}
    for one in cloud.instances(owner, state, usage=uses(*_USAGE) and not everything):
        if everything or (reasons and _lacks_reason(one, now, cloud.server.listing_has_reasons)):
            short[one.id] = one
        else:
            yield one
    for outcome in in_order(cloud.instance, list(short)):
        # An instance that cannot be read now (it may be gone by now) is shown as it was listed.
        yield outcome.value or short[outcome.item]


def _lacks_reason(instance: Instance, now: float, listing_has_reasons: bool) -> bool:
    """Whether the listing's document lacks what explains the instance: the times of one that failed or went away, and on some
    servers the reason."""
    from stratuslab.diagnosis.explanation import ExplanationKind, explain

    explanation = explain(instance, now)
    if explanation is None or any(record.last for record in instance.history):
        return False
    return explanation.kind is not ExplanationKind.WAITING or not (explanation.message or listing_has_reasons)


def rows_of(session: Session, instances: Iterable[Instance], cloud: str = "") -> Iterator[InstanceRow]:
    """The rows of the instances, each as soon as it is known, with their explanations if -v is given or the output differs from
    the default. Their documents are kept only if all of them is shown."""
    explains = session.messages.level >= 1 or not session.output.is_default
    keeps_documents = shows_details(session)
    has_facts = session.output.uses(*FACTS) or bool(getattr(session.options, "watch", None))
    if explains:
        from stratuslab.diagnosis.explanation import explain
    now = session.environment.clock()
    for one in instances:
        row = InstanceRow.of(one, now, cloud)
        kept: Instance | InstanceFacts = one
        if not keeps_documents:
            needs = has_facts or one.damage
            kept = InstanceFacts.of(one) if needs else _NO_FACTS
        yield row._replace(instance=kept, explanation=explain(one, now) if explains else None)


_NO_FACTS = InstanceFacts()


def by_id(row: InstanceRow) -> int:
    """The key that sorts listings."""
    return row.id


def shows_details(session: Session) -> bool:
    return session.messages.level >= 2 and session.output.format == "table"


def all_details(session: Session, rows: Sequence[InstanceRow]) -> Iterator[InstanceDetails]:
    """The details of each row's instance, with -vv and only for tables."""
    if not shows_details(session):
        return
    from stratuslab.diagnosis.timeline import steps
    from stratuslab.opennebula.instance import Instance

    now = session.environment.clock()
    for row in rows:
        if isinstance(row.instance, Instance):
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
