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
from collections.abc import Callable, Mapping
from pathlib import Path

from stratuslab import private_files
from stratuslab.local import child_python

END_SECONDS = 2.0
"""How long a process that is ending, or one that checks the lock, may hold it."""

KILL_SECONDS = 10.0
"""How long a killed process may take to end, as the kernel has to free the memory of a large machine."""

FOR_PROGRAMS = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "STRATUSLAB_LOCAL_DIR")
"""The variables that programs which a supervisor starts may need."""

_FOR_DOWNLOADS = ("REQUESTS_CA_BUNDLE", "STRATUSLAB_CA_BUNDLE", "STRATUSLAB_DOWNLOAD_NETWORKS", "SSL_CERT_FILE")
_PROGRAM = "stratuslab.local.machine_supervisor"


class Supervisors:
    """The supervisors of the store in ``directory``; ``environ`` is their environment.

    Implements :class:`stratuslab.local.machines.driver.SupervisorControl`.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory.absolute()
        self._environ = environ
        self._started: set[int] = set()

    def spawn(self, instance: int) -> None:
        self._reap()
        place = private_files.private_directory(self._place(instance))
        lock = open_lock(place / "lock", os.O_RDWR | os.O_CREAT)
        try:
            if private_files.acquire(lock, END_SECONDS):
                # Remove the process number of an earlier supervisor.
                os.ftruncate(lock, 0)
                os.pwrite(lock, str(self._start(instance, place, lock)).encode(), 0)
        finally:
            # Closed but not unlocked, as the child has inherited the lock.
            os.close(lock)

    def alive(self, instance: int) -> bool:
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
        end = time.monotonic() + KILL_SECONDS
        while self.alive(instance):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "the machine's process does not end", str(instance))
            # It has just ended, or just started and not yet become the leader of its group: then the next round kills it.
            with contextlib.suppress(ProcessLookupError):
                self._signal(instance, signal.SIGKILL)
            time.sleep(0.002)
        # The kernel releases the lock shortly before the process is gone.
        self._reap(self._process(instance))

    def halt(self, instance: int) -> None:
        try:
            self._signal(instance, signal.SIGTERM, os.kill)
        except ProcessLookupError:
            # The supervisor was killed and only its machine is running.
            self.kill(instance)

    def reboot(self, instance: int) -> None:
        self._signal(instance, signal.SIGUSR1, os.kill)

    def pause(self, instance: int) -> None:
        self._signal(instance, signal.SIGSTOP)

    def resume(self, instance: int) -> None:
        self._signal(instance, signal.SIGCONT)

    def _place(self, instance: int) -> Path:
        return self._directory / "instances" / str(instance)

    def _process(self, instance: int) -> int:
        """The number of its last supervisor's process; 0 if it is not known."""
        with contextlib.suppress(OSError, ValueError):
            return int((self._place(instance) / "lock").read_text())
        return 0

    def _signal(self, instance: int, number: signal.Signals, send: Callable[[int, int], None] = os.killpg) -> None:
        """Send a signal to what runs the instance, if anything does."""
        if self.alive(instance) and (process := self._process(instance)):
            send(process, number)

    def _start(self, instance: int, place: Path, lock: int) -> int:
        import subprocess

        if not sys.executable:
            raise OSError(errno.ENOENT, "cannot find the Python interpreter (sys.executable is empty)")
        environ = {name: value for name, value in self._environ.items() if _is_needed(name)}
        log = open_lock(place / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            process = subprocess.Popen(
                child_python.command(_PROGRAM, str(self._directory), str(instance), str(lock)),
                cwd=child_python.WORKING_DIRECTORY,
                env=child_python.environment(environ),
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

    def _reap(self, ended: int = 0) -> None:
        """Wait for the supervisors of this process that have ended, or are about to, so that none stays a zombie."""
        for process in list(self._started):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(process, 0 if process == ended else os.WNOHANG)[0] == 0:
                    continue
            self._started.discard(process)


def open_lock(path: Path, flags: int) -> int:
    """A descriptor above 2. If the standard ones are closed, the child's would replace it otherwise."""
    descriptor = os.open(path, flags, 0o600)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _is_needed(name: str) -> bool:
    """Whether a supervisor gets a variable. Passwords of clouds are not among them."""
    return name in FOR_PROGRAMS + _FOR_DOWNLOADS or name.startswith(("LC_", "PYTHON")) or name.lower().endswith("_proxy")
