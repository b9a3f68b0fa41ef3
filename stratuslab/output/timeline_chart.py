"""The steps of an instance's life as bars: a row for each, with its begin, its duration, and a bar on a common scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from stratuslab.diagnosis.timeline import Span
from stratuslab.output.terminal import Terminal
from stratuslab.output.time_format import duration, moment

_MOST = 20
"""Rows at most: who goes to and fro between hosts for years has a long life."""


def timeline(spans: Sequence[Span], now: float, terminal: Terminal) -> Iterator[str]:
    """The rows, within the terminal' width.

    Bars follow each other from left to right; each has a cell at least, so that a short step shows beside a long one. A bar
    that ends in dots goes on, one that ends in a cross failed.
    """
    if len(spans) > _MOST:
        yield f"({len(spans) - _MOST} earlier steps)"
        spans = spans[-_MOST:]
    several_days = len({moment(when)[:10] for span in spans for when in (span.begin, span.end or int(now))}) > 1
    starts = [moment(span.begin, several_days) for span in spans]
    seconds = [max((int(now) if span.end is None else span.end) - span.begin, 0) for span in spans]
    lasted = [duration(length) for length in seconds]
    labels = [
        f"{span.step:<{_longest(span.step for span in spans)}}  {start}  {text:>{_longest(lasted)}}  "
        for span, start, text in zip(spans, starts, lasted, strict=True)
    ]
    tails = [_tail(span, terminal) for span in spans]
    room = max(terminal.width - _longest(labels) - _longest(tails), len(spans))
    at = 0
    for label, cells, tail in zip(labels, _cells(seconds, room), tails, strict=True):
        yield label + " " * at + ("█" if terminal.unicode else "#") * cells + tail
        at += cells


def _tail(span: Span, terminal: Terminal) -> str:
    cross, goes_on = ("✗", "…") if terminal.unicode else ("X", "...")
    return f" {cross} failed" if span.failed else goes_on if span.end is None else ""


def _cells(seconds: Sequence[int], room: int) -> list[int]:
    """How many cells each of the durations takes, a cell at least; all together as many as there is room for."""
    spare, total = room - len(seconds), sum(seconds)
    if not total:
        return [1] * len(seconds)
    # Rounded where bars meet, so that nothing is left over and equal durations differ by a cell at most.
    ends = [spare * elapsed // total for elapsed in accumulate(seconds)]
    return [1 + end - begin for begin, end in pairwise([0, *ends])]


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)
