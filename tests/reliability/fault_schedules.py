"""Commands through a proxy that loses, cuts, delays, doubles and garbles what passes, each time by a schedule made from a seed.

Every machine that a run started is reported, killed, or in doubt with its token; none is there twice; what a command says was
done is done.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stratuslab.cloud import client, instance_actions, rpc_caller
from stratuslab.local.api.server_profiles import SERVER_PROFILES
from stratuslab.local.store.stored_records import ADMINISTRATOR, Record
from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from stratuslab.opennebula.states import Lcm, State
from tests.fakes import mishaps
from tests.fakes.faulty_proxy import Delayed, Fault, FaultyProxy, Late, Twice
from tests.fakes.served_cloud import served_cloud
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX
from tests.reliability.ended_runs import user
from tests.reliability.tally import Tally

FAIR: tuple[Fault, ...] = (
    mishaps.dropped,
    mishaps.lost,
    mishaps.reset,
    mishaps.halved,
    mishaps.bad_gateway,
    mishaps.bad_gateway_after,
)
UNFAIR: tuple[Fault, ...] = (
    *mishaps.CARRIED_OUT,
    mishaps.silent,
    mishaps.web_page,
    mishaps.denied,
    Late(1),
    Late(3),
    Twice(),
)
_LATE = (1.0, 3.0, 6.0, 9.0, 12.0, 30.0)  # seconds after which requests arrive that were delayed, or their copies
_CHANGES = ("one.vm.allocate", "one.template.instantiate", "one.vm.action")
_ENDING = (Lcm.EPILOG, Lcm.CLEANUP_DELETE, Lcm.SHUTDOWN)
_OFF = (State.POWEROFF,)


@contextmanager
def patience(factor: float) -> Iterator[None]:
    """Let the client wait only for this part of its usual times, as long as the block runs."""
    usual = [(module, name, getattr(module, name)) for module, name in _TIMES]
    for module, name, seconds in usual:
        shorter = seconds * factor if isinstance(seconds, float) else tuple(one * factor for one in seconds)
        setattr(module, name, shorter)
    try:
        yield
    finally:
        for module, name, seconds in usual:
            setattr(module, name, seconds)


_TIMES = (
    (client, "LOOKS"),
    (client, "_SETTLED"),
    (instance_actions, "LOOKS"),
    (instance_actions, "_KILL_RETRIES"),
    (rpc_caller, "_BACK_OFF"),
)


def schedule(seed: int, factor: float = 1.0) -> Tally:
    """One schedule; times are this part of the real ones."""
    with tempfile.TemporaryDirectory(prefix="reliability-") as directory, patience(factor):
        return _Schedule(seed, factor, Path(directory)).run()


class _Schedule:
    def __init__(self, seed: int, factor: float, directory: Path) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._factor = factor
        self._tally = Tally()
        self._fair = self._random.random() < 0.4
        self._rate = self._random.choice((0.1, 0.3, 0.6))
        self._profile = self._random.choice(sorted(SERVER_PROFILES))
        self._stage = Stage(directory / "cloud")
        self._shell = user(directory)
        self._shell.environ.update(STRATUSLAB_USERNAME="alice", STRATUSLAB_PASSWORD="secret")
        self._over = threading.Event()

    def run(self) -> Tally:
        living = threading.Thread(target=self._move_machines)
        living.start()
        try:
            with served_cloud(self._stage.engine, {"alice": "secret"}, self._profile) as served:
                self._proxy = FaultyProxy(served.rpc, choose=self._fault)
                self._shell.environ["STRATUSLAB_ENDPOINT"] = self._proxy.url
                try:
                    for _ in range(self._random.randint(1, 2)):
                        self._start()
                        self._list()
                        self._end()
                finally:
                    self._proxy.close()
        finally:
            self._over.set()
            living.join()
            self._stage.engine.close()
        self._tally.counted["schedules"] += 1
        self._tally.broken = [f"seed {self._seed} ({self._profile}): {line}" for line in self._tally.broken]
        return self._tally

    def _fault(self, method: str) -> Fault | None:
        rate = self._rate if method in _CHANGES else self._rate / 6
        if self._random.random() >= rate:
            return None
        self._tally.counted["faults"] += 1
        if self._fair:
            return self._random.choice(FAIR)
        seconds = self._random.choice(_LATE) * self._factor
        return self._random.choice((*FAIR, *UNFAIR, Delayed(seconds), Delayed(seconds), Twice(seconds)))

    def _move_machines(self) -> None:
        engine = self._stage.engine
        while not self._over.wait(0.02):
            for record in self._machines():
                if record.state == State.ACTIVE and record.lcm_state in (Lcm.LCM_INIT, Lcm.PROLOG, Lcm.BOOT):
                    for step in (Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING):
                        engine.machine_reached(record.id, step)

    def _machines(self) -> list[Record]:
        return list(self._stage.engine.pool(ADMINISTRATOR, Owner.ALL, -1, -1, PoolState.NOT_DONE))

    def _living(self) -> dict[int, str]:
        """The machines that nobody has ended, with their tokens."""
        return {
            record.id: str(dict(record.user_attributes).get(TOKEN_ATTRIBUTE, ""))
            for record in self._machines()
            if not (record.state == State.ACTIVE and record.lcm_state in _ENDING)
        }

    def _start(self) -> None:
        before = self._living()
        all_or_nothing = self._random.random() < 0.2
        arguments = ["--no-check-image-url", "--timeout", "1", "--format", "json", "-n", str(self._random.randint(1, 6))]
        arguments += ["--all-or-nothing"] * all_or_nothing
        ran = self._shell("run", *arguments, TTYLINUX)
        now = {number: token for number, token in self._living().items() if number not in before}
        self._tally.ran(ran, "run")
        reported = {row["id"] for row in json.loads(ran.out)["instances"]}
        doubted = re.findall(r"--request ([\w-]+(?:/\d+)?)", ran.err)
        named = set(map(int, re.findall(r"cannot kill (?:the second )?machine,? (\d+)", ran.err)))
        self._tally.counted["machines"] += len(now)
        accounted = [
            number for number, token in now.items() if number in reported | named or any(_covers(one, token) for one in doubted)
        ]
        # A copy of a request may arrive between the last look and the end of the command.
        missing = len(now) - len(accounted) - self._proxy.late_since_the_last_look()
        self._tally.check(missing <= 0, "unreported machines", (now, reported, ran.err))
        tokens = list(now.values())
        extra = [number for number in accounted if tokens.count(now[number]) > 1 and number not in named | reported]
        self._tally.check(not extra, "surplus machines", (extra, ran.err))
        known = {row[0] for row in self._stage.engine.store.query("SELECT id FROM instances")}
        self._tally.check(reported <= known, "machines reported that never were", reported - known)
        if all_or_nothing and ran.status:
            self._tally.check(set(now) <= named or doubted, "machines left by --all-or-nothing", (now, ran.err))
        self._proxy.drain()
        for number, token in self._living().items():
            if number not in before and number not in now:
                doubtful = any(_covers(one, token) for one in doubted)
                self._tally.counted["came after the end, in doubt" if doubtful else "came after the end, twice"] += 1

    def _list(self) -> None:
        ran = self._shell("describe", "--no-dns", "--timeout", "1", "--format", "json")
        self._tally.ran(ran, "describe")
        if ran.status == 0:
            listed, living = {row["id"] for row in json.loads(ran.out)["instances"]}, set(self._living())
            self._tally.check(living <= listed, "machines that describe hides", living - listed)

    def _end(self) -> None:
        for number in sorted(self._living()):
            command = self._random.choice(("kill", "shutdown", "stop_instance"))
            ran = self._shell(command, "--timeout", "1", *([] if command == "kill" else ["--no-wait"]), str(number))
            self._tally.ran(ran, command)
            record = self._stage.engine.store.instance(number)
            assert record is not None
            ended = record.state == State.DONE or (record.state == State.ACTIVE and record.lcm_state in _ENDING)
            off = record.state in _OFF or (record.state == State.ACTIVE and record.lcm_state == Lcm.SHUTDOWN_POWEROFF)
            if ran.status == 0:
                self._tally.check(ended or (off and command == "stop_instance"), "ends that were not", (command, number))
            elif ended:
                self._tally.counted["ends in doubt that happened"] += 1
        self._proxy.drain()


def _covers(request: str, token: str) -> bool:
    return token == request or token.startswith(f"{request}/")
