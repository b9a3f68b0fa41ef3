"""The timeline as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.diagnosis.timeline import Span, steps
from stratuslab.opennebula.states import Lcm, State
from stratuslab.output.safe_text import width
from stratuslab.output.terminal import Terminal
from stratuslab.output.time_format import duration
from stratuslab.output.timeline_chart import timeline
from tests.diagnosis.documents import BEGIN, stay, vm

NOW = BEGIN + 600


WHOLE = stay(
    "node2",
    BEGIN + 60,
    prolog=(BEGIN + 60, BEGIN + 180),
    running=(BEGIN + 180, BEGIN + 480),
    epilog=(BEGIN + 480, BEGIN + 540),
    end=BEGIN + 540,
)


def drawn(history: str, state: int, lcm: int = 0, *, columns: int = 80, unicode: bool = True, ended: int = 0) -> list[str]:
    return list(timeline(steps(vm(state, lcm, history=history, ended=ended), NOW), NOW, Terminal(columns, unicode)))


def test_a_whole_life_to_the_byte() -> None:
    running = stay("node2", BEGIN + 60, prolog=(BEGIN + 60, BEGIN + 180), running=(BEGIN + 180, 0))
    assert drawn(running, State.ACTIVE, Lcm.RUNNING, columns=60, unicode=False) == [
        "pending  06:39:09  1 min  ###",
        "prolog   06:40:09  2 min     #######",
        "running  06:42:09  7 min            #####################...",
    ]
    failed = stay("node2", BEGIN + 60, prolog=(BEGIN + 60, BEGIN + 180), running=(BEGIN + 180, BEGIN + 300))
    assert drawn(failed, State.ACTIVE, Lcm.BOOT_FAILURE, columns=60) == [
        "pending  06:39:09  1 min  █████",
        "prolog   06:40:09  2 min       ██████████",
        "boot     06:42:09  2 min                 ██████████ ✗ failed",
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_it_uses_the_width_and_no_more(columns: int) -> None:
    lines = drawn(WHOLE, State.DONE, columns=columns, ended=BEGIN + 540)
    assert [line.split()[0] for line in lines] == ["pending", "prolog", "running", "epilog"]
    bars = [line.count("█") for line in lines]
    room = columns - len("pending  06:39:09  1 min  ")
    assert sum(bars) == room
    assert max(map(width, lines)) <= columns
    assert [round(bar * 9 / room) for bar in bars] == [1, 2, 5, 1]
    # Each bar begins where the one before it ends.
    begins = [line.index("█") for line in lines]
    assert begins == [begins[0] + sum(bars[:place]) for place in range(4)]


def test_ascii() -> None:
    history = stay("node2", BEGIN + 60, prolog=(BEGIN + 60, BEGIN + 120), running=(BEGIN + 120, BEGIN + 180))
    lines = drawn(history, State.ACTIVE, Lcm.BOOT_FAILURE, unicode=False)
    assert all(line.isascii() for line in lines)
    assert lines[2].startswith("boot ")
    assert lines[2].endswith("# X failed")
    assert drawn(stay("node2", BEGIN, running=(BEGIN, 0)), State.ACTIVE, Lcm.RUNNING, unicode=False)[-1].endswith("#...")


def test_a_short_step_beside_a_long_one() -> None:
    history = stay("node2", BEGIN + 1, prolog=(BEGIN + 1, BEGIN + 2), running=(BEGIN + 2, 0))
    lines = list(timeline(steps(vm(3, 3, history=history), BEGIN + 9 * 86400), BEGIN + 9 * 86400, Terminal(80, True)))
    assert [line.count("█") for line in lines][:2] == [1, 1]
    assert "2026-11-22 06:39:11" in lines[2]
    assert "8 d 23 h" in lines[2]
    assert lines[2].endswith("█…")
    assert max(map(width, lines)) <= 80


def test_boot_is_told_while_it_lasts() -> None:
    history = stay("node2", BEGIN, prolog=(BEGIN, BEGIN + 5), running=(BEGIN + 5, 0))
    assert [span.step for span in steps(vm(3, Lcm.BOOT, history=history), NOW)] == ["pending", "prolog", "boot"]
    assert [span.step for span in steps(vm(3, Lcm.RUNNING, history=history), NOW)] == ["pending", "prolog", "running"]


def test_what_comes_after_running() -> None:
    history = stay("node2", BEGIN, running=(BEGIN + 5, 0))
    unknown = steps(vm(3, Lcm.UNKNOWN, history=history, monitored=BEGIN + 100), NOW)
    assert unknown[1:] == (
        Span("running", BEGIN + 5, BEGIN + 100, "node2"),
        Span("unknown", BEGIN + 100, None, "node2"),
    )
    off = steps(vm(State.POWEROFF, history=stay("node2", BEGIN, running=(BEGIN + 5, BEGIN + 9))), NOW)
    assert off[-1] == Span("poweroff", BEGIN + 9, None)


def test_a_gap_inside_a_record_is_no_pause() -> None:
    history = stay("n", BEGIN, prolog=(BEGIN, BEGIN + 5), running=(BEGIN + 9, BEGIN + 20), end=BEGIN + 20)
    history = history.replace("</HISTORY>", "<ACTION>10</ACTION></HISTORY>") + stay("n", BEGIN + 30, running=(BEGIN + 30, 0))
    found = [(span.step, span.begin - BEGIN) for span in steps(vm(3, 3, history=history), NOW)]
    assert found == [("pending", 0), ("prolog", 0), ("running", 9), ("suspended", 20), ("running", 30)]


def test_several_hosts() -> None:
    history = stay("node1", BEGIN, running=(BEGIN, BEGIN + 9), end=BEGIN + 9) + stay("node2", BEGIN + 9, running=(BEGIN + 9, 0))
    assert [(span.step, span.host) for span in steps(vm(3, 3, history=history), NOW)][1:] == [
        ("running", "node1"),
        ("running", "node2"),
    ]


def test_a_long_life_is_cut_to_its_end() -> None:
    history = "".join(stay("n", BEGIN + at, running=(BEGIN + at, BEGIN + at + 9), end=BEGIN + at + 9) for at in range(0, 500, 10))
    lines = drawn(history, State.POWEROFF)
    assert lines[0] == "(32 earlier steps)"
    assert len(lines) == 21
    assert max(map(width, lines)) <= 80


times = st.integers(0, 2**33)


@given(
    st.integers(0, 12),
    st.integers(0, 75),
    st.lists(st.tuples(times, times, times, times, times, times, times), max_size=3),
    st.integers(0, 2**33),
    st.integers(40, 200),
)
def test_no_document_breaks_it(state: int, lcm: int, stays: list[tuple[int, ...]], now: int, columns: int) -> None:
    history = "".join(
        stay("n", begin, prolog=(ps, pe), running=(rs, re), epilog=(es, ee)) for begin, ps, pe, rs, re, es, ee in stays
    )
    instance = vm(state, lcm, "x", history=history)
    for line in timeline(steps(instance, now), now, Terminal(columns, True)):
        assert "\n" not in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90000, "1 d 1 h")]
)
def test_durations(seconds: int, text: str) -> None:
    assert duration(seconds) == text
