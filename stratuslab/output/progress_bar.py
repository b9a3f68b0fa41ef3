"""A progress bar for downloads and builds, on the line of :mod:`stratuslab.output.status_line`."""

from __future__ import annotations

import time
from collections.abc import Callable

from stratuslab.output.status_line import Progress

_WIDTH = 24
_INTERVAL = 0.1  # seconds between updates, so that a slow terminal is not flooded
_FIRST_SPEED = 1.0  # seconds until the speed is shown


class ProgressBar:
    """Draws the bar. ``clock`` gives seconds."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._what = ""
        self._began = (0.0, 0)
        self._last = float("-inf")

    def part(self, what: str, part: float | None) -> None:
        """Show the part that is done, from 0 to 1, or None if unknown."""
        if self._is_time(what):
            self._progress.show(_line(what, part, ""))

    def bytes(self, what: str, done: int, total: int | None) -> None:
        """Show the bytes that are done, and the total if it is known."""
        if what != self._what or done < self._began[1]:
            # Bytes from before must not count for the speed.
            self._began = (self._clock(), done)
        if self._is_time(what):
            part = min(done / total, 1.0) if total else None
            self._progress.show(_line(what, part, self._figures(done, total)))

    def clear(self) -> None:
        """Erase the bar, so that a message can be printed."""
        self._progress.clear()
        self._last = float("-inf")

    def _is_time(self, what: str) -> bool:
        now = self._clock()
        if not self._progress.visible or (what == self._what and now - self._last < _INTERVAL):
            return False
        self._what, self._last = what, now
        return True

    def _figures(self, done: int, total: int | None) -> str:
        figures = f"{_megabytes(done)} of {_megabytes(total)} MB" if total else f"{_megabytes(done)} MB"
        began, before = self._began
        seconds = self._clock() - began
        if seconds < _FIRST_SPEED or done <= before:
            return figures
        speed = (done - before) / seconds
        left = f", {_duration((total - done) / speed)} left" if total and total > done else ""
        return f"{figures}, {_megabytes(speed)} MB/s{left}"


def _line(what: str, part: float | None, figures: str) -> str:
    if part is None:
        return f"{what} {figures}".strip()
    full = round(_WIDTH * part)
    return f"{what} [{'#' * full}{'.' * (_WIDTH - full)}] {100 * part:.0f} % {figures}".strip()


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f}" if size < 99.95e6 else f"{size / 1e6:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{min(seconds / 3600, 999):.0f} h"
