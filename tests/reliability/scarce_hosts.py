"""Commands on computers with little of something: files, processes, memory, disk.

Each ends with a clear line and a documented status, loses no machine, and what it left can be killed when there is enough again.
Limits of processes and full disks need root, which mounts a small disk for the latter.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from stratuslab.errors import ExitStatus
from stratuslab.local.engine.engine import Engine
from tests.fakes.served_cloud import served_cloud
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Ran, Shell
from tests.reliability.ended_runs import account, user
from tests.reliability.tally import Tally

# The limit of processes does not hold for root. It counts the processes of the real user: one who has none, while the effective
# user keeps reading this checkout, without the capabilities that lift the limit.
_LIMITED = """
import ctypes, os, resource, sys
name, number = sys.argv[1].split("=")
resource.setrlimit(getattr(resource, name), (int(number), int(number)))
if name == "RLIMIT_NPROC":
    PR_CAPBSET_DROP, CAP_SYS_ADMIN, CAP_SYS_RESOURCE = 24, 21, 24
    for capability in (CAP_SYS_ADMIN, CAP_SYS_RESOURCE):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setresuid(60000 + os.getpid() % 5000, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
_MB = 1 << 20

LIMITS = [
    *(f"RLIMIT_NOFILE={number}" for number in (64, 32, 16, 8)),
    *(f"RLIMIT_NPROC={number}" for number in (40, 12, 5)),
    *(f"RLIMIT_AS={number * _MB}" for number in (256, 128, 64)),
    *(f"RLIMIT_FSIZE={number}" for number in (1 << 20, 1 << 14, 0)),
]
DISKS = ["full", "read-only"]
CASES = [*((limit, where) for limit in LIMITS for where in ("served", "local")), *((disk, "local") for disk in DISKS)]


def scarce_host(seed: int) -> Tally:
    """One of the cases; a seed beyond their number is one of them again."""
    lack, where = CASES[(seed - 1) % len(CASES)]
    tally = Tally()
    if (lack.startswith("RLIMIT_NPROC") or lack in DISKS) and os.geteuid() != 0:
        tally.counted["cases for root only, skipped"] += 1
        return tally
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        shell = user(Path(name))
        if lack in DISKS:
            _on_a_small_disk(shell, lack, tally)
        elif where == "served":
            _served(shell, lack, tally)
        else:
            _local(shell, lack, tally)
    tally.counted["cases"] += 1
    tally.broken = [f"seed {seed} ({lack}, {where}): {line}" for line in tally.broken]
    return tally


def _limited(shell: Shell, lack: str, script: str, *arguments: str) -> Ran:
    """Run a script under a limit."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, lack, str(CHECKOUT / "bin" / script), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**shell.environment(), "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _ran(tally: Tally, ran: Ran, what: str) -> None:
    # Where Python itself cannot start there is nothing that a command could do about it.
    if re.search(r"Fatal Python error|cannot open shared object|error while loading|init_import_site", ran.err) and not ran.out:
        tally.counted["Python itself did not start"] += 1
        return
    tally.counted["done all the same" if ran.status == 0 else "failed clearly"] += 1
    if ran.status != ExitStatus.USAGE or not re.search("Too many open files|read-only file system", ran.err, re.IGNORECASE):
        tally.ran(ran, what)


def _served(shell: Shell, lack: str, tally: Tally) -> None:
    stage = Stage(shell.home / "cloud")
    # Up to OpenNebula 4 a machine can be killed at any time; these are never moved.
    with contextlib.closing(stage.engine), served_cloud(stage.engine, {"alice": "secret"}, "opennebula-4") as served:
        shell.environ.update(STRATUSLAB_ENDPOINT=served.rpc, STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
        ids = shell.home / "ids"
        options = ["--no-check-image-url", "-n", "20", "--format", "json"]
        run = _limited(shell, lack, "stratus-run-instance", *options, "-o", str(ids), TTYLINUX)
        _ran(tally, run, "run")
        account(stage.engine, run, ids, tally, in_file=not lack.startswith("RLIMIT_FSIZE"))
        _ran(tally, _limited(shell, lack, "stratus-describe-instance", "--no-dns"), "describe")
        _ran(tally, _limited(shell, lack, "stratus-kill-instance", "--all", "--yes", "--timeout", "3"), "kill")


def _local(shell: Shell, lack: str, tally: Tally) -> None:
    shell.environ["STRATUSLAB_ENDPOINT"] = "local"
    ids = shell.home / "ids"
    options = ["--hypervisor", "simulated", "-n", "8", "--format", "json", "-o", str(ids)]
    run = _limited(shell, lack, "stratus-run-instance", *options, TTYLINUX)
    _ran(tally, run, "run")
    _ran(tally, _limited(shell, lack, "stratus-describe-instance", "--no-dns"), "describe")
    _aftermath(shell, run, ids, tally, in_file=not lack.startswith("RLIMIT_FSIZE"))


def _aftermath(shell: Shell, run: Ran, ids: Path, tally: Tally, in_file: bool = True) -> None:
    """Everything is accounted for, and can be ended, on a computer that has enough again."""
    if (shell.home / "cloud" / "cloud.sqlite").exists():
        with contextlib.closing(Engine(shell.home / "cloud", environ=shell.environment())) as engine:
            account(engine, run, ids, tally, in_file=in_file)
    killed = shell("kill", "--all", "--yes")
    tally.check(killed.status == 0, "machines that cannot be killed", killed.err)
    with contextlib.closing(Engine(shell.home / "cloud", environ=shell.environment())) as engine:
        left = engine.store.query("SELECT instance FROM leases")
        tally.check(not left, "leases left", left)


def _on_a_small_disk(shell: Shell, lack: str, tally: Tally) -> None:
    place = shell.home / "disk"
    with _mounted(place):
        shell.environ.update(STRATUSLAB_ENDPOINT="local", STRATUSLAB_LOCAL_DIR=str(place / "cloud"))
        before = shell.script("stratus-run-instance", "--hypervisor", "simulated", "-n", "2", TTYLINUX)
        tally.check(before.status == 0, "a disk of 64 MB is not enough", before.err)
        if lack == "full":
            _fill(place / "filler")
        else:
            # A disk that is written to cannot become read-only.
            shell.script("stratus-kill-instance", "--all", "--yes")
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        for script, *arguments in (
            ("stratus-run-instance", "--hypervisor", "simulated", "-n", "3", "-o", str(place / "ids"), TTYLINUX),
            ("stratus-run-instance", "--hypervisor", "simulated", "-n", "3", TTYLINUX),
            ("stratus-describe-instance", "--no-dns"),
            ("stratus-kill-instance", "1"),
        ):
            _ran(tally, _limited(shell, "RLIMIT_NOFILE=1024", script, *arguments), script)
        if lack == "full":
            (place / "filler").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        killed = shell("kill", "--all", "--yes")
        tally.check(killed.status == 0, "machines that cannot be killed", killed.err)
        with contextlib.closing(Engine(place / "cloud", environ=shell.environment())) as engine:
            left = engine.store.query("SELECT instance FROM leases")
            tally.check(not left, "leases left", left)


def _fill(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(descriptor, b"x" * 4096):
            pass
    os.close(descriptor)


@contextlib.contextmanager
def _mounted(place: Path) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)
