"""kill -9 of commands, supervisors and the server while several commands at a time change one embedded cloud.

Afterwards no lease, disk, process or id is lost or there twice, and when the last machine is killed nothing is left of it.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from stratuslab.local.engine.engine import Engine
from stratuslab.local.images.initialized_store import NEXT_INSTANCE
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from tests.harness import TTYLINUX, Shell
from tests.reliability.ended_runs import user
from tests.reliability.tally import Tally

KILLS = 10
"""Processes that one trial kills."""

SUPERVISOR = "stratuslab.local.machine_supervisor"
_WORKERS = 3
_PATIENCE = 120.0  # seconds for one command on a busy computer


def simulated(seed: int) -> Tally:
    """Ten kills among simulated machines."""
    with _place() as directory:
        return _Trial(seed, user(directory), ["--hypervisor", "simulated", TTYLINUX]).run()


def qemu(seed: int) -> Tally:
    """Ten kills among machines that QEMU boots. The packages of the image are kept in ``$STRATUSLAB_TINY_CACHE``."""
    with _place() as directory:
        shell = user(directory)
        if kept := os.environ.get("STRATUSLAB_TINY_CACHE"):
            (directory / "cloud" / "cache").mkdir(parents=True, mode=0o700)
            (directory / "cloud").chmod(0o700)
            (directory / "cloud" / "cache" / "tiny").symlink_to(kept, target_is_directory=True)
        built = shell("local_cloud", "build-image", "tiny")
        assert built.status == 0, built
        return _Trial(seed, shell, ["--hypervisor", "qemu", "--ram", "96", "--swap", "0", built.out.strip()]).run()


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reliability-") as name:
        yield Path(name)


class _Trial:
    def __init__(self, seed: int, shell: Shell, image: list[str]) -> None:
        self._seed = seed
        self._shell = shell
        self._image = image
        self._chance = random.Random(seed)
        self._tally = Tally()
        self._cloud = shell.home / "cloud"
        self._running: set[subprocess.Popen[str]] = set()
        self._killed: set[subprocess.Popen[str]] = set()
        self._started: list[int] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def run(self) -> Tally:
        shell = self._shell
        shell.environ["STRATUSLAB_ENDPOINT"] = "local"
        volumes = [shell("local_cloud", "volumes", "create", "1").out.split()[0] for _ in range(2)]
        (shell.home / "users").write_text("oneadmin:secret\n")
        (shell.home / "password").write_text("secret\n")
        for name in ("users", "password"):
            (shell.home / name).chmod(0o600)
        self._serve()
        self._command("run", "--format", "ids", "-n", "3", *self._image)
        workers = [threading.Thread(target=self._work, args=(place, volumes)) for place in range(_WORKERS)]
        for worker in workers:
            worker.start()
        kills = {"command": self._kill_command, "supervisor": self._kill_supervisor, "server": self._kill_server}
        done = 0
        end = time.monotonic() + 30 * KILLS
        while done < KILLS and time.monotonic() < end:
            time.sleep(self._chance.uniform(0.1, 1.5))
            what = self._chance.choice(["command"] * 4 + ["supervisor"] * 4 + ["server"])
            if kills[what]():
                done += 1
                self._tally.counted[f"kills of a {what}"] += 1
        self._over.set()
        for worker in workers:
            worker.join()
        self._server.kill()
        self._server.communicate()
        self._check()
        self._clear()
        self._tally.broken = [f"seed {self._seed}: {line}" for line in self._tally.broken]
        return self._tally

    def _serve(self) -> None:
        options = ["serve", "--port", "0", "--users", str(self._shell.home / "users")]
        self._server = self._shell.begin("stratus-local-cloud", *options)
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, self._server.communicate()
        self._url = line.split()[0]

    def _work(self, place: int, volumes: list[str]) -> None:
        chance = random.Random(f"{self._seed} {place}")
        while not self._over.is_set():
            served = ["--endpoint", self._url, "-u", "oneadmin", "--password-file", str(self._shell.home / "password")]
            where = served if chance.random() < 0.4 else []
            what = chance.choice(("run", "run", "run-with-volume", "kill", "kill", "shutdown", "stop", "start", "describe"))
            if what.startswith("run"):
                disk = ["--persistent-disk", chance.choice(volumes)] if what == "run-with-volume" else ["-n", "2"]
                self._command("run", *where, "--no-check-image-url", "--format", "ids", *disk, *self._image)
            elif what == "describe":
                self._command("describe", *where, "--no-dns")
            else:
                wait = [] if what == "kill" else ["--no-wait"]
                with self._lock:
                    number = chance.choice(self._started or [1])
                self._command(what, *where, *wait, str(number))

    def _command(self, name: str, *arguments: str) -> None:
        process = self._shell.begin(f"stratus-{name}-instance", *arguments)
        with self._lock:
            self._running.add(process)
        out, err = process.communicate(timeout=_PATIENCE)
        with self._lock:
            self._running.discard(process)
            if name == "run":
                self._started += map(int, re.findall(r"^(\d+)$", out, re.MULTILINE))
        self._tally.counted["commands"] += 1
        self._tally.check("Traceback" not in err and "internal error" not in err, "tracebacks", err)

    def _kill_command(self) -> bool:
        with self._lock:
            if not self._running:
                return False
            self._chance.choice(sorted(self._running, key=lambda process: process.pid)).kill()
            return True

    def _kill_supervisor(self) -> bool:
        locks = sorted(self._cloud.glob("instances/*/lock"))
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = int(self._chance.choice(locks).read_text())
            if number in _supervisors(self._cloud).values():
                os.kill(number, signal.SIGKILL)
                return True
        return False

    def _kill_server(self) -> bool:
        self._server.kill()
        self._server.communicate()
        self._serve()
        return True

    def _check(self) -> None:
        """What must hold at once after the storm."""
        tally = self._tally
        ran = self._shell("describe", "--no-dns", "--format", "ids")
        tally.check(ran.status == 0, "describe after the kills fails", ran.err)
        with contextlib.closing(Engine(self._cloud, environ=self._shell.environment())) as engine:
            living = {record.id: record for record in engine.pool(ADMINISTRATOR, Owner.ALL, -1, -1, PoolState.NOT_DONE)}
            store = engine.store
            ids = [row[0] for row in store.query("SELECT id FROM instances ORDER BY id")]
            tally.counted["machines"] += len(ids)
            tally.check(ids == list(range(1, int(store.setting(NEXT_INSTANCE) or 1))), "ids lost", ids)
            twice = [number for number, times in Counter(self._started).items() if times > 1]
            tally.check(not twice and set(self._started) <= set(ids), "ids reported twice, or that never were", self._started)
            leases = Counter((row[0], row[1]) for row in store.query("SELECT instance, address FROM leases"))
            tally.check({number for number, _ in leases} == set(living), "leases lost", (leases, sorted(living)))
            addresses = [nic["IP"] for record in living.values() for nic in record.vectors("NIC")]
            tally.check(len(set(addresses)) == len(addresses), "addresses leased twice", addresses)
            attached = {row[0] for row in store.query("SELECT instance FROM volumes WHERE instance IS NOT NULL")}
            tally.check(attached <= set(living), "volumes of machines that are gone", attached)
            processes = _supervisors(self._cloud)
            tally.check(set(processes) <= set(living), "processes of machines that are gone", processes)

    def _clear(self) -> None:
        """What must be true once all is killed."""
        tally = self._tally
        ran = self._shell("kill", "--all", "--yes", "--timeout", "60")
        tally.check(ran.status == 0, "machines that cannot be killed", ran.err)
        _within(10, lambda: not _supervisors(self._cloud))
        with contextlib.closing(Engine(self._cloud, environ=self._shell.environment())) as engine:
            store = engine.store
            left = [(row[0], row[1]) for row in store.query("SELECT instance, address FROM leases")]
            tally.check(not left, "leases left", left)
            attached = store.query("SELECT uuid FROM volumes WHERE instance IS NOT NULL")
            tally.check(not attached, "volumes left attached", attached)
            files = {path.name for path in (self._cloud / "volumes").glob("*")}
            tally.check(files == {row[0] for row in store.query("SELECT uuid FROM volumes")}, "disks lost", files)
            left_over = [str(path) for path in self._cloud.glob("instances/*")]
            tally.check(not left_over, "files left", left_over)
            tally.check(not _supervisors(self._cloud), "processes left", _supervisors(self._cloud))


def _supervisors(cloud: Path) -> dict[int, int]:
    """The process of each instance that has one: its supervisor, else its QEMU."""
    found: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            words = [os.fsdecode(word) for word in (entry / "cmdline").read_bytes().split(b"\0")]
            place = (entry / "cwd").readlink()
            if SUPERVISOR in words and words[words.index(SUPERVISOR) + 1] == str(cloud):
                found[int(words[words.index(SUPERVISOR) + 2])] = int(entry.name)
            elif place.parent == cloud / "instances":
                found.setdefault(int(place.name), int(entry.name))
    return found


def _within(seconds: float, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
