"""Fetches instances: short documents of the pool, and whole ones only where the output needs more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stratuslab.commands.session import Session
from stratuslab.commands.shared.parallel import in_order
from stratuslab.opennebula.numeric_constants import Owner, PoolState

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud
    from stratuslab.opennebula.instance import Instance

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
