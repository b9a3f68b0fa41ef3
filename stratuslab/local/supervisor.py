"""The process of an instance: it owns the machine, tells the engine what becomes of it, and ends with it.

``python -m stratuslab.local.supervisor DIRECTORY INSTANCE`` is one; :mod:`stratuslab.local.machines.launcher` starts it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.local.machines.launcher import acquire, open_lock
from stratuslab.opennebula.states import Lcm

if TYPE_CHECKING:
    from stratuslab.local.engine.engine import Engine
    from stratuslab.local.machines.driver import Machine

FIRST_POLL = 1.0
POLL = 5.0
REPORT = 30.0
"""Seconds: from running to the first poll, from poll to poll, and the longest between two reports of unchanged figures."""

_ASKING = (signal.SIGTERM, signal.SIGUSR1)
"""To shut down, and to start again after that."""


def main(arguments: list[str]) -> int:
    """Be the supervisor of an instance; arguments: directory, instance, and the descriptor of the lock if it is inherited."""
    directory, instance = Path(arguments[0]), int(arguments[1])
    os.umask(0o077)
    asked = _catch_signals()
    place = directory / "instances" / str(instance)
    lock = int(arguments[2]) if len(arguments) > 2 else open_lock(place / "lock", os.O_RDWR | os.O_CREAT)
    if not acquire(lock):
        print(f"instance {instance} has a supervisor already", file=sys.stderr)
        return 1
    # What the machine starts must not keep the lock, but for what runs it, which is given it.
    os.set_inheritable(lock, False)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)

    # Paramiko imports invoke where it is installed, for something that is not used here, and with it asyncio and a YAML
    # reader: a third of the time to the first connection, and 5 MB for every instance.
    sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]

    from stratuslab.local.engine.engine import Engine

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
    from stratuslab.local.engine.driver_choice import driver
    from stratuslab.local.machines.driver import MachineError

    step = Lcm.PROLOG
    try:
        spec = replace(engine.machine(instance), hold=place.lock)
        machine = driver(spec.hypervisor, os.environ).make(spec)
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
