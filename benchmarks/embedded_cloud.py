"""Rows about the embedded cloud: many machines, many commands, and a large store that is served."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from measuring import Bench, Program, Row, compared

IMAGE = "BN1EEkPiBx87_uLj2-sdybSI-Xb"  # ttylinux, in the embedded Marketplace
FILL = """
import sys
from pathlib import Path
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import ADMINISTRATOR
engine = Engine(Path(sys.argv[1]))
with engine.store.transaction():
    engine.store.query("DELETE FROM instances")
number = engine.allocate(ADMINISTRATOR, "CPU=0.01 MEMORY=1", hold=True)
names = [row[1] for row in engine.store.query("PRAGMA table_info(instances)") if row[1] != "id"]
with engine.store.transaction():
    for copy in range(number + 1, number + int(sys.argv[2])):
        engine.store.query(f"INSERT INTO instances SELECT ?, {', '.join(names)} FROM instances WHERE id = ?", (copy, number))
"""


def rows(bench: Bench) -> Iterator[Row]:
    yield from _login(bench)
    yield from _machines(bench)
    yield from _sizes(bench)


def _seconds(*programs: Program) -> float:
    """How long the programs take side by side. Raises CalledProcessError if one fails."""
    begin = time.perf_counter()
    running = [one.start(stdout=subprocess.DEVNULL) for one in programs]
    for one in running:
        if one.wait():
            raise subprocess.CalledProcessError(one.returncode, one.args)
    return time.perf_counter() - begin


def _login(bench: Bench) -> Iterator[Row]:
    """A login beside what it is made of, both on a simulated machine."""
    key = bench.directory / "login"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    run = bench.command(
        "run-instance", "-q", "--hypervisor", "simulated", "--key", f"{key}.pub", "--wait-for", "ssh", IMAGE, endpoint="local"
    )
    with run.start(stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        number, address = started.stdout.readline().strip().split(", ")
    connect = bench.command("connect-instance", "--key", str(key), number, "--", "true", endpoint="local")
    describe = bench.command("describe-instance", "-n", number, endpoint="local")
    options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    apart = f'ssh -i "{key}" {options} root@{address} true && exec "$@"'
    both = Program(["sh", "-c", apart, "sh", *describe.words], describe.environ)
    ours, peers = bench.samples(connect, both)
    yield compared("embedded cloud: connect ID -- true", ours, "ssh and one describe", peers, 1.3, connect)
    bench.command("kill-instance", number, endpoint="local").run()


def _machines(bench: Bench) -> Iterator[Row]:
    bench.directory.joinpath("cloud.pub").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl a\n"
    )
    small = ["--cpu", "1", "--ram", "16", "--hypervisor", "simulated", "--key", "~/cloud.pub"]
    kill = bench.command("kill-instance", "--all", "--yes", endpoint="local")
    many = bench.command(
        "run-instance", "-q", "-n", "20", *small, "--vm-cpu-amount", "0.02", "--wait-for", "ssh", IMAGE, endpoint="local"
    )
    yield Row("embedded cloud: run -n 20 --wait-for ssh", _seconds(many), "s", 3.0)
    hundred = [bench.command("describe-instance", "-n", endpoint="local")] * 100
    yield Row("embedded cloud: 100 commands side by side", _seconds(*hundred), "s")
    _seconds(kill)
    _seconds(bench.command("run-instance", "-q", "-n", "254", *small, "--vm-cpu-amount", "0.01", IMAGE, endpoint="local"))
    yield Row("embedded cloud: 254 kills", _seconds(kill), "s", 3.0)


def _sizes(bench: Bench) -> Iterator[Row]:
    """Stores with machines on hold: what a listing and a served pool cost by their number."""
    describe = bench.command("describe-instance", "-n", endpoint="local")
    directory = bench.directory / "cloud"
    costs: dict[int, float] = {}
    for size in (10, 100, 1000, 10_000):
        bench.python("-c", FILL, str(directory), str(size)).run()
        (samples,) = bench.samples(describe)
        costs[size] = min(one.seconds for one in samples) * 1000
    for size in (10, 100, 1000):
        yield Row(f"embedded cloud: describe {size:,}", costs[size])
    fair = costs[10] + 10 * (costs[1000] - costs[10])
    yield Row("embedded cloud: describe 10,000", costs[10_000], "ms", 1.2, "linear", fair, [costs[10_000] / fair], describe)
    serve = bench.command("local-cloud", "serve", "--port", "0", "--user", "oneadmin:secret", endpoint="local")
    with serve.start(stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            bench.peer("one_post.py", server.stdout.readline().split()[0].rstrip(","), "oneadmin").run()
            status = Path("/proc", str(server.pid), "status").read_text()
            yield Row("embedded cloud: memory that serves a pool of 10,000", _kilobytes(status, "VmHWM") / 1024, "MB", 100)
        finally:
            server.terminate()


def _kilobytes(status: str, name: str) -> int:
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name))
