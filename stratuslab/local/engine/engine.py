"""The embedded cloud's engine: carries out what users request and records what supervisors report."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from stratuslab.errors import NotFound
from stratuslab.local.api_error import APIError
from stratuslab.local.engine import lifecycle
from stratuslab.local.engine.access import Access, may, visible
from stratuslab.local.engine.allocation import allocate, name_problem
from stratuslab.local.engine.driver_choice import DriverChoice
from stratuslab.local.engine.lifecycle import Step
from stratuslab.local.engine.machine_spec_builder import machine_spec
from stratuslab.local.engine.reconciler import Reconciler
from stratuslab.local.engine.server_rules import LENIENT, ServerRules, Verb
from stratuslab.local.engine.template_reader import Template
from stratuslab.local.images.initialized_store import NEXT_INSTANCE, open_store
from stratuslab.local.machines.driver import MachineSpec, SupervisorControl
from stratuslab.local.machines.supervisor_processes import Supervisors
from stratuslab.local.store.leases import Leases
from stratuslab.local.store.stored_records import ADMINISTRATOR, Record, User
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, PoolState
from stratuslab.opennebula.states import Lcm, State

_NEVER_IN_NAMES = f"{ServerRules.name_characters}\t\n\v\f\r"


class Engine:
    """The cloud in a directory. ``environ`` is the environment of supervisors; programs are looked up on its PATH. ``clock``
    gives seconds since the epoch.

    Raises StratusLabError or UsageError if the store cannot be used. Methods raise APIError for what they refuse.
    """

    def __init__(
        self,
        directory: Path,
        supervisors: SupervisorControl | None = None,
        clock: Callable[[], float] = time.time,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.drivers = DriverChoice(environ)
        self.store = open_store(directory, clock())
        self.access = Access(self.store, lambda: self.now)
        self.leases = Leases(self.store)
        self.reconciler = Reconciler(self.store, supervisors or Supervisors(directory, environ), clock)

    def close(self) -> None:
        self.store.close()

    @property
    def now(self) -> int:
        return self.reconciler.now

    # Requests of users

    def user(self, name: str) -> User:
        """The user of that name, added if new."""
        if name == ADMINISTRATOR.name:
            return ADMINISTRATOR
        with self.store.transaction():
            self.store.query("INSERT OR IGNORE INTO users (name) VALUES (?)", (name,))
            return User(self.store.query("SELECT id FROM users WHERE name = ?", (name,))[0][0], name)

    def allocate(self, user: User, template: str, hold: bool = False, rules: ServerRules = LENIENT) -> int:
        """Create an instance from a template (text or XML) and return its number. It starts as soon as it fits."""
        wanted = Template(template)
        with self.store.transaction():
            number = int(self.store.setting(NEXT_INSTANCE) or 1)
            self.store.set_setting(NEXT_INSTANCE, str(number + 1))
            self.store.add(allocate(self.store, self.drivers, user, wanted, number, hold, self.now, rules))
        self.reconciler.reconcile()
        return number

    def instance(self, user: User, number: int, right: str = "USE") -> Record:
        """One instance, also one that is DONE; the user has this right to it."""
        self.reconciler.reconcile(number)
        return self.access.authorized(user, number, right)

    def named(self, user: User, numbers: list[int]) -> list[Record]:
        """Those of the numbered instances that exist and that the user may see."""
        self.reconciler.reconcile()
        found = (self.store.instance(number) for number in numbers)
        return [record for record in found if record is not None and may(user, record)]

    def pool(
        self, user: User, owner: int, start: int, end: int, state: int, *, legacy: bool = False, newest_first: bool = True
    ) -> Iterator[Record]:
        """The instances of an owner (a filter number or an id) in a state (a number or a :class:`PoolState`).

        ``start`` and ``end`` are -1 for all, an offset and a negative size for a page, else the first and the last id. ``legacy``
        is 3.x: it has no pages, and counts failed instances as STATE 7.
        """
        if owner < Owner.GROUP:
            raise APIError(ErrorCode.API, "Incorrect filter_flag")
        if state < PoolState.ANY or state > State.CLONING_FAILURE:
            raise APIError(ErrorCode.API, "Incorrect filter_flag, state")
        self.reconciler.reconcile()
        conditions = [_state_condition(state, legacy)]
        arguments: list[int] = []
        for condition, users in visible(user, owner):
            conditions.append(condition)
            arguments += users
        offset, limit = 0, -1
        if start >= 0 and end < -1 and not legacy:
            offset, limit = start, -end
        elif start >= 0:
            conditions.append("id BETWEEN ? AND ?")
            arguments += [start, end if end != -1 else LARGEST_ID]
        return self.store.instances(" AND ".join(conditions), arguments, offset=offset, limit=limit, newest_first=newest_first)

    def act(self, user: User, number: int, verb: Verb) -> None:
        """Perform an action. One that asks the guest returns at once; a hard one returns when the machine is off."""
        self.reconciler.reconcile(number)

        def begin() -> tuple[Record, Step]:
            with self.access.changing(user, number) as record:
                step = lifecycle.begin(record, verb, user, self.now)
                shortage = self.reconciler.memory_shortage(record) if step is Step.START_AGAIN else ""
                if shortage:
                    raise APIError(ErrorCode.ACTION, f"VM {number} cannot be started again: {shortage}")
            return record, step

        def discard() -> None:
            self.access.authorized(user, number, "MANAGE")
            self.reconciler.kill_and_remove(number)

        frees = verb in (Verb.TERMINATE_HARD, Verb.TERMINATE_HARD_5, Verb.DELETE)
        record, step = self.store.with_reserve(begin, discard) if frees else begin()
        self.reconciler.carry_out(step, record)
        self.reconciler.remove_files_if_done(number)
        self.reconciler.reconcile(number)

    def rename(self, user: User, number: int, name: str) -> None:
        problem = name_problem(name, _NEVER_IN_NAMES) if name else "Invalid NAME, it cannot be empty"
        if problem:
            raise APIError(ErrorCode.ACTION, problem)
        with self.access.changing(user, number) as record:
            record.name = name

    def update(self, user: User, number: int, template: str, *, merge: bool) -> None:
        """Replace the user template of an instance, or ``merge`` attributes into it."""
        # Clients that edit the document that they read send these back.
        given = [pair for pair in Template(template).attributes if pair[0] not in ("ERROR", "SCHED_MESSAGE")]
        names = {name for name, _ in given}
        with self.access.changing(user, number) as record:
            kept = [pair for pair in record.user_attributes if merge and pair[0] not in names]
            record.user_attributes = sorted([*kept, *given], key=lambda pair: pair[0])

    # Reports of supervisors

    def machine(self, instance: int) -> MachineSpec:
        """The machine to run for the instance. Raises NotFound."""
        record = self.store.instance(instance)
        if record is None:
            raise NotFound(f"the embedded cloud has no machine {instance}")
        return machine_spec(record, self.reconciler.directory(instance))

    def machine_reached(self, instance: int, step: Lcm) -> bool:
        """The machine has reached PROLOG, BOOT or RUNNING. False if the instance is no longer wanted; nothing changes then."""
        with self.store.changing(instance) as record:
            return record is not None and lifecycle.reached(record, step, self.now)

    def machine_listens(self, instance: int, address: str, port: int) -> None:
        """The guest's SSH server answers at this address and port."""
        with self.store.changing(instance) as record:
            if record is not None:
                record.ssh_address, record.ssh_port = address, port

    def machine_failed(self, instance: int, step: Lcm, message: str) -> None:
        """The machine could not be prepared (PROLOG) or booted (BOOT)."""
        text = (lifecycle.PROLOG_FAILED if step == Lcm.PROLOG else "DEPLOY: ") + message
        with self.store.changing(instance) as record:
            if record is not None:
                lifecycle.failed(record, step, text, self.now)

    def machine_used(self, instance: int, cpu_percent: float, memory_kib: int) -> None:
        """What a poll measured: percent of one CPU, and KiB of memory."""
        with self.store.changing(instance) as record:
            if record is not None and record.lcm_state == Lcm.RUNNING:
                record.cpu_percent, record.memory_kib, record.polled = cpu_percent, memory_kib, self.now

    def machine_ended(self, instance: int, reason: str = "") -> None:
        """The machine has ended: the guest has shut down, by itself or on request, unless something else was the ``reason``."""
        with self.store.changing(instance) as record:
            if record is not None:
                lifecycle.machine_gone(record, self.now, reason)
        self.reconciler.remove_files_if_done(instance)
        self.reconciler.reconcile()


def _state_condition(state: int, legacy: bool) -> str:
    conditions: dict[int, str] = {PoolState.ANY: "1", PoolState.NOT_DONE: f"state <> {State.DONE:d}"}
    if legacy:
        failed = f"(state = {State.ACTIVE:d} AND lcm_state IN ({Lcm.PROLOG_FAILURE:d}, {Lcm.BOOT_FAILURE:d}))"
        conditions |= {State.FAILED: failed, State.ACTIVE: f"state = {State.ACTIVE:d} AND NOT {failed}"}
    return conditions.get(state, f"state = {state:d}")
