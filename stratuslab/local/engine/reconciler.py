"""A store's instances and their supervisors, kept in agreement.

No process of the embedded cloud's own watches over it. Whoever opens the store brings it up to date first: what lost its
supervisor changes state, what waits and fits is started, what somebody was killed over is finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.files import why
from stratuslab.local.engine import lifecycle
from stratuslab.local.engine.free_capacity import Room
from stratuslab.local.engine.host_load import Load
from stratuslab.local.engine.scheduler import Capacity
from stratuslab.local.machines.driver import Machines
from stratuslab.local.store.database import DiskFull, Store
from stratuslab.local.store.instance_record import Record
from stratuslab.local.store.leases import Leases
from stratuslab.local.store.volumes import Volumes
from stratuslab.opennebula.states import Lcm, State


class Reconciler:
    """The instances of a store; ``machines`` are their supervisors, ``clock`` gives seconds since the epoch."""

    def __init__(self, store: Store, machines: Machines, clock: Callable[[], float]) -> None:
        self._store = store
        self._machines = machines
        self._clock = clock
        self._leases = Leases(store)
        self._volumes = Volumes(store)

    @property
    def now(self) -> int:
        return int(self._clock())

    def settle(self) -> None:
        """Bring the instances up to date with the world. Where nothing changed, nothing is written.

        On a full disk what is known can still be read, though it is what was known before.
        """
        with suppress(DiskFull):
            self._settle()

    def _settle(self) -> None:
        loads = Load.read(self._store)
        active = [load for load in loads if load.state == State.ACTIVE]
        for load in active:
            # Whoever began it may have been killed. What cannot be done now is tried again by the next call.
            with suppress(StratusLabError):
                if load.lcm_state in lifecycle.CLEANING:
                    self.kill(load.id)
                elif load.lcm_state in lifecycle.SAVING:
                    self.pause(load.id)
                elif load.lcm_state == Lcm.BOOT_SUSPENDED:
                    self.go_on(load.id)
        lost = [load.id for load in active if self._is_lost(load)]
        for number in lost:
            self._store.making_room(partial(self._lose, number))
            self.tidy(number)
        if lost or any(load.state == State.PENDING for load in loads):
            while self._place_next():
                pass

    def _lose(self, number: int) -> None:
        with self._store.transaction():
            record = self._store.instance(number)
            if record is not None and self._is_lost(record):
                self.bereave(record)

    def _is_lost(self, instance: Load | Record) -> bool:
        watched = instance.state == State.ACTIVE and instance.lcm_state in lifecycle.WATCHED
        return watched and not self.alive(instance.id)

    def alive(self, number: int) -> bool:
        """Whether the instance's supervisor lives."""
        try:
            return self._machines.alive(number)
        except OSError as error:
            raise _unmanageable(number, error) from error

    def kill(self, number: int) -> None:
        """Pull the cord: the supervisor is gone when this returns."""
        try:
            self._machines.kill(number)
        except OSError as error:
            raise _unmanageable(number, error) from error

    def halt(self, number: int) -> None:
        """Ask the guest to shut down."""
        try:
            self._machines.halt(number)
        except OSError as error:
            raise _unmanageable(number, error) from error

    def reboot(self, number: int) -> None:
        """Have the guest shut down and started again."""
        try:
            self._machines.reboot(number)
        except OSError as error:
            raise _unmanageable(number, error) from error

    def pause(self, number: int) -> None:
        """Let a machine that is to be saved stand still. Nobody else writes meanwhile, so that none stops who does."""
        with self._store.transaction():
            record = self._store.instance(number)
            if record is not None and record.lcm_state in lifecycle.SAVING:
                try:
                    self._machines.pause(number)
                except OSError as error:
                    raise _unmanageable(number, error) from error
                lifecycle.paused(record, self.now)
                self.save(record)

    def go_on(self, number: int) -> None:
        """Let a suspended machine run on; where its process did not survive, it boots."""
        with self._store.transaction():
            record = self._store.instance(number)
            if record is not None and record.lcm_state == Lcm.BOOT_SUSPENDED:
                self._go_on(record)
                self.save(record)

    def _go_on(self, record: Record) -> None:
        try:
            if self._machines.alive(record.id):
                self._machines.go_on(record.id)
                lifecycle.went_on(record)
                return
        except OSError as error:
            raise _unmanageable(record.id, error) from error
        record.enter(Lcm.BOOT_UNKNOWN)
        self._spawn(record)

    def _place_next(self) -> bool:
        """Start the oldest instance that waits and fits; whether there was one."""
        loads = Load.read(self._store)
        fit, reasons = Capacity.read(self._store).next_fit(loads, self._store)
        if fit is None and all(load.waiting.endswith(reasons[load.id]) for load in loads if load.id in reasons):
            return False
        with self._store.transaction():
            loads = Load.read(self._store)
            fit, reasons = Capacity.read(self._store).next_fit(loads, self._store)
            for load in loads:
                reason = reasons.get(load.id, "")
                if reason and not load.waiting.endswith(reason):
                    waiting = f"{time.asctime(time.localtime(self.now))}: {reason}"
                    self._store.query("UPDATE instances SET waiting = ? WHERE id = ?", (waiting, load.id))
            record = self._store.instance(fit.id) if fit else None
            if record is None:
                return False
            stopped = lifecycle.was_stopped(record)
            lifecycle.placed(record, self.now)
            if stopped and self.alive(record.id):
                self._go_on(record)
            elif record.obstacle:
                lifecycle.failed(record, Lcm.PROLOG, lifecycle.transfer_failure(record.obstacle), self.now)
            else:
                self._spawn(record)
            self.save(record)
        return True

    def obstacle(self, record: Record) -> str:
        """Why a machine that is off cannot be started again; empty where it can, and for one that is on."""
        loads = Load.read(self._store)
        own = next((load for load in loads if load.id == record.id), None)
        if own is None or own.is_on or not own.is_real:
            return ""
        others = [load for load in loads if load.is_real and load.is_placed and load is not own]
        return Room.left(self._store, others).memory_obstacle(own)

    def start_again(self, record: Record) -> None:
        """Boot a machine that was on before, if it is still in a state for that; part of a transaction."""
        if lifecycle.start_again(record, self.now):
            record.memory_kib = 0
            self._spawn(record)
            self.save(record)

    def _spawn(self, record: Record) -> None:
        """Start the supervisor, inside the transaction that says so: nobody else starts one meanwhile.

        Where this process is killed before the transaction's end, the instance waits on, and its supervisor is found alive.
        """
        try:
            self.directory(record.id).mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._machines.alive(record.id):
                self._machines.spawn(record.id)
        except OSError as error:
            reason = f"the machine's process cannot be started: {why(error)}"
            lifecycle.failed(record, Lcm.PROLOG, reason, self.now)

    def bereave(self, record: Record) -> None:
        """The instance's guest has ended, or its supervisor is dead; part of a transaction."""
        if record.lcm_state == Lcm.CLEANUP_RESUBMIT:
            self._remove_files(record.id)
        lifecycle.bereaved(record, self.now)
        self.save(record)

    def save(self, record: Record) -> None:
        """Keep what changed of an instance; what it had is free when it is DONE. Part of a transaction."""
        self._store.save(record)
        if record.state == State.DONE:
            self._leases.release(record.id)
            self._volumes.release(record.id)

    def discard(self, number: int) -> None:
        """Pull the cord and remove the files of an instance, before anything is written of it."""
        self.kill(number)
        self._remove_files(number)

    def tidy(self, number: int) -> None:
        """Remove the files of an instance that is DONE."""
        record = self._store.instance(number)
        if record is None or record.state == State.DONE:
            self._remove_files(number)

    def _remove_files(self, number: int) -> None:
        import shutil

        shutil.rmtree(self.directory(number), ignore_errors=True)

    def directory(self, number: int) -> Path:
        """Where an instance keeps its files until it is DONE."""
        return self._store.directory / "instances" / str(number)


def _unmanageable(number: int, error: OSError) -> StratusLabError:
    return StratusLabError(f"the process of instance {number} of the embedded cloud cannot be managed: {why(error)}")
