"""Starts the processes of instances, and looks after them from outside: each is a :mod:`stratuslab.local.supervisor`.

Whether a supervisor lives is told by an advisory lock (flock) on ``instances/ID/lock`` in the store's directory. The starter
takes it and the process inherits it, so it is held from before the process exists until the kernel has ended it, however it
ends. What runs a real machine inherits it from that: where the supervisor alone is killed and the system does not end the
machine with it, the machine still counts as living, and can be killed. The number in that file is the supervisor's, and that of
the group of processes that it leads; it means something only as long as the lock is held.
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

from stratuslab import files
from stratuslab.local.child_process import python_path

END_SECONDS = 2.0
"""How long a process that is about to end may hold its lock."""

KILL_SECONDS = 10.0
"""How long what was killed may take to be gone: the kernel has the memory of a large machine to free."""

_PROXIES = [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")]
_OF_DOWNLOADS = ["REQUESTS_CA_BUNDLE", "STRATUSLAB_CA_BUNDLE", "SSL_CERT_FILE", *_PROXIES, *map(str.lower, _PROXIES)]
_OF_PROGRAMS = ["PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "STRATUSLAB_LOCAL_DIR"]
_KEPT = frozenset([*_OF_PROGRAMS, *_OF_DOWNLOADS])
_KEPT_PREFIXES = ("LC_", "PYTHON")
_PROGRAM = "stratuslab.local.supervisor"


class Supervisors:
    """The supervisors of the store in ``directory``; ``environ`` is what they are started from.

    Implements :class:`stratuslab.local.machines.driver.SupervisorControl`. Every method raises OSError where the system refuses.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory.absolute()
        self._environ = environ
        self._started: set[int] = set()

    def spawn(self, instance: int) -> None:
        """Start the instance's supervisor; returns without waiting for it. One that lives is left alone."""
        self._reap()
        place = self._place(instance)
        files.private_directory(place)
        lock = open_lock(place / "lock", os.O_RDWR | os.O_CREAT)
        try:
            if not acquire(lock):
                return
            # A number from an earlier life must not be taken for this one's.
            os.ftruncate(lock, 0)
            process = self._start(instance, place, lock)
            os.pwrite(lock, str(process).encode(), 0)
        finally:
            # Not unlocked: the lock is the child's as well, and stays with it.
            os.close(lock)

    def alive(self, instance: int) -> bool:
        """Whether the instance's supervisor lives, or what it has left running."""
        self._reap()
        try:
            lock = open_lock(self._place(instance) / "lock", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that two who ask at a time do not take each other for the supervisor.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def kill(self, instance: int) -> None:
        """Kill the supervisor and all that it started; it is gone when this returns. Raises TimeoutError if it stays."""
        end = time.monotonic() + KILL_SECONDS
        while self.alive(instance):
            if time.monotonic() > end:
                raise TimeoutError(errno.ETIMEDOUT, "the machine's process does not end", str(instance))
            # Gone in this moment, or started in this moment and not yet the leader of its group: then it is asked again.
            with contextlib.suppress(ProcessLookupError):
                self._signal(instance, signal.SIGKILL, group=True)
            time.sleep(0.002)
        # The system frees the lock a moment before the process is gone.
        with contextlib.suppress(OSError, ValueError):
            process = int((self._place(instance) / "lock").read_text())
            if process in self._started:
                os.waitpid(process, 0)
                self._started.discard(process)
        self._reap()

    def halt(self, instance: int) -> None:
        """Ask the guest to shut down; returns at once. Where the supervisor was killed, and only what it started lives, nobody is
        there to ask: the cord is pulled."""
        if self.alive(instance):
            try:
                self._signal(instance, signal.SIGTERM, group=False)
            except ProcessLookupError:
                self.kill(instance)

    def reboot(self, instance: int) -> None:
        """Have the guest shut down and started again; returns at once."""
        if self.alive(instance):
            self._signal(instance, signal.SIGUSR1, group=False)

    def pause(self, instance: int) -> None:
        """Let the machine stand still, supervisor and all. The caller has the store to itself, so that none stops who writes."""
        if self.alive(instance):
            self._signal(instance, signal.SIGSTOP, group=True)

    def resume(self, instance: int) -> None:
        """Let a machine that stands still run on."""
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
            raise OSError(errno.ENOENT, "this Python does not know its own program")
        log = open_lock(place / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", _PROGRAM, str(self._directory), str(instance), str(lock)],
                # Python looks for modules in its working directory first: no one else's, and none that is in the way.
                cwd=place,
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
        # It outlives us; what Popen would say of a child that nobody waited for is no news. _reap() waits.
        process.returncode = 0
        return process.pid

    def _reap(self) -> None:
        """Take note of the supervisors that this process started and that have ended, so that none stays as a zombie."""
        for process in list(self._started):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(process, os.WNOHANG)[0] == 0:
                    continue
            self._started.discard(process)


def open_lock(path: Path, flags: int) -> int:
    """A descriptor above the standard ones, which a caller may have closed: a child's own would be put over it."""
    descriptor = os.open(path, flags, 0o600)
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def acquire(lock: int) -> bool:
    """Take the lock; False when another keeps it. Who asks whether it is free, or is about to end, holds it for a moment."""
    return files.acquire(lock, END_SECONDS)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a supervisor needs of the environment, and the places where this process finds its modules. No cloud's password."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {**kept, "PYTHONPATH": python_path()}
