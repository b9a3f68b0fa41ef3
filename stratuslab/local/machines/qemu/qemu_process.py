"""A QEMU process: starts it, talks to its monitor, kills it, and measures its use."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from stratuslab.local.machines.driver import MachineError
from stratuslab.local.machines.machine_output import MachineLog
from stratuslab.local.machines.qemu.qmp_client import Event, QmpClient, QmpError
from stratuslab.local.machines.supervisor_processes import FOR_PROGRAMS
from stratuslab.private_files import why

END_SECONDS = 2.0
"""How long a process may take to end after it was killed or asked to quit."""

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h
_OF_A_DISK = re.compile(r"-blockdev \{.*\}: |-device [^ ]*: ")


class QemuProcess:
    """A running QEMU. It is started in the main thread, and killed by the system when that ends.

    ``command`` makes its command line, given the descriptor of the monitor. It runs in ``directory``, writes its errors to
    ``qemu.log`` there, and inherits the descriptor ``lock``. ``on_event`` is called with its events, inside the other methods
    and those of its :attr:`monitor`. Raises MachineError.
    """

    def __init__(self, command: Callable[[int], list[str]], directory: Path, on_event: Event, lock: int | None) -> None:
        self.log = MachineLog(directory / "qemu.log")
        ours, its = socket.socketpair()
        try:
            with its:
                inherited = (its.fileno(),) if lock is None else (its.fileno(), lock)
                self._process = self._start(command(its.fileno()), directory, inherited)
        except OSError as error:
            ours.close()
            what = f"{error.filename}: " if error.filename else ""
            raise MachineError(f"cannot start QEMU: {what}{why(error)}") from error
        self.monitor = QmpClient(ours, on_event)
        try:
            self.monitor.open()
        except QmpError as error:
            self.kill()
            raise MachineError(f"QEMU does not start: {self.last_error() or error}") from error

    def _start(self, command: list[str], directory: Path, inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
        with self.log.opened() as log:
            log.truncate(0)
            return subprocess.Popen(
                command,
                cwd=directory,
                # Not what the supervisor needs for downloads: proxies may have passwords.
                env={name: os.environ[name] for name in FOR_PROGRAMS if name in os.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherited,
                preexec_fn=ends_with_us(),  # noqa: PLW1509 - a system call alone, safe in a process with threads
            )

    def watch(self, seconds: float, wake: socket.socket) -> None:
        """Handle events for so long, at most until QEMU ends or there is something to read from ``wake``."""
        end = time.monotonic() + seconds
        self.monitor.watch(seconds, wake)
        if self.monitor.closed:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(end - time.monotonic(), 0))

    def kill(self) -> None:
        """Kill the process; it is gone when this returns."""
        self._process.kill()
        self.monitor.watch(END_SECONDS)
        if not self.monitor.closed:
            # The process was a script, and QEMU is its child.
            with contextlib.suppress(QmpError):
                self.monitor.execute("quit")
            self.monitor.watch(END_SECONDS)
            self.monitor.close()
        self._process.wait()

    @property
    def status(self) -> int | None:
        """The exit status as in subprocess: 0 if the guest was switched off, negative for a signal. None while it runs."""
        return self._process.returncode

    def used(self) -> tuple[float, int]:
        """CPU seconds used so far and memory in KiB; zeros if the process has ended."""
        return used(self._process.pid) if self.status is None else (0.0, 0)

    def last_error(self) -> str:
        """The last error in the log, on one line; empty if none. It begins with QEMU's name, and may have several lines."""
        said: list[str] = []
        with contextlib.suppress(OSError), self.log.path.open("rb") as file:
            for line in file.read(65536).decode("utf-8", "replace").splitlines():
                name, colon, text = line.partition(": ")
                is_new = colon and Path(name).name.startswith("qemu")
                said = [_OF_A_DISK.sub("", text)] if is_new else [*said, line]
        return " ".join(" ".join(said).split())


def ends_with_us() -> Callable[[], None] | None:
    """A ``preexec_fn`` that has the kernel kill the child with the thread that starts it.

    None if the system cannot: the child then survives if this process alone is killed.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    # Prepared before the fork: after it, locks of other threads may be held for ever.
    prctl = ctypes.CDLL(None).prctl
    parent, kill = os.getpid(), int(signal.SIGKILL)

    def before_exec() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, kill, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def used(process: int) -> tuple[float, int]:
    """CPU seconds and KiB of memory of a process; zeros if it has ended."""
    try:
        return _from_proc(process) if Path("/proc/self/stat").exists() else _from_ps(process)
    except (OSError, ValueError, IndexError):
        return 0.0, 0


def _from_proc(process: int) -> tuple[float, int]:
    place = Path("/proc", str(process))
    # proc(5): the name in brackets may contain anything; utime and stime are fields 14 and 15.
    fields = (place / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    pages = int((place / "statm").read_text("ascii").split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * (os.sysconf("SC_PAGE_SIZE") // 1024)


def _from_ps(process: int) -> tuple[float, int]:
    said = subprocess.run(["ps", "-o", "time=,rss=", "-p", str(process)], capture_output=True, text=True, check=False)
    clock, memory = said.stdout.split()
    days, _, rest = clock.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = seconds * 60 + float(part)
    return int(days or 0) * 86400 + seconds, int(memory)
