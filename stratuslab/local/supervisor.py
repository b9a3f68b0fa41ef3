"""The process of an instance: it owns the machine, tells the engine what becomes of it, and ends with it.

The class :class:`Supervisors` starts such processes and looks after them from outside; ``python -m
stratuslab.local.supervisor DIRECTORY INSTANCE`` is one.

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
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.local.children import python_path
from stratuslab.opennebula.states import Lcm

if TYPE_CHECKING:
    from stratuslab.local.engine import Engine
    from stratuslab.local.machine import Machine

FIRST_POLL = 1.0
POLL = 5.0
REPORT = 30.0
"""Seconds: from running to the first poll, from poll to poll, and the longest between two reports of unchanged figures."""

END_SECONDS = 2.0
"""How long a process that is about to end may hold its lock."""

KILL_SECONDS = 10.0
"""How long what was killed may take to be gone: the kernel has the memory of a large machine to free."""

_ASKING = (signal.SIGTERM, signal.SIGUSR1)
"""To shut down, and to start again after that."""

_PROXIES = [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")]
_OF_DOWNLOADS = ["REQUESTS_CA_BUNDLE", "STRATUSLAB_CA_BUNDLE", "SSL_CERT_FILE", *_PROXIES, *map(str.lower, _PROXIES)]
_OF_PROGRAMS = ["PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "STRATUSLAB_LOCAL_DIR"]
_KEPT = frozenset([*_OF_PROGRAMS, *_OF_DOWNLOADS])
_KEPT_PREFIXES = ("LC_", "PYTHON")


class Supervisors:
    """The supervisors of the store in ``directory``; ``environ`` is what they are started from.

    Implements :class:`stratuslab.local.machine.Machines`. Every method raises OSError where the system refuses.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory.absolute()
        self._environ = environ
        self._started: set[int] = set()

    def spawn(self, instance: int) -> None:
        """Start the instance's supervisor; returns without waiting for it. One that lives is left alone."""
        self._reap()
        place = self._place(instance)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _open(place / "lock", os.O_RDWR | os.O_CREAT)
        try:
            if not _acquire(lock):
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
            lock = _open(self._place(instance) / "lock", os.O_RDWR)
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
        log = _open(place / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._directory), str(instance), str(lock)],
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


def _open(path: Path, flags: int) -> int:
    """A descriptor above the standard ones, which a caller may have closed: a child's own would be put over it."""
    descriptor = os.open(path, flags, 0o600)
    if descriptor > 2:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(descriptor)


def _acquire(lock: int) -> bool:
    """Take the lock; False when another keeps it. Who asks whether it is free, or is about to end, holds it for a moment."""
    end = time.monotonic() + END_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a supervisor needs of the environment, and the places where this process finds its modules. No cloud's password."""
    kept = {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    return {**kept, "PYTHONPATH": python_path()}


def main(arguments: list[str]) -> int:
    """Be the supervisor of an instance; arguments: directory, instance, and the descriptor of the lock if it is inherited."""
    directory, instance = Path(arguments[0]), int(arguments[1])
    os.umask(0o077)
    asked = _catch_signals()
    place = directory / "instances" / str(instance)
    lock = int(arguments[2]) if len(arguments) > 2 else _open(place / "lock", os.O_RDWR | os.O_CREAT)
    if not _acquire(lock):
        print(f"instance {instance} has a supervisor already", file=sys.stderr)
        return 1
    # What the machine starts must not keep the lock, but for what runs it, which is given it.
    os.set_inheritable(lock, False)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)

    # Paramiko imports invoke where it is installed, for something that is not used here, and with it asyncio and a YAML
    # reader: a third of the time to the first connection, and 5 MB for every instance.
    sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]

    from stratuslab.local.engine import Engine

    try:
        _supervise(Engine(directory), instance, _Place(place / "lock", lock), asked)
    except Exception:
        _complain()
        return 1
    return 0


def _complain() -> None:
    """Note the exception that is being handled. On a full disk that cannot be done, which must not end the machine."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


class _Place:
    """The instance's directory, known by its lock: whoever removes the store's directory has ended its machines."""

    def __init__(self, path: Path, lock: int) -> None:
        self._path = path
        self.lock = lock

    def is_there(self) -> bool:
        try:
            return self._path.stat().st_ino == os.fstat(self.lock).st_ino
        except OSError:
            return False


def _catch_signals() -> int:
    """Turn each SIGTERM and SIGUSR1 into a byte, its number; the descriptor to read them from. So nothing runs inside a
    handler, which could find a lock of its own thread taken."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in _ASKING:
        signal.signal(number, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A starter that had them blocked hands that down.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKING)
    return readable


def _supervise(engine: Engine, instance: int, place: _Place, asked: int) -> None:
    # Whatever becomes of the instance, nothing runs its machine once its supervisor is gone.
    with contextlib.ExitStack() as ending:
        machine = _brought_up(engine, instance, place, asked, ending)
        if machine is not None and _watch(engine, instance, machine, place):
            engine.machine_ended(instance)


def _brought_up(engine: Engine, instance: int, place: _Place, asked: int, ending: contextlib.ExitStack) -> Machine | None:
    """The running machine; None when it failed, which the engine then knows, or when nobody wants it any more."""
    from stratuslab.local.hypervisors import hypervisor
    from stratuslab.local.machine import MachineError

    step = Lcm.PROLOG
    try:
        spec = replace(engine.machine(instance), hold=place.lock)
        machine = hypervisor(spec.hypervisor, os.environ).make(spec)
        ending.callback(machine.kill)
        if not engine.machine_reached(instance, Lcm.PROLOG):
            return None
        machine.prepare()
        if not engine.machine_reached(instance, Lcm.BOOT):
            return None
        step = Lcm.BOOT
        threading.Thread(target=_ask_the_guest, args=(asked, machine), daemon=True, name="asked").start()
        address, port = machine.boot()
        engine.machine_listens(instance, address, port)
        return machine if engine.machine_reached(instance, Lcm.RUNNING) else None
    except MachineError as error:
        engine.machine_failed(instance, step, str(error))
    except Exception as error:
        _complain()
        engine.machine_failed(instance, step, " ".join(f"{type(error).__name__}: {error}".split()))
    return None


def _ask_the_guest(asked: int, machine: Machine) -> None:
    while number := os.read(asked, 1):
        if number[0] == signal.SIGUSR1:
            machine.reboot()
        else:
            machine.halt()


def _watch(engine: Engine, instance: int, machine: Machine, place: _Place) -> bool:
    """Poll the machine until it ends: True. False when its place in the store was taken away meanwhile."""
    reported: tuple[int, int] | None = None
    last = 0.0
    wait = FIRST_POLL
    while not machine.wait(wait):
        wait = POLL
        if not place.is_there():
            return False
        cpu, memory = machine.usage()
        figures = (round(cpu), memory)
        now = time.monotonic()
        if figures != reported or now - last >= REPORT:
            try:
                engine.machine_used(instance, cpu, memory)
            except Exception:
                # A store that is full or busy is no reason to end a machine; its figures are late, that is all.
                _complain()
            else:
                reported, last = figures, now
    return True


if __name__ == "__main__":
    status = main(sys.argv[1:])
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Threads of clients that never close their side would be waited for.
    os._exit(status)
