"""Measures everything in one go, and writes the table and the plot of docs/performance.rst.

    tox -e bench                   all of it, within ten minutes
    python benchmarks/run.py [--rounds N] [--no-write] [GROUP ...]

A group is a module of this folder whose ``rows(bench)`` yields rows (see measuring.py).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

from measuring import CHECKOUT, Bench, Row
from report import line, profile, write

GROUPS = ("startup", "listings", "parallel_calls", "image_catalogue", "embedded_cloud")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5, help="how often each program is run (default 5)")
    parser.add_argument("--no-write", action="store_true", help="print the rows only")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"default: {' '.join(GROUPS)}")
    options = parser.parse_args()
    package = importlib.util.find_spec("stratuslab")
    if package is None or Path(package.origin or "").is_relative_to(CHECKOUT / "stratuslab"):
        parser.error("install the package as users do, not as editable, which costs more at start-up: tox -e bench")
    begin = time.perf_counter()
    rows: list[Row] = []
    profiles: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), options.rounds)
        for group in options.groups or GROUPS:
            for row in importlib.import_module(group).rows(bench):
                print(line(row), flush=True)
                rows.append(row)
                if not row.reached and row.profiled is not None:
                    # While the group's server still runs.
                    profiles[row.work] = profile(row.profiled, Path(directory))
                    print(*profiles[row.work], sep="\n", flush=True)
        seconds = time.perf_counter() - begin
        if not options.no_write:
            write(rows, profiles, bench.costs, seconds)
    print(f"{sum(row.reached for row in rows)} of {len(rows)} rows reached, in {seconds:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
