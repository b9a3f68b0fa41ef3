"""The process of an instance: runs its machine, reports to the engine, and ends with the machine.

:mod:`stratuslab.local.machines.supervisor_processes` starts it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.local.machines import supervisor_processes
from stratuslab.opennebula.states import Lcm
from stratuslab.private_files import acquire, is_at

if TYPE_CHECKING:
    from stratuslab.local.engine.engine import Engine
    from stratuslab.local.machines.driver import Machine

FIRST_POLL = 1.0
POLL = 5.0
REPORT = 30.0
"""Seconds until the first poll, between polls, and between reports of unchanged usage."""

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""To halt, and to reboot."""


def main(arguments: list[str]) -> int:
    """Supervise an instance; arguments: directory, instance, and the descriptor of the lock if it is inherited."""
    directory, instance = Path(arguments[0]), int(arguments[1])
    os.umask(0o077)
    # Signals that arrive before the machine is ready wait for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    place = directory / "instances" / str(instance)
    lock = int(arguments[2]) if len(arguments) > 2 else supervisor_processes.open_lock(place / "lock", os.O_RDWR | os.O_CREAT)
    if not acquire(lock, supervisor_processes.END_SECONDS):
        print(f"machine {instance} already has a supervisor", file=sys.stderr)
        return 1
    # Only QEMU is to inherit the lock, and gets it explicitly.
    os.set_inheritable(lock, False)
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)

    # Paramiko imports invoke if it is installed, which is not needed here and costs a third of the time to the first
    # connection and 5 MB per instance.
    sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]

    from stratuslab.local.engine.engine import Engine

    try:
        engine = Engine(directory)
        # The machine always ends with its supervisor.
        with contextlib.ExitStack() as cleanup:
            machine = _started(engine, instance, lock, cleanup)
            if machine is not None and _watch(engine, instance, machine, lock):
                engine.machine_ended(instance, machine.end_reason)
    except Exception:
        _log_exception()
        return 1
    return 0


def _log_exception() -> None:
    """Log the exception being handled. On a full disk this fails, which must not end the machine."""
    with contextlib.suppress(OSError):
        traceback.print_exc()


def _started(engine: Engine, instance: int, lock: int, cleanup: contextlib.ExitStack) -> Machine | None:
    """The running machine. None if it failed, which the engine has recorded, or if the instance is no longer wanted."""
    from stratuslab.local.engine.driver_choice import new_machine
    from stratuslab.local.machines.driver import MachineError

    step = Lcm.PROLOG
    try:
        spec = replace(engine.machine(instance), lock=lock)
        if not engine.machine_reached(instance, Lcm.PROLOG):
            return None
        # What a driver needs is loaded here, and takes a while.
        machine = new_machine(spec, os.environ)
        cleanup.callback(machine.kill)
        signal.signal(signal.SIGTERM, lambda number, frame: machine.halt())
        signal.signal(signal.SIGUSR1, lambda number, frame: machine.reboot())
        # They may be blocked in the process that started this one, too.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        machine.prepare()
        if not engine.machine_reached(instance, Lcm.BOOT):
            return None
        step = Lcm.BOOT
        address, port = machine.boot()
        engine.machine_listens(instance, address, port)
        return machine if engine.machine_reached(instance, Lcm.RUNNING) else None
    except MachineError as error:
        engine.machine_failed(instance, step, str(error))
    except Exception as error:
        _log_exception()
        engine.machine_failed(instance, step, " ".join(f"{type(error).__name__}: {error}".split()))
    return None


def _watch(engine: Engine, instance: int, machine: Machine, lock: int) -> bool:
    """Poll the machine until it ends and return True, or False if the store's directory was removed."""
    reported: tuple[int, int] | None = None
    last = 0.0
    wait = FIRST_POLL
    polled, (used, _) = time.monotonic(), machine.usage()
    while not machine.wait(wait):
        wait = POLL
        if not is_at(engine.reconciler.directory(instance) / "lock", lock):
            return False
        seconds, memory = machine.usage()
        now = time.monotonic()
        # A machine that was started again has used less than before.
        cpu = max(0.0, 100 * (seconds - used) / max(now - polled, 1e-6))
        polled, used = now, seconds
        figures = (round(cpu), memory)
        if figures != reported or now - last >= REPORT:
            try:
                engine.machine_used(instance, cpu, memory)
            except Exception:
                # A full or busy store must not end the machine; the usage is reported later.
                _log_exception()
            else:
                reported, last = figures, now
    return True


if __name__ == "__main__":
    status = main(sys.argv[1:])
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Do not wait for the threads of clients that never close their connections.
    os._exit(status)
