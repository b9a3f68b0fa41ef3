"""What real machines of the embedded cloud cost beyond QEMU itself, as ratios in the same run.

python benchmarks/real_machine.py [RUNS]

``stratus-run-instance --wait-for ssh`` is compared with a bare QEMU that has the very same command line, up to the banner of its
SSH server; one machine, and four at once. Then a supervisor is looked at. Linux, with QEMU and what ``build-image`` needs.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
AT_ONCE = 4
IDLE_SECONDS = 20.0
LONGEST_BOOT = 60
NEXT_TRY = 0.2
KNOCKS = 4


class Cloud:
    """An embedded cloud of its own, as its commands show it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        names = {"STRATUSLAB_LOCAL_DIR": str(directory), "STRATUSLAB_ENDPOINT": "local", "HOME": str(directory)}
        self._environ = {**os.environ, **names, "PYTHONPATH": str(CHECKOUT)}

    def __call__(self, command: str, *arguments: str) -> str:
        line = [sys.executable, str(CHECKOUT / "bin" / f"stratus-{command}"), *arguments]
        return subprocess.run(line, env=self._environ, stdout=subprocess.PIPE, text=True, check=True).stdout

    def run(self, image: str, count: int) -> list[str]:
        """Start so many machines and wait for their SSH servers; the instances' numbers."""
        said = self("run-instance", "-q", "--wait-for", "ssh", "-n", str(count), image)
        return [line.split(",")[0] for line in said.splitlines()]

    def supervisor(self, instance: str) -> int:
        return int((self.directory / "instances" / instance / "lock").read_text())


class Bare:
    """QEMU with the command line of a machine that runs, and such disks as it had at its start."""

    def __init__(self, supervisor: int, directory: Path) -> None:
        children = (Path(path) for path in Path("/proc").glob("[0-9]*") if _parent(path) == supervisor)
        process = next(child for child in children if b"qemu" in (child / "cmdline").read_bytes().split(b"\0")[0])
        self._command = (process / "cmdline").read_text().rstrip("\0").split("\0")
        self._directory = directory
        place = (process / "cwd").readlink()
        self._context = (place / "context.raw").read_bytes()
        # The others of an image that is a kernel are empty at first.
        self._empty = {path.name: path.stat().st_size for path in place.glob("*.raw") if path.name != "context.raw"}

    @contextmanager
    def started(self, count: int) -> Iterator[None]:
        """So many machines, until each has shown its banner."""
        places = [self._place(number) for number in range(count)]
        machines: list[subprocess.Popen[bytes]] = []
        try:
            ports = []
            for place in places:
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", 0))
                    ports.append(listener.getsockname()[1])
                # The monitor and the console would be the supervisor's.
                words = [re.sub(r"^(user,id=\w+)", rf"\1,hostfwd=tcp:127.0.0.1:{ports[-1]}-:22", word) for word in self._command]
                words = [re.sub(r",fd=\d+$", ",path=monitor.sock,server=on,wait=off", word) for word in words]
                machines.append(subprocess.Popen(words, cwd=place))
            for port in ports:
                _wait_for_banner(port)
            yield
        finally:
            for machine in machines:
                machine.kill()
                machine.wait()
            for place in places:
                shutil.rmtree(place)

    def _place(self, number: int) -> Path:
        place = self._directory / f"bare-{number}"
        place.mkdir()
        (place / "context.raw").write_bytes(self._context)
        for name, size in self._empty.items():
            with (place / name).open("wb") as disk:
                disk.truncate(size)
        return place


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _wait_for_banner(port: int) -> None:
    """Knock again and again, since QEMU accepts for a guest that is not there yet, and listen to the last few: a guest does
    not take more from one address."""
    knocks: list[socket.socket] = []
    end = time.monotonic() + LONGEST_BOOT
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError):  # QEMU has not come to that yet
            knocks.append(socket.create_connection(("127.0.0.1", port)))
        if len(knocks) > KNOCKS:
            knocks.pop(0).close()
        for knock in select.select(knocks, [], [], NEXT_TRY)[0]:
            with contextlib.suppress(OSError):
                if knock.recv(4) == b"SSH-":
                    for opened in knocks:
                        opened.close()
                    return
            knock.close()
            knocks.remove(knock)
    raise SystemExit(f"a bare QEMU has shown no banner in {LONGEST_BOOT} s")


def seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def bare_seconds(bare: Bare, count: int) -> float:
    begin = time.perf_counter()
    with bare.started(count):
        return time.perf_counter() - begin


def cloud_seconds(cloud: Cloud, image: str, count: int) -> float:
    instances: list[str] = []
    taken = seconds(lambda: instances.extend(cloud.run(image, count)))
    cloud("kill-instance", *instances)
    return taken


def processor_seconds(process: int) -> float:
    fields = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(process: int) -> float:
    status = Path("/proc", str(process), "status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as directory:
        cloud = Cloud(Path(directory, "cloud"))
        cloud.directory.mkdir()
        image = cloud("local-cloud", "build-image", "tiny").split()[-1]
        try:
            (first,) = cloud.run(image, 1)
            supervisor = cloud.supervisor(first)
            bare = Bare(supervisor, Path(directory))
            used = processor_seconds(supervisor)
            time.sleep(IDLE_SECONDS)
            used = processor_seconds(supervisor) - used
            memory = memory_mb(supervisor)
            cloud("kill-instance", first)
            print(f"{'median of ' + str(runs) + ', seconds':36} {'bare':>6} {'cloud':>6}  ratio")
            for count in (1, AT_ONCE):
                taken: dict[str, list[float]] = {"bare": [], "cloud": []}
                for _ in range(runs):  # in turn, so that a slow moment hits both alike
                    taken["bare"].append(bare_seconds(bare, count))
                    taken["cloud"].append(cloud_seconds(cloud, image, count))
                ours, theirs = statistics.median(taken["cloud"]), statistics.median(taken["bare"])
                print(f"{f'{count} to the SSH banner':36} {theirs:6.2f} {ours:6.2f} {ours / theirs:6.2f}")
            print(f"{'a supervisor, MB of memory':36} {'':6} {memory:6.1f}")
            print(f"{'its CPU in ' + str(int(IDLE_SECONDS)) + ' s, ms':36} {'':6} {used * 1000:6.0f}")
        finally:
            cloud("local-cloud", "reset", "--yes")


if __name__ == "__main__":
    main()
