"""Doing the same to several items at once, and reporting on them in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from stratuslab.errors import ExitStatus, SeveralFailed, StratusLabError
from stratuslab.output.messages import Messages

if TYPE_CHECKING:
    from queue import SimpleQueue

AT_ONCE = 13
"""Calls in flight: OpenNebula's daemon serves 15 connections for all its users together, and two are left to others."""

_MOST_TOLD = 20  # errors; a file of ids that is none at all would fill the screen

_handles_signals = ContextVar("handles_signals", default=True)
"""Whether signals are handled here: not while a program uses the library, as signals are its own."""

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


class Outcome(Generic[_Item, _Value]):
    """What became of one item: a value, or the error."""

    def __init__(self, item: _Item, value: _Value | None = None, error: StratusLabError | None = None) -> None:
        self.item = item
        self.value = value
        self.error = error


class Parallel(Generic[_Item, _Value]):
    """``work`` on every item, ``at_once`` at a time: begun in the items' order, and handed out as it ends. ``left`` are the
    items that were not handed out yet.

    The threads are daemons: what hangs in a name service or on a wire does not keep the process from ending.
    """

    def __init__(
        self, work: Callable[[_Item], _Value], items: Sequence[_Item], at_once: int, stop_at_failure: bool = False
    ) -> None:
        from queue import SimpleQueue

        self._work = work
        self._at_once = at_once
        self._waiting = deque(enumerate(items))
        self.left = len(items)
        self._stop_at_failure = stop_at_failure
        self._stopped = False
        self._threads = 0
        self._ended: SimpleQueue[tuple[int, Outcome[_Item, _Value] | BaseException | None]] = SimpleQueue()

    def start(self) -> None:
        """Begin. Apart from making it, so that what a Ctrl-C then does can be set before."""
        import threading

        for _ in range(min(self._at_once, self.left, _affordable())):
            try:
                threading.Thread(target=self._run, daemon=True).start()
            except (RuntimeError, MemoryError):
                return  # the limit of processes: it takes longer
            self._threads += 1

    def _run(self) -> None:
        while self._do_one():
            pass

    def _do_one(self) -> bool:
        """Do the next item, and say whether there was one."""
        try:
            place, item = self._waiting.popleft()
        except IndexError:
            return False
        self._ended.put((place, self._outcome(item)))
        return True

    def _outcome(self, item: _Item) -> Outcome[_Item, _Value] | BaseException | None:
        if self._stopped:
            return None
        try:
            return Outcome(item, value=self._work(item))
        except StratusLabError as error:
            if self._stop_at_failure:
                self._stopped = True
            return Outcome(item, error=error)
        except BaseException as error:
            return error

    def next(self, timeout: float | None = None) -> tuple[int, Outcome[_Item, _Value] | None]:
        """The place and the outcome of the item that ends next; no outcome where it was not begun.

        Raises queue.Empty when ``timeout`` seconds are over, and whatever ``work`` raised but StratusLabError.
        """
        if not self._threads:
            self._do_one()
        place, outcome = self._ended.get(timeout=timeout)
        self.left -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return place, outcome

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopped = True

    def finish(self) -> None:
        """Begin nothing new, and wait for what was begun."""
        self.stop()
        if not self._threads:
            self._run()
        while self.left:
            self._ended.get()
            self.left -= 1


def _affordable() -> int:
    """How many threads the address space has room for. Where it is limited, a thread takes up to 136 MB of it for its stack and
    the allocator's arena, and a main stack that then cannot grow ends the process."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return 1000 if limit == resource.RLIM_INFINITY else limit // (256 << 20)


def in_order(
    work: Callable[[_Item], _Value], items: Sequence[_Item], *, stop_at_failure: bool = False
) -> Generator[Outcome[_Item, _Value], None, None]:
    """Do ``work`` to every item, several at once; the outcomes in the items' order, each as soon as it is known.

    With ``stop_at_failure``, and on Ctrl-C, nothing new is begun; what was begun is finished and its outcome still handed out
    (KeyboardInterrupt is raised after that). Items that were not begun have no outcome.
    """
    if not items:
        return
    if len(items) == 1 and not stop_at_failure:
        try:
            outcome = Outcome[_Item, _Value](items[0], value=work(items[0]))
        except StratusLabError as error:
            outcome = Outcome(items[0], error=error)
        yield outcome
        return
    from queue import Empty

    running = Parallel(work, items, AT_ONCE, stop_at_failure)
    known: dict[int, Outcome[_Item, _Value] | None] = {}
    with _ctrl_c_calls(running.stop):
        running.start()
        try:
            for place in range(len(items)):
                while place not in known:
                    with suppress(Empty):
                        # In short waits: a Ctrl-C just before a wait is noticed at its end only.
                        known.update([running.next(timeout=0.1)])
                if (done := known.pop(place)) is not None:
                    yield done
        except KeyboardInterrupt:
            running.stop()  # the second one: nothing is waited for
            raise
        except BaseException:
            # The caller may have lost interest: an answer could not be written, say.
            running.finish()
            raise


def all_of(work: Callable[[_Item], _Value], items: Sequence[_Item]) -> tuple[dict[_Item, _Value], dict[_Item, StratusLabError]]:
    """As :func:`in_order`, all at the end: the values by item, and the errors."""
    values: dict[_Item, _Value] = {}
    errors: dict[_Item, StratusLabError] = {}
    for outcome in in_order(work, items):
        if outcome.error:
            errors[outcome.item] = outcome.error
        else:
            values[outcome.item] = cast(_Value, outcome.value)
    return values, errors


@contextmanager
def signals_left_alone() -> Iterator[None]:
    """While the block runs, a Ctrl-C is a KeyboardInterrupt at once."""
    token = _handles_signals.set(False)
    try:
        yield
    finally:
        _handles_signals.reset(token)


@contextmanager
def _ctrl_c_calls(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs Ctrl-C, and a SIGTERM or SIGHUP that the command has a handler for, calls ``stop``; only at the
    block's end it has its usual effect. A second one has that at once."""
    import signal
    import threading

    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled = {number: handler for number, handler in usual.items() if callable(handler)}  # not those that are ignored
    if threading.current_thread() is not threading.main_thread() or not handled or not _handles_signals.get():
        yield
        return
    pressed: list[int] = []

    def restore() -> None:
        for number, handler in handled.items():
            signal.signal(number, handler)

    def press(number: int, _frame: object) -> None:
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


def report(messages: Messages, errors: Sequence[StratusLabError], done: int, what: str, undone: int = 0) -> None:
    """Raise the error that sums up what failed of several things; nothing happens where nothing failed. ``undone`` were done
    and taken back.

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
        messages.error(f"and {len(errors) - _MOST_TOLD} more errors")
    message = f"{len(errors)} of {len(errors) + done + undone} {what} failed"
    statuses = {error.status for error in errors}
    all_the_same = statuses.pop() if len(statuses) == 1 else ExitStatus.FAILED
    raise SeveralFailed(message, ExitStatus.PARTIAL if done else all_the_same, tuple(errors))
