"""Times and durations for people."""

from __future__ import annotations

import time


def duration(seconds: int) -> str:
    """A duration in its two largest units: ``12 s``, ``7 min 3 s``, ``3 h 5 min``, ``2 d 4 h``."""
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    seconds = max(seconds, 0)
    for place, (size, name) in enumerate(units):
        if seconds >= size:
            text = f"{seconds // size} {name}"
            rest = seconds % size // units[place + 1][0] if place + 1 < len(units) else 0
            return f"{text} {rest} {units[place + 1][1]}" if rest else text
    return "0 s"


def time_text(when: int, with_day: bool = True) -> str:
    """A time on this computer's clock: ``2026-11-22 06:39:10``, or the time of day alone."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S" if with_day else "%H:%M:%S", time.localtime(when))
    except (OverflowError, ValueError, OSError):
        return "-"
