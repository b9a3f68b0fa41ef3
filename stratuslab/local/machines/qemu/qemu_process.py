"""One life of a QEMU process: started with a monitor, followed to its end."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stratuslab.files import why
from stratuslab.local.machines.driver import MachineError
from stratuslab.local.machines.qemu.child_lifetime import ends_with_us, used
from stratuslab.local.machines.qemu.qmp_client import Event, QmpClient, QmpError

END_SECONDS = 2.0
"""How long a process that was killed, or told to end, may take for it."""

_LARGEST_LOG = 1 << 20
_OF_A_DISK = re.compile(r"-blockdev \{.*\}: |-device [^ ]*: ")


class QemuProcess:
    """A QEMU. ``command`` makes its command line, given the monitor's descriptor; it runs in ``directory``.

    What it complains of is added to ``log``; ``tell`` is called with its events, in a thread. :attr:`ended` is set when the
    process is gone, and ``news`` as well, if given. ``hold`` is a descriptor that it keeps open as long as it lives.
    """

    def __init__(
        self,
        command: Callable[[int], list[str]],
        directory: Path,
        log: Path,
        tell: Event,
        news: threading.Event | None = None,
        hold: int | None = None,
    ) -> None:
        self._command = command
        self._directory = directory
        self._log = log
        self._tell = tell
        self._news = news
        self._hold = hold
        self._complaints = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: QmpClient | None = None
        self._open = False
        self.ended = threading.Event()

    def start(self) -> None:
        """Start the process and its monitor; by the thread that lives as long as this process. Raises MachineError."""
        ours, its = socket.socketpair()
        try:
            with its:
                self._process = self._start(its.fileno())
        except OSError as error:
            ours.close()
            self.ended.set()
            what = f"{error.filename}: " if error.filename else ""
            raise MachineError(f"QEMU cannot be started: {what}{why(error)}") from error
        self._monitor = QmpClient(ours, self._tell)
        threading.Thread(target=self._follow, daemon=True, name="qemu").start()
        try:
            self._monitor.open()
            self._open = True
        except QmpError as error:
            self.kill()
            raise MachineError(f"QEMU does not start: {self.complaint() or error}") from error

    def _start(self, monitor: int) -> subprocess.Popen[bytes]:
        log = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._complaints = os.fstat(log).st_size
            return subprocess.Popen(
                self._command(monitor),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(monitor,) if self._hold is None else (monitor, self._hold),
                preexec_fn=ends_with_us(),  # noqa: PLW1509 - a system call alone, safe in a process with threads
            )
        finally:
            os.close(log)

    def _follow(self) -> None:
        assert self._monitor is not None and self._process is not None
        try:
            self._monitor.listen()
        finally:
            self._process.wait()
            self.ended.set()
            if self._news is not None:
                self._news.set()

    def ask(self, command: str, arguments: Mapping[str, object] | None = None) -> Any:
        """What QEMU returns for a command of its monitor. Raises QmpError."""
        if self._monitor is None or not self._open:
            raise QmpError("QEMU is not ready")
        return self._monitor.execute(command, arguments)

    def kill(self) -> None:
        """Pull the cord; the process is gone when this returns."""
        if self._process is None:
            return
        self._process.kill()
        if self._monitor is not None and not self.ended.wait(END_SECONDS):
            # Somebody still has the monitor: the process was a script, and QEMU its child.
            with contextlib.suppress(QmpError):
                self.ask("quit")
            self.ended.wait(END_SECONDS)
            self._monitor.close()
        self.ended.wait()

    def used(self) -> tuple[float, int]:
        """Seconds of CPU that it has used, and the KiB of memory that it has now; zeros when it has ended."""
        return (0.0, 0) if self._process is None or self.ended.is_set() else used(self._process.pid)

    @property
    def status(self) -> int:
        """How it ended, as subprocess has it: 0 when its guest was switched off, negative for a signal."""
        return self._process.returncode or 0 if self._process is not None else 0

    def complaint(self) -> str:
        """The last thing that it has complained of, on one line; empty if nothing."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._complaints)
                lines = file.read(65536).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return _last(lines)

    def shorten_log(self) -> None:
        """Keep what it complains of bounded: a guest may be the cause of it."""
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > _LARGEST_LOG:
                os.truncate(self._log, 0)
                self._complaints = 0


def _last(lines: list[str]) -> str:
    """QEMU begins what it says with its name, and goes on on further lines."""
    said: list[str] = []
    for line in lines:
        name, colon, text = line.partition(": ")
        if colon and Path(name).name.startswith("qemu"):
            said = [_OF_A_DISK.sub("", text)]
        else:
            said.append(line)
    return " ".join(" ".join(said).split())
