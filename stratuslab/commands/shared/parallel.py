"""Doing the same to several things at once, and hearing of each in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Generic, TypeVar

from stratuslab.errors import ExitStatus, SeveralFailed, StratusLabError
from stratuslab.output.messages import Messages

AT_ONCE = 6
"""Calls in flight: OpenNebula's daemon takes 15 connections for all its users together."""

_MOST_TOLD = 20  # errors; a file of ids that is none at all would fill the screen

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Outcome(Generic[_Item, _Value]):
    """What became of one item: a value, or the error."""

    item: _Item
    value: _Value | None = None
    error: StratusLabError | None = None


def in_order(
    work: Callable[[_Item], _Value], items: Sequence[_Item], *, stop_at_failure: bool = False
) -> Generator[Outcome[_Item, _Value], None, None]:
    """Do ``work`` to every item, several at once; the outcomes in the items' order, each as soon as it is known.

    With ``stop_at_failure``, and on Ctrl-C, nothing new is begun; what was begun is finished and its outcome still told
    (KeyboardInterrupt is raised after that). Items that were not begun have no outcome.
    """
    ended = threading.Event()

    def outcome(item: _Item) -> Outcome[_Item, _Value] | None:
        if ended.is_set():
            return None
        try:
            return Outcome(item, value=work(item))
        except StratusLabError as error:
            if stop_at_failure:
                ended.set()
            return Outcome(item, error=error)

    if len(items) == 1 and not stop_at_failure:
        only = outcome(items[0])
        assert only is not None
        yield only
        return
    from concurrent.futures import ThreadPoolExecutor, wait

    with ThreadPoolExecutor(AT_ONCE) as pool, _ctrl_c_calls(ended.set):
        try:
            for future in [pool.submit(outcome, item) for item in items]:
                while not future.done():
                    # In short waits: a Ctrl-C just before a wait is noticed at its end only.
                    wait([future], timeout=0.1)
                done = future.result()
                if done is not None:
                    yield done
        finally:
            # Whoever asked may have lost interest: an answer could not be written, say.
            ended.set()


@contextmanager
def _ctrl_c_calls(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs Ctrl-C, and a SIGTERM that the command has a handler for, calls ``stop``; only at the block's end it
    has its usual effect. A second one has that at once."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in usual.items() if callable(handler)}  # not those that are ignored
    if threading.current_thread() is not threading.main_thread() or not handled:
        yield
        return
    pressed: list[int] = []

    def restore() -> None:
        for number, handler in handled.items():
            signal.signal(number, handler)

    def press(number: int, _frame: FrameType | None) -> None:
        pressed.append(number)
        restore()
        stop()

    for number in handled:
        signal.signal(number, press)
    try:
        yield
    finally:
        restore()
    for sent in pressed:
        handled[signal.Signals(sent)](sent, None)


def report(messages: Messages, errors: Sequence[StratusLabError], done: int, what: str) -> None:
    """Raise the error that sums up what failed of several things; nothing happens where nothing failed.

    A single failure of a single thing is raised as it is. Otherwise each is said, and the status is 5 (part of several
    failed) where some were done, else the one that all failures have in common, else 1.
    """
    if not errors:
        return
    if len(errors) == 1 and not done:
        raise errors[0]
    for error in errors[:_MOST_TOLD]:
        messages.error(str(error))
    if len(errors) > _MOST_TOLD:
        messages.error(f"and {len(errors) - _MOST_TOLD} more like these")
    message = f"{len(errors)} of {len(errors) + done} {what} failed"
    statuses = {error.status for error in errors}
    all_the_same = statuses.pop() if len(statuses) == 1 else ExitStatus.FAILED
    raise SeveralFailed(message, ExitStatus.PARTIAL if done else all_the_same, tuple(errors))
