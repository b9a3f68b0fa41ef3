"""Rows about commands that make many calls, to a server that takes its time. Sequential is what the calls alone would take."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from measuring import Bench, Row, Sample, compared

LATENCY = 0.05
IMAGE = "http://127.0.0.1/image.qcow2"  # a URL is not looked up anywhere

LOOK_UPS = """
import time
from stratuslab.commands.shared.reverse_dns import host_names
found = host_names([f"10.0.{n // 250}.{n % 250}" for n in range(500)], lambda address: time.sleep(0.1) or "name", 10)
assert len(found) == 500
"""


def rows(bench: Bench) -> Iterator[Row]:
    bench.directory.joinpath("key.pub").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl a\n"
    )
    run = ["run-instance", "-q", "-n", "50", "--key", "~/key.pub", IMAGE]
    kill = ["kill-instance", *map(str, range(200))]
    many = ["describe-instance", "-n", *map(str, range(200))]
    for serial in ((), ("--serial",)):
        with bench.server("--latency", str(LATENCY), *serial) as endpoint:
            for work, arguments, calls in (("run -n 50", run, 102), ("kill 200", kill, 201), ("describe 200 by id", many, 201)):
                program = bench.command(*arguments, endpoint=endpoint)
                (samples,) = bench.samples(program) if not serial else [[program.run()]]
                sequential = [Sample(calls * LATENCY, 0.0, 0.0)] * len(samples)
                name = f"{work}, {LATENCY * 1000:.0f} ms a call{', one by one' if serial else ''}"
                yield compared(name, samples, "sequential", sequential, 1.1 if serial else round(1 / 6, 3), program)
    (samples,) = bench.samples(bench.python("-c", LOOK_UPS))
    yield Row("names of 500 addresses, 100 ms each", statistics.median(one.seconds for one in samples) * 1000, "ms", 2000)
