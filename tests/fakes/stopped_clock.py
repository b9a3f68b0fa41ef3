"""A clock that stands still until a test sets it."""

from __future__ import annotations


class StoppedClock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_795_329_334.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
