"""The steps of an instance's life with their times, for a timeline."""

from collections.abc import Iterator
from typing import NamedTuple

from stratuslab.diagnosis.explanation import failed_at, failed_step, failure_of_done
from stratuslab.diagnosis.message_cleaning import ServerMessage, clean
from stratuslab.opennebula.history import HistoryRecord
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Lcm, State


class Span(NamedTuple):
    """A step: ``pending``, ``prolog``, ``boot``, ``running``, ``epilog``, or a state after them (``unknown``, ``poweroff``...).

    ``begin`` and ``end`` are seconds since the epoch; ``end`` is None during the step. ``failed`` marks the step at which the
    instance failed.
    """

    step: str
    begin: int
    end: int | None
    host: str = ""
    failed: bool = False


def steps(instance: Instance, now: float) -> tuple[Span, ...]:
    """The steps in order; steps without times are left out, so a pool's short document has hardly any.

    OpenNebula notes when the boot began, not when it ended: ``running`` includes the boot, unless the instance is still booting
    or failed to boot.
    """
    if not instance.started:
        return ()
    records = [record for record in instance.history if record.last]
    spans = [Span("pending", instance.started, _placed(records) or instance.ended or None)]
    pause = ""  # the state that it was put into after the record before
    for record in records:
        if found := list(_record_spans(record, instance, is_last=record is records[-1])):
            end, begin = spans[-1].end, found[0].begin
            if pause and end is not None and begin > end:
                spans.append(Span(pause, end, begin))
            spans += found
            pause = record.pause
    failure = failure_of_done(instance)
    if instance.failed or failure:
        spans = _with_failure(spans, instance, now, failure)
    return tuple(_with_rest(spans, instance))


def _placed(records: list[HistoryRecord]) -> int:
    return (records[0].begin or records[0].prolog[0] or records[0].running[0] or records[0].last) if records else 0


def _record_spans(record: HistoryRecord, instance: Instance, is_last: bool) -> Iterator[Span]:
    prolog, running, epilog = record.prolog, record.running, record.epilog
    last = record.end or (0 if is_last else record.last)
    if any(prolog):  # 3.2 notes only the end of a prolog that failed immediately
        yield Span("prolog", prolog[0] or prolog[1], prolog[1] or running[0] or last or None, record.host)
    if running[0]:
        step = "boot" if is_last and instance.state_label.startswith("Boot") else "running"
        yield Span(step, running[0], running[1] or epilog[0] or last or None, record.host)
    if epilog[0]:
        yield Span("epilog", epilog[0], epilog[1] or last or None, record.host)


def _with_failure(spans: list[Span], instance: Instance, now: float, failure: ServerMessage | None) -> list[Span]:
    """The spans with the last one marked as failed, and named after the step that failed; ``failure`` is the message of a failed
    instance that is DONE."""
    message = failure or clean(instance.dated_message)
    last = spans[-1]
    if failure:
        # It ended when the instance was killed, not when it failed.
        step, end = message.step.lower(), min(max(failed_at(instance, now, message), last.begin), last.end or int(now))
    else:
        step = failed_step(instance, message).split("_")[0].lower()
        end = last.end if last.end else max(failed_at(instance, now, message), last.begin)
    # A failed boot is noted as running; any other step keeps its name.
    name = step if (step, last.step) in (("boot", "running"), ("cloning", "pending")) else last.step
    return [*spans[:-1], Span(name, last.begin, end, last.host, failed=True)]


def _with_rest(spans: list[Span], instance: Instance) -> list[Span]:
    """The spans, followed by the state in which the instance rests now."""
    last = spans[-1]
    if instance.state == State.ACTIVE and instance.lcm_state == Lcm.UNKNOWN:
        seen = max(instance.last_poll, last.begin)
        if instance.last_poll and not last.end:
            return [*spans[:-1], Span(last.step, last.begin, seen, last.host), Span("unknown", seen, None, last.host)]
    if instance.state in (State.STOPPED, State.SUSPENDED, State.POWEROFF, State.UNDEPLOYED) and last.end:
        return [*spans, Span(State(instance.state).name.lower(), last.end, None)]
    return spans
