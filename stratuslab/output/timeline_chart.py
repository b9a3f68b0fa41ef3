"""The steps of an instance's life as a chart: a row for each, with its start, its duration, and a bar on a common scale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from stratuslab.diagnosis.timeline import Span
from stratuslab.output.terminal import Terminal
from stratuslab.output.time_format import duration, time_text

_MOST = 20
"""Rows at most: an instance that was migrated for years has many steps."""


def timeline(spans: Sequence[Span], now: float, terminal: Terminal) -> Iterator[str]:
    """The rows, within the terminal's width.

    Bars follow each other from left to right; each has at least one cell, so that a short step is visible beside a long one.
    A bar that ends with dots is still going on, one that ends with a cross failed.
    """
    if len(spans) > _MOST:
        yield f"({len(spans) - _MOST} earlier steps)"
        spans = spans[-_MOST:]
    several_days = len({time_text(when)[:10] for span in spans for when in (span.begin, span.end or int(now))}) > 1
    starts = [time_text(span.begin, several_days) for span in spans]
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
    """The number of cells for each duration, at least one; together they fill the room."""
    spare, total = room - len(seconds), sum(seconds)
    if not total:
        return [1] * len(seconds)
    # Rounded where bars meet, so that no cell is left over and equal durations differ by one cell at most.
    ends = [spare * elapsed // total for elapsed in accumulate(seconds)]
    return [1 + end - begin for begin, end in pairwise([0, *ends])]


def _longest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)
