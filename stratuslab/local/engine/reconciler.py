"""Keeps the instances in the store and their supervisors in agreement.

The embedded cloud has no daemon. Each process that opens the store first brings it up to date: an instance without its
supervisor changes state, a pending one that fits is started, and what a killed process left half done is finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.engine import lifecycle
from stratuslab.local.engine.lifecycle import Step
from stratuslab.local.engine.scheduler import FreeCapacity, InstanceLoad, next_fit
from stratuslab.local.machines.driver import SupervisorControl
from stratuslab.local.store.database import DiskFull, Store
from stratuslab.local.store.stored_records import Record
from stratuslab.opennebula.states import Lcm, State
from stratuslab.private_files import private_directory, why


class Reconciler:
    """Keeps the instances of a store in agreement with ``supervisors``; ``clock`` gives seconds since the epoch."""

    def __init__(self, store: Store, supervisors: SupervisorControl, clock: Callable[[], float]) -> None:
        self._store = store
        self._supervisors = supervisors
        self._clock = clock

    @property
    def now(self) -> int:
        return int(self._clock())

    def reconcile(self, only: int | None = None) -> None:
        """Bring the instances up to date, or ``only`` one of them, which is all that a call about it needs (unless instances wait
        for a host): looking after all of them each time would make many calls cost the square of their number.

        Writes only what changed, and nothing on a full disk, so that the last known state can still be read.
        """
        with suppress(DiskFull):
            self._reconcile(only)

    def _reconcile(self, only: int | None) -> None:
        loads = InstanceLoad.read(self._store)
        waits = any(load.state == State.PENDING for load in loads)
        active = [load for load in loads if load.state == State.ACTIVE and (waits or only in (None, load.id))]
        for load in active:
            # The process that began this may have been killed. The next call tries again what fails now.
            with suppress(StratusLabError):
                if load.lcm_state in lifecycle.CLEANING:
                    self.kill(load.id)
                elif load.lcm_state in (*lifecycle.SAVING, Lcm.BOOT_SUSPENDED):
                    self._pause_or_resume(load.id)
        lost = [load.id for load in active if self._is_lost(load)]
        for number in lost:
            self._store.with_reserve(partial(self._record_loss, number))
            self.remove_files_if_done(number)
        known = {str(load.id) for load in loads}
        for directory in self._store.directory.glob("instances/[0-9]*"):
            if directory.name.isdecimal() and directory.name not in known:
                # Most often it is kept without a machine; else the process that ended it was killed before this.
                self.remove_files_if_done(int(directory.name))
        if lost or waits:
            while self._place_next():
                pass

    def _record_loss(self, number: int) -> None:
        with self._store.changing(number) as record:
            if record is not None and self._is_lost(record):
                self._machine_gone(record)

    def _is_lost(self, instance: InstanceLoad | Record) -> bool:
        # Where it cannot be found out, the last known state counts, and the others are still shown.
        with suppress(StratusLabError):
            return instance.lcm_state in lifecycle.SUPERVISED and not self.alive(instance.id)
        return False

    def alive(self, number: int) -> bool:
        with _process_errors(number):
            return self._supervisors.alive(number)

    def kill(self, number: int) -> None:
        """Kill the supervisor; it is gone when this returns."""
        with _process_errors(number):
            self._supervisors.kill(number)

    def carry_out(self, step: Step, before: Record) -> None:
        """Do what an action needs of the machine, once the action is recorded."""
        with _process_errors(before.id):
            if step is Step.HALT:
                self._supervisors.halt(before.id)
            elif step is Step.REBOOT:
                self._supervisors.reboot(before.id)
            elif step in (Step.PAUSE, Step.RESUME):
                self._pause_or_resume(before.id)
            elif step is not Step.NOTHING:
                self._supervisors.kill(before.id)
                self._store.with_reserve(lambda: self._finish_kill(step, before))

    def _pause_or_resume(self, number: int) -> None:
        """Inside a transaction, so that a supervisor is not stopped while it writes."""
        with self._store.changing(number) as record, _process_errors(number):
            if record is not None and record.lcm_state in lifecycle.SAVING:
                self._supervisors.pause(number)
                lifecycle.paused(record, self.now)
            elif record is not None and record.lcm_state == Lcm.BOOT_SUSPENDED:
                self._resume(record)

    def _finish_kill(self, step: Step, before: Record) -> None:
        """Record that the machine was killed, or start it again."""
        with self._store.changing(before.id) as record:
            if record is None:
                return
            if step is Step.START_AGAIN and lifecycle.start_again(record, self.now):
                record.memory_kib = 0
                self._spawn(record)
            elif step is Step.KILL and record.lcm_state == before.lcm_state:
                self._machine_gone(record)

    def _resume(self, record: Record) -> None:
        """Continue a machine, or boot it if its process is gone."""
        with _process_errors(record.id):
            if self._supervisors.alive(record.id):
                self._supervisors.resume(record.id)
                record.enter(Lcm.RUNNING)
            else:
                record.enter(Lcm.BOOT_UNKNOWN)
                self._spawn(record)

    def _place_next(self) -> bool:
        """Start the oldest pending instance that fits. Returns whether there was one."""
        if next_fit(self._store) == (None, {}):
            return False
        with self._store.transaction():
            fit, reasons = next_fit(self._store)
            for number, reason in reasons.items():
                message = f"{time.asctime(time.localtime(self.now))}: {reason}"
                self._store.query("UPDATE instances SET sched_message = ? WHERE id = ?", (message, number))
            record = self._store.instance(fit.id) if fit else None
            if record is None:
                return False
            stopped = lifecycle.was_stopped(record)
            lifecycle.placed(record, self.now)
            if stopped and self.alive(record.id):
                self._resume(record)
            elif record.prolog_error:
                lifecycle.failed(record, Lcm.PROLOG, lifecycle.PROLOG_FAILED + record.prolog_error, self.now)
            else:
                self._spawn(record)
            self._store.save(record)
        return True

    def memory_shortage(self, record: Record) -> str:
        """Why this computer has no memory to start a machine again; empty if it has, or if the machine is on."""
        loads = InstanceLoad.read(self._store)
        load = next(load for load in loads if load.id == record.id)
        return FreeCapacity.left(self._store, loads).memory_shortage(load) if load.is_real and not load.is_on else ""

    def _spawn(self, record: Record) -> None:
        """Start the supervisor inside the transaction that records it, so that no other process starts a second one.

        If this process is killed before it commits, the instance stays pending, and its supervisor is found running.
        """
        try:
            private_directory(self.directory(record.id))
            if not self._supervisors.alive(record.id):
                self._supervisors.spawn(record.id)
        except (OSError, UsageError) as error:
            reason = why(error) if isinstance(error, OSError) else error.message
            lifecycle.failed(record, Lcm.PROLOG, f"cannot start the machine's process: {reason}", self.now)

    def _machine_gone(self, record: Record) -> None:
        if record.lcm_state == Lcm.CLEANUP_RESUBMIT:
            self._remove_files(record.id)
        lifecycle.machine_gone(record, self.now)

    def kill_and_remove(self, number: int) -> None:
        """Kill a machine and remove its files without writing to the store, which may be full."""
        self.kill(number)
        self._remove_files(number)

    def remove_files_if_done(self, number: int) -> None:
        """Remove the files of an instance that is DONE."""
        record = self._store.instance(number)
        if record is None or record.state == State.DONE:
            self._remove_files(number)

    def _remove_files(self, number: int) -> None:
        import shutil

        shutil.rmtree(self.directory(number), ignore_errors=True)

    def directory(self, number: int) -> Path:
        """The directory of an instance's files, which are kept until it is DONE."""
        return self._store.directory / "instances" / str(number)


@contextmanager
def _process_errors(number: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StratusLabError(f"cannot control the process of machine {number} of the embedded cloud: {why(error)}") from error
