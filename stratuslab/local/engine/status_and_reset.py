"""The status of the whole embedded cloud, and resetting it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from stratuslab.errors import StratusLabError
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import Capacity, InstanceLoad
from stratuslab.local.images.image_removal import delete_discarded, discard
from stratuslab.local.images.initialized_store import NEXT_INSTANCE, initialize
from stratuslab.local.store.volumes import Volumes
from stratuslab.opennebula.states import Lcm, State, state_label

_ROUNDS = 20


class CloudStatus(NamedTuple):
    """The state of a cloud: what runs its machines and why, in words; the capacity of its host and how much of it is used; how
    many instances are in each state (by the label that tables show), and how many of them have a supervisor process."""

    directory: Path
    hypervisor: str
    capacity: Capacity
    used: Capacity
    instances: dict[str, int]
    supervisors: int
    images: int
    volumes: int


def status(engine: Engine, hypervisor: str = "") -> CloudStatus:
    """How the cloud is now; ``hypervisor`` is the one that requests are going to ask for, if any."""
    engine.reconciler.reconcile()
    loads = InstanceLoad.read(engine.store)
    capacity = Capacity.read(engine.store)
    rows = engine.store.query("SELECT state, lcm_state, count(*) FROM instances GROUP BY state, lcm_state")
    counts: Counter[str] = Counter()
    for state, lcm_state, number in rows:
        counts[state_label(state, lcm_state)] += number
    return CloudStatus(
        directory=engine.store.directory,
        hypervisor=engine.drivers.described(hypervisor),
        capacity=capacity,
        used=capacity.used(loads),
        instances=dict(sorted(counts.items())),
        supervisors=sum(1 for load in loads if load.state == State.ACTIVE and _is_supervised(engine, load.id)),
        images=int(engine.store.query("SELECT count(DISTINCT identifier) FROM entries")[0][0]),
        volumes=len(Volumes(engine.store).all()),
    )


def _is_supervised(engine: Engine, number: int) -> bool:
    with suppress(StratusLabError):  # it cannot be found out
        return engine.reconciler.alive(number)
    return False


def reset(engine: Engine) -> int:
    """Kill all instances, and delete them, the users, the added images and the settings. Returns how many were killed.

    Volumes stay, as they may hold the only copy of somebody's data. Instance numbers are not reused. Raises StratusLabError if
    other commands keep starting instances.
    """
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        killed = engine.store.with_reserve(lambda: _mark_for_deletion(engine), lambda: _kill_all(engine))
        ended.update(killed)
        for number in killed:
            engine.reconciler.kill(number)
        if engine.store.with_reserve(lambda: _empty_store(engine)):
            engine.reconciler.reconcile()  # which removes the files of instances that are not in the store
            delete_discarded(engine.store)
            return len(ended)
    raise StratusLabError("cannot reset the embedded cloud: other commands keep starting machines", "try again")


def _mark_for_deletion(engine: Engine) -> list[int]:
    """Prevent instances from starting or continuing. Returns the numbers of those that were not DONE."""
    with engine.store.transaction():
        rows = engine.store.query("SELECT id FROM instances WHERE state <> ?", (State.DONE,))
        marked = (State.ACTIVE, Lcm.CLEANUP_DELETE, State.DONE)
        engine.store.query("UPDATE instances SET state = ?, lcm_state = ? WHERE state <> ?", marked)
    return [row[0] for row in rows]


def _kill_all(engine: Engine) -> None:
    """Kill every machine without writing to the store: on a full disk they would take the reserve that it needs."""
    for (number,) in engine.store.query("SELECT id FROM instances WHERE state <> ?", (State.DONE,)):
        engine.reconciler.kill_and_remove(number)


def _empty_store(engine: Engine) -> bool:
    """Empty the store. False if another command has started an instance meanwhile."""
    with engine.store.transaction():
        others = (State.ACTIVE, Lcm.CLEANUP_DELETE, State.DONE)
        if engine.store.query("SELECT 1 FROM instances WHERE NOT (state = ? AND lcm_state = ?) AND state <> ?", others):
            return False
        for table in ("instances", "leases", "networks", "users", "entries"):
            engine.store.query(f"DELETE FROM {table}")
        engine.store.query("UPDATE volumes SET instance = NULL")
        engine.store.query("DELETE FROM settings WHERE name <> ?", (NEXT_INSTANCE,))
        initialize(engine.store, engine.now)
        discard(engine.store.directory)
        return True
