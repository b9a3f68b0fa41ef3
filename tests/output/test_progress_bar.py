"""The bar that shows how far a long piece of work is."""

from __future__ import annotations

import io

import pytest

from stratuslab.output.progress_bar import ProgressBar
from stratuslab.output.status_line import Progress
from tests.fakes.stopped_clock import StoppedClock
from tests.harness import Terminal


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(1000.0)


class Screen:
    def __init__(self, clock: StoppedClock) -> None:
        self.stream = Terminal()
        self.bar = ProgressBar(Progress(self.stream, {"TERM": "xterm"}), clock)

    def line(self) -> str:
        return self.stream.getvalue().rpartition("\r")[2].rstrip()


@pytest.fixture
def screen(clock: StoppedClock) -> Screen:
    return Screen(clock)


def test_bytes_with_their_speed(screen: Screen, clock: StoppedClock) -> None:
    screen.bar.bytes("Downloading", 100_000_000, 400_000_000)  # so many were there before
    assert screen.line() == "Downloading [######..................] 25 % 100 of 400 MB"
    clock.now += 10
    screen.bar.bytes("Downloading", 200_000_000, 400_000_000)
    assert screen.line() == "Downloading [############............] 50 % 200 of 400 MB, 10.0 MB/s, 20 s left"
    clock.now += 10
    screen.bar.bytes("Downloading", 400_000_000, 400_000_000)
    assert screen.line() == "Downloading [########################] 100 % 400 of 400 MB, 15.0 MB/s"


def test_a_total_that_is_not_known(screen: Screen, clock: StoppedClock) -> None:
    screen.bar.bytes("Reading", 0, None)
    clock.now += 2
    screen.bar.bytes("Reading", 3_000_000, None)
    assert screen.line() == "Reading 3.0 MB, 1.5 MB/s"


@pytest.mark.parametrize(
    ("total", "left"), [(150_000_000, "50 s"), (200_000_000, "2 min"), (1_000_000_000, "15 min"), (10_000_000_000, "3 h")]
)
def test_the_time_that_is_left(screen: Screen, clock: StoppedClock, total: int, left: str) -> None:
    screen.bar.bytes("Reading", 0, total)
    clock.now += 100
    screen.bar.bytes("Reading", 100_000_000, total)
    assert screen.line().endswith(f"1.0 MB/s, {left} left")


def test_a_download_that_starts_over(screen: Screen, clock: StoppedClock) -> None:
    screen.bar.bytes("Downloading", 50_000_000, 100_000_000)
    clock.now += 1
    screen.bar.bytes("Downloading", 0, 100_000_000)
    clock.now += 2
    screen.bar.bytes("Downloading", 2_000_000, 100_000_000)
    assert "1.0 MB/s" in screen.line()


def test_parts(screen: Screen, clock: StoppedClock) -> None:
    screen.bar.part("Looking", None)
    assert screen.line() == "Looking"
    screen.bar.part("Building", 0.5)
    assert screen.line() == "Building [############............] 50 %"


def test_not_more_often_than_somebody_can_see(screen: Screen, clock: StoppedClock) -> None:
    for done in range(1000):
        screen.bar.bytes("Reading", done, 1000)
    assert screen.stream.getvalue().count("\r") == 1


def test_nothing_without_a_terminal(clock: StoppedClock) -> None:
    stream = io.StringIO()
    bar = ProgressBar(Progress(stream, {}), clock)
    bar.bytes("Reading", 1, 2)
    bar.part("Reading", 0.5)
    bar.clear()
    assert stream.getvalue() == ""
