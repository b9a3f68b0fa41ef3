"""Fetches instances: short documents of the pool, and whole ones only where the output needs more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratuslab.commands.session import Session
from stratuslab.commands.shared.parallel import in_order
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numeric_constants import Owner

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud

_FIGURES = ("memory_kib", "cpu_percent")
_REASONS = ("message", "cause", "reason")


def listed(session: Session, cloud: Cloud, owner: int = Owner.MINE, *, shown: bool = True) -> list[Instance]:
    """The owner's instances that are not Done, sorted by id: with usage if a column needs it, and with whole documents if the
    output needs more than a listing contains. Without ``shown`` they are only filtered."""
    uses = session.output.uses if shown else session.output.filters_by
    found = sorted(cloud.instances(owner), key=lambda instance: instance.id)
    if shown and session.messages.level >= 2:
        wanted = found
    elif uses(*_REASONS) or (shown and session.messages.level >= 1 and session.output.format == "table"):
        now = session.environment.clock()
        wanted = [one for one in found if _lacks_reason(one, now, cloud.server.listing_has_reasons)]
    else:
        wanted = []
    outcomes = in_order(cloud.instance, [one.id for one in wanted]) if wanted else ()
    # An instance that cannot be read now (it may be gone by now) is shown as it was listed.
    whole = {outcome.item: outcome.value for outcome in outcomes if outcome.value is not None}
    short = [one for one in found if one.id not in whole]
    if uses(*_FIGURES):
        short = cloud.with_figures(short, owner)
    return sorted([*short, *whole.values()], key=lambda instance: instance.id)


def _lacks_reason(instance: Instance, now: float, listing_has_reasons: bool) -> bool:
    """Whether the listing's document lacks what explains the instance: the times of one that failed or went away, and on some
    servers the reason."""
    if any(record.last for record in instance.history):
        return False
    from stratuslab.diagnosis.explanation import ExplanationKind, explain

    explanation = explain(instance, now)
    if explanation is None:
        return False
    return explanation.kind is not ExplanationKind.WAITING or not (explanation.message or listing_has_reasons)
