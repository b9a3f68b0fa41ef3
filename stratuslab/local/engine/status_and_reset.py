"""What the embedded cloud's owner does with it as a whole: see how it is, and empty it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from stratuslab.errors import StratusLabError
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.host_load import Load
from stratuslab.local.engine.scheduler import Capacity
from stratuslab.local.images.bootstrap import NEXT_INSTANCE, found
from stratuslab.local.images.image_store import images
from stratuslab.local.store.volumes import Volumes
from stratuslab.opennebula.states import Lcm, State, state_label

_ROUNDS = 20
_DISCARDED = "images.discarded."


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
    engine.reconciler.settle()
    loads = Load.read(engine.store)
    capacity = Capacity.read(engine.store)
    rows = engine.store.query("SELECT state, lcm_state, count(*) FROM instances GROUP BY state, lcm_state")
    counts: Counter[str] = Counter()
    for state, lcm_state, number in rows:
        counts[state_label(state, lcm_state)] += number
    return CloudStatus(
        directory=engine.store.directory,
        hypervisor=engine.hypervisors.described(hypervisor),
        capacity=capacity,
        used=capacity.used(loads),
        instances=dict(sorted(counts.items())),
        supervisors=sum(1 for load in loads if load.state == State.ACTIVE and engine.reconciler.alive(load.id)),
        images=int(engine.store.query("SELECT count(*) FROM entries")[0][0]),
        volumes=len(Volumes(engine.store).all()),
    )


def reset(engine: Engine) -> int:
    """End all instances and forget them, the users, the added images and the settings; how many were ended.

    Volumes stay: their data may be all that somebody has of it. Numbers are not given again. Commands that run meanwhile see
    their instances end. Raises StratusLabError where others start new ones faster than they can be ended.
    """
    ended: set[int] = set()
    for _ in range(_ROUNDS):
        doomed = engine.store.making_room(lambda: _doom(engine), lambda: _stop(engine))
        ended.update(doomed)
        for number in doomed:
            engine.reconciler.kill(number)
        numbers = engine.store.making_room(lambda: _forget(engine))
        if numbers is not None:
            _remove_files(engine, numbers)
            return len(ended)
    raise StratusLabError("new instances are started all the time, so that the embedded cloud cannot be emptied", "try again")


def _doom(engine: Engine) -> list[int]:
    """Let no instance start or go on; the numbers of those that were not DONE."""
    with engine.store.transaction():
        rows = engine.store.query("SELECT id FROM instances WHERE state <> ?", (State.DONE,))
        engine.store.query(
            "UPDATE instances SET state = ?, lcm_state = ? WHERE state <> ?", (State.ACTIVE, Lcm.CLEANUP_DELETE, State.DONE)
        )
    return [row[0] for row in rows]


def _discarded(engine: Engine) -> Path:
    from secrets import token_hex

    return engine.store.directory / f"{_DISCARDED}{token_hex(4)}"


def _stop(engine: Engine) -> None:
    """End every machine without a note of it: on a full disk they would take what the store needs to go on."""
    for (number,) in engine.store.query("SELECT id FROM instances WHERE state <> ?", (State.DONE,)):
        engine.reconciler.discard(number)


def _forget(engine: Engine) -> list[int] | None:
    """Empty the store, if nobody started an instance meanwhile; the numbers of all instances that there were."""
    with engine.store.transaction():
        others = (State.ACTIVE, Lcm.CLEANUP_DELETE, State.DONE)
        if engine.store.query("SELECT 1 FROM instances WHERE NOT (state = ? AND lcm_state = ?) AND state <> ?", others):
            return None
        numbers = [row[0] for row in engine.store.query("SELECT id FROM instances")]
        for table in ("instances", "leases", "networks", "users", "entries"):
            engine.store.query(f"DELETE FROM {table}")
        engine.store.query("UPDATE volumes SET instance = NULL")
        engine.store.query("DELETE FROM settings WHERE name <> ?", (NEXT_INSTANCE,))
        found(engine.store, engine.now)
        # Aside at once, and removed later: whoever adds an image meanwhile must not find it there any more.
        with suppress(OSError):
            images(engine.store.directory).rename(_discarded(engine))
        return numbers


def _remove_files(engine: Engine, numbers: list[int]) -> None:
    import shutil

    for number in numbers:
        shutil.rmtree(engine.store.directory / "instances" / str(number), ignore_errors=True)
    for discarded in engine.store.directory.glob(f"{_DISCARDED}*"):
        shutil.rmtree(discarded, ignore_errors=True)
