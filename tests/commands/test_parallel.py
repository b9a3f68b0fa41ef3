"""The same done to several things at once: the order, failures, Ctrl-C, and what is said in the end."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Callable

import pytest

from stratuslab.commands.shared.parallel import AT_ONCE, in_order, report
from stratuslab.errors import AuthenticationError, ExitStatus, NotFound, SeveralFailed, StratusLabError
from stratuslab.output.messages import Messages


class Work:
    """Work whose items a test holds back, lets fail, and counts."""

    def __init__(
        self, held: Callable[[int], bool] = lambda item: False, fails: Callable[[int], bool] = lambda item: False
    ) -> None:
        self.held, self.fails = held, fails
        self.begun: list[int] = []
        self.most_at_once = 0
        self.go_on = threading.Event()
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, item: int) -> int:
        with self._lock:
            self.begun.append(item)
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
        try:
            if self.held(item):
                assert self.go_on.wait(10)
            if self.fails(item):
                raise NotFound(f"no {item}")
            return item * 10
        finally:
            with self._lock:
                self._running -= 1


def test_outcomes_come_in_order_as_they_are_known() -> None:
    work = Work(held=lambda item: item == 3)
    outcomes = in_order(work, range(5))
    assert [next(outcomes).value for _ in range(3)] == [0, 10, 20]
    work.go_on.set()
    assert [outcome.value for outcome in outcomes] == [30, 40]


def test_nothing_to_do() -> None:
    assert list(in_order(Work(), [])) == []


def test_no_more_than_so_many_at_once() -> None:
    work = Work(held=lambda item: True)
    threading.Timer(0.1, work.go_on.set).start()
    assert len(list(in_order(work, range(30)))) == 30
    assert work.most_at_once <= AT_ONCE


def test_a_failure_is_an_outcome_and_the_rest_goes_on() -> None:
    outcomes = list(in_order(Work(fails=lambda item: item % 2 == 1), range(4)))
    assert [(outcome.item, outcome.value, str(outcome.error or "")) for outcome in outcomes] == [
        (0, 0, ""),
        (1, None, "no 1"),
        (2, 20, ""),
        (3, None, "no 3"),
    ]
    assert [outcome.error is None for outcome in in_order(Work(fails=lambda item: True), [7])] == [False]


def test_nothing_new_is_begun_after_a_failure_even_while_an_earlier_one_is_slow() -> None:
    together, go_on = threading.Barrier(AT_ONCE, timeout=10), threading.Event()

    def work(item: int) -> int:
        together.wait()
        if item == 1:
            # The others go on when this one's failure has long been noticed.
            threading.Timer(0.2, go_on.set).start()
            raise NotFound("no 1")
        assert go_on.wait(10)
        return item

    outcomes = list(in_order(work, range(20), stop_at_failure=True))
    assert [outcome.item for outcome in outcomes] == list(range(AT_ONCE))
    assert [outcome.error is None for outcome in outcomes] == [item != 1 for item in range(AT_ONCE)]


def test_nothing_new_is_begun_when_nobody_listens_any_more() -> None:
    work = Work(held=lambda item: item > 0)
    outcomes = in_order(work, range(20))
    assert next(outcomes).value == 0
    threading.Timer(0.1, work.go_on.set).start()
    outcomes.close()
    assert len(work.begun) <= AT_ONCE + 1


def test_other_errors_are_raised() -> None:
    def broken(item: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(in_order(broken, range(3)))


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
def test_after_ctrl_c_what_was_begun_is_told() -> None:
    together, go_on = threading.Barrier(AT_ONCE, timeout=10), threading.Event()
    main = _main()

    def work(item: int) -> int:
        together.wait()
        if item == 0:
            signal.pthread_kill(main, signal.SIGINT)
            threading.Timer(0.6, go_on.set).start()  # long after it was noticed
        assert go_on.wait(10)
        return item

    before = signal.getsignal(signal.SIGINT)
    outcomes = in_order(work, range(50))
    items = []
    with pytest.raises(KeyboardInterrupt):
        for outcome in outcomes:
            items.append(outcome.item)
    assert items == list(range(AT_ONCE))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals go to the main thread")
def test_a_second_ctrl_c_waits_for_nothing() -> None:
    work = Work(held=lambda item: item > 0)
    outcomes = in_order(work, range(20))
    assert next(outcomes).value == 0
    signal.raise_signal(signal.SIGINT)
    threading.Timer(0.2, signal.pthread_kill, [_main(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    work.go_on.set()


def _main() -> int:
    main = threading.main_thread().ident
    assert main is not None
    return main


def test_in_another_thread() -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(outcome.item for outcome in in_order(Work(), range(9))))
    thread.start()
    thread.join(10)
    assert found == list(range(9))


# --- what is said in the end ----------------------------------------------------------------------------------------------


def reported(errors: list[StratusLabError], done: int) -> tuple[StratusLabError | None, str]:
    stream = io.StringIO()
    try:
        report(Messages(stream, "stratus-x"), errors, done, "machines")
    except StratusLabError as error:
        return error, stream.getvalue()
    return None, stream.getvalue()


def test_no_failure_is_nothing_to_say() -> None:
    assert reported([], 3) == (None, "")
    assert reported([], 0) == (None, "")


def test_a_single_failure_is_itself() -> None:
    error = NotFound("no 1")
    assert reported([error], 0) == (error, "")


def test_some_of_several() -> None:
    error, said = reported([NotFound("no 1"), AuthenticationError("no 2", "ask")], 3)
    assert isinstance(error, SeveralFailed)
    assert (error.message, error.status) == ("2 of 5 machines failed", ExitStatus.PARTIAL)
    assert said == "stratus-x: no 1\nstratus-x: no 2 (ask)\n"


def test_all_of_several() -> None:
    same, _ = reported([NotFound("no 1"), NotFound("no 2")], 0)
    assert same is not None
    assert (same.message, same.status) == ("2 of 2 machines failed", ExitStatus.NOT_FOUND)
    different, _ = reported([NotFound("no 1"), AuthenticationError("no 2")], 0)
    assert different is not None
    assert different.status == ExitStatus.FAILED
    assert StratusLabError("x").status == ExitStatus.FAILED
