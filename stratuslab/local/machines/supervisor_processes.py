"""Starts, signals and kills the processes of instances, each a :mod:`stratuslab.local.machine_supervisor`.

A supervisor is running as long as ``instances/ID/lock`` in the store's directory is locked (flock). The launcher takes the lock
and the process inherits it, so it is held from before the start until the kernel has ended the process. QEMU inherits it
too: if the supervisor alone is killed and the system does not kill QEMU with it, the machine still counts as running, and can
be killed. The number in the file is the supervisor's process and process group, valid only while the lock is held.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stratuslab import private_files
from stratuslab.local import child_python

END_SECONDS = 2.0
"""How long a process that is ending may still hold its lock."""

KILL_SECONDS = 10.0
"""How long a killed process may take to end, as the kernel has to free the memory of a large machine."""

_PROXIES = [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")]
_FOR_DOWNLOADS = [
    "REQUESTS_CA_BUNDLE",
    "STRATUSLAB_CA_BUNDLE",
    "STRATUSLAB_DOWNLOAD_NETWORKS",
    "SSL_CERT_FILE",
    *_PROXIES,
    *map(str.lower, _PROXIES),
]
FOR_PROGRAMS = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "STRATUSLAB_LOCAL_DIR")
"""The variables that programs which a supervisor starts may need."""

_KEPT = frozenset([*FOR_PROGRAMS, *_FOR_DOWNLOADS])
_KEPT_PREFIXES = ("LC_", "PYTHON")
_PROGRAM = "stratuslab.local.machine_supervisor"


class Supervisors:
    """The supervisors of the store in ``directory``; ``environ`` is their environment.

    Implements :class:`stratuslab.local.machines.driver.SupervisorControl`. Methods raise OSError.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory.absolute()
        self._environ = environ
        self._started: set[int] = set()

    def spawn(self, instance: int) -> None:
        """Start the instance's supervisor unless it is running. Returns at once."""
        self._reap()
        place = self._place(instance)
        private_files.private_directory(place)
        lock = open_lock(place / "lock", os.O_RDWR | os.O_CREAT)
        try:
            if not acquire(lock):
                return
            # Remove the process number of an earlier supervisor.
            os.ftruncate(lock, 0)
            process = self._start(instance, place, lock)
            os.pwrite(lock, str(process).encode(), 0)
        finally:
            # Closed but not unlocked, as the child has inherited the lock.
            os.close(lock)

    def alive(self, instance: int) -> bool:
        """Whether the supervisor, or the machine that it started, is running."""
        self._reap()
        try:
            lock = open_lock(self._place(instance) / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two callers at a time do not take each other for the supervisor.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def kill(self, instance: int) -> None:
        """Kill the supervisor and all that it started; they are gone when this returns. Raises TimeoutError."""
        end = time.monotonic() + KILL_SECONDS
        while self.alive(instance):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "the machine's process does not end", str(instance))
            # It has just ended, or just started and not yet become the leader of its group: then the next round kills it.
            with contextlib.suppress(ProcessLookupError):
                self._signal(instance, signal.SIGKILL, group=True)
            time.sleep(0.002)
        # The kernel releases the lock shortly before the process is gone.
        with contextlib.suppress(OSError, ValueError):
            process = int((self._place(instance) / "lock").read_text())
            if process in self._started:
                os.waitpid(process, 0)
                self._started.discard(process)
        self._reap()

    def halt(self, instance: int) -> None:
        """Ask the guest to shut down. Returns at once. If the supervisor was killed and only its machine is running, that is
        killed."""
        if self.alive(instance):
            try:
                self._signal(instance, signal.SIGTERM, group=False)
            except ProcessLookupError:
                self.kill(instance)

    def reboot(self, instance: int) -> None:
        """Ask the guest to shut down, and start it again. Returns at once."""
        if self.alive(instance):
            self._signal(instance, signal.SIGUSR1, group=False)

    def pause(self, instance: int) -> None:
        """Pause the machine with its supervisor. The caller has locked the store, so the supervisor is not writing."""
        if self.alive(instance):
            self._signal(instance, signal.SIGSTOP, group=True)

    def resume(self, instance: int) -> None:
        """Continue a paused machine."""
        if self.alive(instance):
            self._signal(instance, signal.SIGCONT, group=True)

    def _place(self, instance: int) -> Path:
        return self._directory / "instances" / str(instance)

    def _signal(self, instance: int, number: signal.Signals, group: bool) -> None:
        with contextlib.suppress(FileNotFoundError):
            text = (self._place(instance) / "lock").read_text()
            if text.isdecimal():
                (os.killpg if group else os.kill)(int(text), number)

    def _start(self, instance: int, place: Path, lock: int) -> int:
        import subprocess

        if not sys.executable:
            raise OSError(errno.ENOENT, "cannot find the Python interpreter (sys.executable is empty)")
        log = open_lock(place / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            process = subprocess.Popen(
                child_python.command(_PROGRAM, str(self._directory), str(instance), str(lock)),
                cwd=child_python.WORKING_DIRECTORY,
                env=_environment(self._environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(log)
        self._started.add(process.pid)
        # It outlives this process. This prevents Popen's warning about a child without wait(); _reap() waits.
        process.returncode = 0
        return process.pid

    def _reap(self) -> None:
        """Wait for the supervisors of this process that have ended, so that none stays a zombie."""
        for process in list(self._started):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(process, os.WNOHANG)[0] == 0:
                    continue
            self._started.discard(process)


def open_lock(path: Path, flags: int) -> int:
    """A descriptor above 2. If the standard ones are closed, the child's would replace it otherwise."""
    descriptor = os.open(path, flags, 0o600)
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def acquire(lock: int) -> bool:
    """Take the lock; False if another process keeps it. One that checks it or is ending holds it for a moment only."""
    return private_files.acquire(lock, END_SECONDS)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that a supervisor needs. Passwords of clouds are not among them."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return child_python.environment(kept)
