"""The reliability trials at a size for every day; ``python -m tests.reliability`` is the long form (docs/reliability.rst)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.reliability import ended_runs, fault_schedules, killed_processes, scarce_hosts
from tests.reliability.tally import Tally, summed

CASES = scarce_hosts.CASES


def kept(tally: Tally) -> Tally:
    assert tally.broken == []
    return tally


def test_fault_schedules() -> None:
    whole = kept(summed(fault_schedules.schedule(seed, 0.05) for seed in range(1, 9)))
    assert whole.counted["faults"] > 10
    assert whole.counted["machines"] > 10


@pytest.mark.parametrize("trial", [ended_runs.by_signal, ended_runs.by_child])
def test_a_run_that_is_ended(trial: Callable[[int], Tally]) -> None:
    kept(trial(1))


def test_kill_9_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killed_processes, "KILLS", 3)
    whole = kept(killed_processes.simulated(1))
    assert sum(number for what, number in whole.counted.items() if what.startswith("kills of")) == 3


@pytest.mark.parametrize(
    "case", [("RLIMIT_NOFILE=64", "served"), (f"RLIMIT_AS={256 << 20}", "served"), ("RLIMIT_NOFILE=16", "local")]
)
def test_a_host_with_little(case: tuple[str, str]) -> None:
    kept(scarce_hosts.scarce_host(CASES.index(case) + 1))
