"""``run -n 20`` ended by a signal at any moment: each machine that was started is named on stdout, on stderr or in the file of
``--output``, or the error names the run's token.

One run in four meets the kill -9 of a child, the process of one of its machines on the embedded cloud; it goes on.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from stratuslab.errors import ExitStatus
from stratuslab.local.engine.engine import Engine
from tests.fakes.served_cloud import served_cloud
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX, Ran, Shell
from tests.reliability.tally import Tally

_SIGNALS = {
    signal.SIGINT: ExitStatus.INTERRUPTED,
    signal.SIGTERM: ExitStatus.TERMINATED,
    signal.SIGHUP: ExitStatus.HUNG_UP,
}
_MACHINES = 20
_LONGEST = 1.2  # seconds: about what a run takes on a computer with other work
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q user@example.org\n"


def user(directory: Path) -> Shell:
    """A user with a public key, whose home is this directory."""
    (directory / ".ssh").mkdir()
    (directory / ".ssh" / "id_ed25519.pub").write_text(KEY)
    return Shell(directory, {"STRATUSLAB_LOCAL_ADDRESSES": str(directory / "addresses")})


def ended_run(seed: int) -> Tally:
    """One run, ended as the seed says."""
    return by_child(seed) if seed % 4 == 0 else by_signal(seed)


def by_signal(seed: int) -> Tally:
    """A run on a served cloud that a signal ends."""
    chance, tally = random.Random(seed), Tally()
    number = chance.choice(list(_SIGNALS))
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        _signalled(user(Path(name)), chance, number, tally)
    return _named(tally, seed, number)


def by_child(seed: int) -> Tally:
    """A run on the embedded cloud, a child of which is killed."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        _child_killed(user(Path(name)), random.Random(seed), tally)
    return _named(tally, seed, signal.SIGKILL)


def _named(tally: Tally, seed: int, number: signal.Signals) -> Tally:
    tally.counted[f"by {number.name}"] += 1
    tally.broken = [f"seed {seed} ({number.name}): {line}" for line in tally.broken]
    return tally


def _signalled(shell: Shell, chance: random.Random, number: signal.Signals, tally: Tally) -> None:
    stage = Stage(shell.home / "cloud")
    with contextlib.closing(stage.engine), served_cloud(stage.engine, {"alice": "secret"}) as served:
        shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
        ids = shell.home / "ids"
        form = chance.choice(("table", "json", "ids"))
        options = ["--no-check-image-url", "-n", str(_MACHINES), "--format", form, "-o", str(ids)]
        process = shell.begin("stratus-run-instance", *options, TTYLINUX)
        if chance.random() < 0.9:
            # Most moments of a run are before its first machine: this is a moment among its machines.
            _wait_for(stage.engine, chance.randint(1, _MACHINES), process)
        time.sleep(chance.random() * (0.05 if chance.random() < 0.7 else _LONGEST))
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        ran = Ran(process.returncode, out, err)
        # Before Python was ready for signals.
        early = process.returncode == -number or "init_import_site" in err
        if not early:
            tally.ran(ran, "run") if ran.err or ran.status in (0, *_SIGNALS.values()) else None
            tally.check(ran.status in (0, _SIGNALS[number]), "statuses of another end", ran)
        account(stage.engine, ran, ids, tally)


def _child_killed(shell: Shell, chance: random.Random, tally: Tally) -> None:
    ids = shell.home / "ids"
    options = ["-n", str(_MACHINES), "--hypervisor", "simulated", "-o", str(ids), "--format", "json"]
    process = shell.begin("stratus-run-instance", "--endpoint", "local", *options, TTYLINUX)
    cloud = shell.home / "cloud"
    after = chance.randint(1, _MACHINES // 2)
    while process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            locks = list((cloud / "instances").glob("*/lock"))
            os.kill(int(locks[after].read_text() if len(locks) > after else ""), signal.SIGKILL)
            tally.counted["children killed"] += 1
            break
        time.sleep(0.005)
    out, err = process.communicate(timeout=120)
    ran = Ran(process.returncode, out, err)
    tally.ran(ran, "run")
    # The machine failed, and the run may notice it.
    goes_on = ran.status in (0, ExitStatus.PARTIAL, ExitStatus.INSTANCE_FAILED)
    tally.check(goes_on, "runs that a child took along", ran.err)
    with contextlib.closing(Engine(cloud, environ=shell.environment())) as engine:
        account(engine, ran, ids, tally)
    killed = shell("kill", "--endpoint", "local", "--all", "--yes")
    tally.check(killed.status == 0, "machines that cannot be killed", killed.err)


def _wait_for(engine: Engine, machines: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and engine.store.query("SELECT count(*) FROM instances")[0][0] < machines:
        time.sleep(0.002)


def account(engine: Engine, ran: Ran, ids: Path, tally: Tally, *, in_file: bool = True) -> None:
    """Check that every machine there is was named, where a person sees it and (unless it could not be written) in the file."""
    there = {row[0] for row in engine.store.query("SELECT id FROM instances")}
    said = re.findall(r"started: ([\d, ]+)|machine (\d+) was started", ran.err)
    on_stderr = set(map(int, re.findall(r"\d+", str(said))))
    on_stdout = set(map(int, re.findall(r"(?:vm ID: |\"id\": |^)(\d+)", ran.out, re.MULTILINE)))
    filed = set(map(int, ids.read_text().split())) if ids.exists() else set()
    doubt = "may have been started" in ran.err
    tally.counted["machines"] += len(there)
    tally.counted["runs with something in doubt"] += doubt
    tally.check(there <= on_stderr | on_stdout or doubt, "unreported machines", (there - on_stderr - on_stdout, ran))
    tally.check(there <= filed or doubt or not in_file, "machines missing in the file", (there - filed, ran))
    tally.check(filed <= there, "machines that never were", filed - there)
