"""Rows about long listings: describe beside a script of common libraries, and beside pyone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from measuring import Bench, Row, compared, cpu_compared, memory

ONE_POST = "requests and lxml"
SIZES = (10, 100, 1000, 2019, 10_095)


def rows(bench: Bench) -> Iterator[Row]:
    peak_of_1000 = 0.0
    for size in SIZES:
        with bench.server("--machines", str(size)) as endpoint:
            describe = bench.command("describe-instance", "-n", endpoint=endpoint)
            ours, peers, pyone = bench.samples(
                describe, bench.peer("one_post.py", endpoint), bench.peer("with_pyone.py", endpoint)
            )
            for name, samples in (("stratus-describe-instance", ours), (ONE_POST, peers), ("pyone", pyone)):
                bench.costs.setdefault(name, {})[size] = statistics.median(one.seconds for one in samples) * 1000
            if size == 1000:
                peak_of_1000 = statistics.median(one.megabytes for one in ours)
            if size < 2019:
                continue
            work = f"describe {size:,} machines"
            yield compared(work, ours, ONE_POST, peers, 1.0, describe)
            yield cpu_compared(work, ours, ONE_POST, peers, 1.0)
            yield compared(f"pyone, {size:,} machines", pyone, ONE_POST, peers, None)
            yield memory(f"{work}: memory", ours, 35 if size == 2019 else 45, peers, ONE_POST)
            if size == 2019:
                yield from _other_forms(bench, endpoint)
            else:
                peak = statistics.median(one.megabytes for one in ours)
                yield Row(f"{work}: memory", peak, "MB", 1.2, "the same for 1,000", peak_of_1000, [peak / peak_of_1000])


def _other_forms(bench: Bench, endpoint: str) -> Iterator[Row]:
    for option in (["--format", "json"], ["-v"]):
        program = bench.command("describe-instance", "-n", *option, endpoint=endpoint)
        ours, peers = bench.samples(program, bench.peer("one_post.py", endpoint))
        work = f"describe 2,019 machines, {' '.join(option)}"
        yield compared(work, ours, ONE_POST, peers, 1.4, program)
        yield cpu_compared(work, ours, ONE_POST, peers, 1.4)
        yield memory(f"{work}: memory", ours, 35)
