"""The long form of the reliability tests: ``python -m tests.reliability [schedules ...] [--seed N] [--count N] [--jobs N]``.

Prints a summary line for each promise, and a line for each time that it was broken; the status is 1 if one was.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.reliability import ended_runs, fault_schedules, killed_processes, scarce_hosts
from tests.reliability.tally import Tally, summed

TRIALS: dict[str, tuple[Callable[..., Tally], int]] = {
    "schedules": (fault_schedules.schedule, 2000),
    "killed": (killed_processes.simulated, 50),
    "killed-qemu": (killed_processes.qemu, 5),
    "ended": (ended_runs.ended_run, 300),
    "scarce": (scarce_hosts.scarce_host, len(scarce_hosts.CASES)),
}
"""Each trial by its name: what is done for one seed, and how many seeds the long form takes."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability")
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"one of {', '.join(TRIALS)} (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--count", type=int, help="how many seeds (default: the size of the long form)")
    parser.add_argument("--jobs", type=int, default=4, help="processes at a time (default 4)")
    parser.add_argument("--patience", type=float, default=0.05, help="part of the client's usual waits (schedules; default 0.05)")
    options = parser.parse_args()
    broken = 0
    for name in options.trials or TRIALS:
        trial, usual = TRIALS[name]
        count = options.count or usual
        begin = time.monotonic()
        work = partial(trial, factor=options.patience) if name == "schedules" else trial
        with ProcessPoolExecutor(options.jobs) as pool:
            whole = summed(pool.map(work, range(options.seed, options.seed + count)))
        broken += len(whole.broken)
        figures = ", ".join(f"{number} {what}" for what, number in sorted(whole.counted.items()))
        print(
            f"{name}: seeds {options.seed} to {options.seed + count - 1}, {time.monotonic() - begin:.0f} s: {figures}", flush=True
        )
        for line in whole.broken:
            print(f"    {line}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
