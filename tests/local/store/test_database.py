"""The store under stress: processes side by side, processes that are killed, disks that are full, files that are not ours."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus, StratusLabError, UsageError
from stratuslab.local import state_directory
from stratuslab.local.engine.engine import Engine
from stratuslab.local.engine.scheduler import Capacity
from stratuslab.local.images.initialized_store import open_store
from stratuslab.local.store.database import _MIGRATIONS as MIGRATIONS
from stratuslab.local.store.database import DATABASE, VERSION, Store
from stratuslab.local.store.stored_records import Record
from stratuslab.opennebula.states import State
from tests.fakes.staged_cloud import Actors, configure
from tests.harness import CHECKOUT
from tests.local.templates import SMALL

NIC = SMALL + "NIC=[NETWORK_ID=0]\n"

PRELUDE = """
import sys
from pathlib import Path
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.local.engine.server_rules import Verb

class NoMachines:
    def spawn(self, instance): pass
    def alive(self, instance): return True
    def kill(self, instance): pass
    def halt(self, instance): pass

engine = Engine(Path(sys.argv[1]), NoMachines())
template = "CPU=0.01\\nMEMORY=1\\nNIC=[NETWORK_ID=0]"
"""

HAMMER = """
kept = []
for turn in range(25):
    number = engine.allocate(ADMINISTRATOR, template)
    if turn % 5 == 0:
        engine.act(ADMINISTRATOR, number, Verb.DELETE)
    else:
        kept.append(number)
    list(engine.pool(ADMINISTRATOR, -3, -1, -1, -1))
print(*kept)
"""

ALLOCATE_FOR_EVER = """
print("ready", flush=True)
while True:
    print(engine.allocate(ADMINISTRATOR, template), flush=True)
"""


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        text=True,
    )


def test_processes_side_by_side_never_share_a_number_or_an_address(tmp_path: Path) -> None:
    """Six first commands at once, on a store that none of them finds there."""
    processes = [python(HAMMER, str(tmp_path / "cloud")) for _ in range(6)]
    kept: list[int] = []
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        kept += map(int, out.split())
    assert len(set(kept)) == len(kept) == 120
    engine = Engine(tmp_path / "cloud", Actors())
    leased = engine.leases.leased(engine.leases.networks()[-1])
    assert len({address for address, _ in leased}) == len(leased) == 120
    assert sorted(instance for _, instance in leased) == sorted(kept)
    rows = engine.store.query("SELECT count(*), max(id) FROM instances")
    assert rows == [(150, 150)]


@pytest.mark.parametrize("lines", [1, 3, 8])
def test_a_process_that_is_killed_leaves_whole_instances(tmp_path: Path, lines: int) -> None:
    process = python(ALLOCATE_FOR_EVER, str(tmp_path))
    assert process.stdout is not None
    told = [process.stdout.readline().strip() for _ in range(lines + 1)][1:]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().split()
    process.communicate(timeout=20)
    engine = Engine(tmp_path, Actors())
    numbers = [record.id for record in engine.store.instances(newest_first=False)]
    # All that was told is there, and at most one more, whose answer was lost.
    assert numbers == list(range(1, len(numbers) + 1))
    assert 0 <= len(numbers) - len(told) <= 1
    leased = engine.leases.leased(engine.leases.networks()[-1])
    assert sorted(instance for _, instance in leased) == numbers
    assert engine.store.query("PRAGMA integrity_check") == [("ok",)]
    assert engine.allocate(engine.user("oneadmin"), NIC) == len(numbers) + 1


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.08])
def test_a_process_that_is_killed_while_it_makes_the_store(tmp_path: Path, delay: float) -> None:
    process = python("", str(tmp_path / "cloud"))
    time.sleep(delay)
    process.kill()
    process.communicate(timeout=20)
    engine = Engine(tmp_path / "cloud", Actors())
    assert engine.allocate(engine.user("oneadmin"), NIC) == 1


class TestModes:
    def test_closed_to_others(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            store = open_store(tmp_path / "deep" / "cloud", 0)
        finally:
            os.umask(before)
        assert store.directory.stat().st_mode & 0o777 == 0o700
        modes = {path.name: path.stat().st_mode & 0o777 for path in store.directory.iterdir()}
        assert modes.pop("instances") == 0o700
        assert set(modes.values()) == {0o600}
        assert len(modes) == 4  # the database, its log, the log's index, the reserve
        store.close()

    def test_state_directory(self, tmp_path: Path) -> None:
        given = state_directory({"STRATUSLAB_LOCAL_DIR": str(tmp_path / "given"), "HOME": "/nowhere"})
        assert given == tmp_path / "given"
        assert given.stat().st_mode & 0o777 == 0o700
        xdg = state_directory({"XDG_STATE_HOME": str(tmp_path / "xdg"), "HOME": "/nowhere"})
        assert xdg == tmp_path / "xdg" / "stratuslab" / "local"
        home = state_directory({"HOME": str(tmp_path), "XDG_STATE_HOME": "relative"})
        assert home == tmp_path / ".local" / "state" / "stratuslab" / "local"
        assert home.stat().st_mode & 0o777 == 0o700
        assert state_directory({"HOME": str(tmp_path)}) == home

    def test_no_place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match=r"cannot create the embedded cloud's directory .*: a file of that name exists"):
            state_directory({"STRATUSLAB_LOCAL_DIR": str(tmp_path / "file" / "cloud")})
        with pytest.raises(UsageError, match="cannot create the embedded cloud"):
            state_directory({"STRATUSLAB_LOCAL_DIR": str(tmp_path / "file")})

        import pwd

        def nobody(number: int) -> None:
            raise KeyError(number)

        monkeypatch.setattr(pwd, "getpwuid", nobody)
        with pytest.raises(UsageError, match="no home directory"):
            state_directory({})


def old_store(directory: Path, version: int) -> None:
    """A store as that version made it, with one instance."""
    with closing(sqlite3.connect(directory / DATABASE, isolation_level=None)) as store:
        for statement in chain.from_iterable(MIGRATIONS[:version]):
            store.execute(statement)
        store.execute(f"PRAGMA user_version = {version}")
        columns = [row for row in store.execute("PRAGMA table_info(instances)") if row[4] is None]
        values = {name: "[]" if kind == "TEXT" else 1 for _, name, kind, *_ in columns}
        store.execute(f"INSERT INTO instances ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", [*values.values()])


@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_old_store_is_brought_up_to_date_by_several_at_once(tmp_path: Path, version: int) -> None:
    old_store(tmp_path, version)
    start = threading.Barrier(6)

    def opened(_: int) -> Record | None:
        start.wait(20)
        with closing(Store(tmp_path)) as store:
            return store.instance(1)

    with ThreadPoolExecutor(6) as threads:
        records = list(threads.map(opened, range(6)))
    assert records[0] is not None
    assert records[0].hypervisor == "simulated"
    assert records == records[:1] * 6
    with closing(Store(tmp_path)) as store, closing(Store(tmp_path / "new")) as new:
        assert store.query("PRAGMA user_version") == [(VERSION,)]
        tables = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        assert store.query(tables) == new.query(tables)


class TestTrouble:
    def test_a_newer_version_s_store(self, tmp_path: Path) -> None:
        open_store(tmp_path, 0).close()
        with sqlite3.connect(tmp_path / DATABASE) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(StratusLabError, match="written by a newer version") as raised:
            Store(tmp_path)
        assert raised.value.status == ExitStatus.FAILED

    @pytest.mark.parametrize("content", [b"hello " * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
    def test_a_damaged_store(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / DATABASE).write_bytes(content)
        with pytest.raises(StratusLabError, match="is damaged") as raised:
            open_store(tmp_path, 0)
        assert "move it away" in raised.value.hint
        assert (tmp_path / DATABASE).read_bytes() == content, "somebody's file was changed"

    def test_an_empty_file_is_a_new_store(self, tmp_path: Path) -> None:
        (tmp_path / DATABASE).touch()
        assert open_store(tmp_path, 0).query("SELECT count(*) FROM networks") == [(3,)]

    def test_a_directory_in_the_way(self, tmp_path: Path) -> None:
        (tmp_path / DATABASE).mkdir()
        with pytest.raises(UsageError, match="cannot keep the embedded cloud's state"):
            open_store(tmp_path, 0)

    def test_a_full_disk(self, tmp_path: Path) -> None:
        engine = Engine(tmp_path, Actors())
        user = engine.user("oneadmin")
        configure(engine, capacity=Capacity(0.001, 1))
        pages = engine.store.query("PRAGMA page_count")[0][0]
        engine.store.query(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StratusLabError, match="the disk is full") as raised:
            for _ in range(2000):
                engine.allocate(user, SMALL + f'NOTE="{"x" * 2000}"')
        assert raised.value.hint == "free some space"
        engine.store.query("PRAGMA max_page_count = 100000")
        number = engine.allocate(user, SMALL)
        assert number == engine.store.query("SELECT count(*) FROM instances")[0][0], "half an instance was kept"

    def test_a_busy_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.store.database._BUSY_SECONDS", 0.05)
        first, second = open_store(tmp_path, 0), open_store(tmp_path, 0)
        with first.transaction(), pytest.raises(StratusLabError, match="is busy"), second.transaction():
            pass
        # Readers are not kept waiting.
        with first.transaction():
            assert second.query("SELECT count(*) FROM networks") == [(3,)]

    def test_a_transaction_that_raises_changes_nothing(self, tmp_path: Path) -> None:
        engine = Engine(tmp_path, Actors())
        with pytest.raises(RuntimeError), engine.store.transaction():
            engine.store.query("DELETE FROM networks")
            raise RuntimeError
        assert len(engine.leases.networks()) == 3


def test_a_second_engine_sees_the_first_one_s_instances(tmp_path: Path) -> None:
    first, second = Engine(tmp_path, Actors()), Engine(tmp_path, Actors())
    number = first.allocate(first.user("alice"), SMALL, hold=True)
    record = second.instance(second.user("alice"), number)
    assert (record.state, record.owner) == (State.HOLD, "alice")


@contextmanager
def timed(limit: float) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    assert time.perf_counter() - begin < limit


def test_opening_and_listing_are_cheap(tmp_path: Path) -> None:
    """A few milliseconds on any computer; the limit leaves room for one that is busy."""
    engine = Engine(tmp_path, Actors())
    for _ in range(10):
        engine.allocate(engine.user("oneadmin"), NIC)
    engine.close()
    with timed(0.25):
        engine = Engine(tmp_path, Actors())
        assert len(list(engine.pool(engine.user("oneadmin"), -3, -1, -1, -1))) == 10


def test_what_importing_the_door_does_not_import() -> None:
    program = (
        "import sys, stratuslab.local.api.in_process\n"
        "heavy = {'requests', 'paramiko', 'tabulate', 'cryptography', 'urllib.request', 'concurrent.futures'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    )
    assert done.stdout.strip() == ""


CHANGE_A_SETTING = """
import sys
from pathlib import Path
from stratuslab.local.images.initialized_store import open_store
store = open_store(Path(sys.argv[1]), 0)
with store.transaction():
    store.set_setting("from", sys.argv[2])
store.close()
"""


def test_a_second_opening_in_a_process_takes_nothing_from_the_first(tmp_path: Path) -> None:
    """To close a file gives up all locks that the process has on it, and then others take away what a store is still using."""
    first = open_store(tmp_path, 0)
    second = open_store(tmp_path, 0)
    for value in ("one", "two"):
        subprocess.run([sys.executable, "-c", CHANGE_A_SETTING, str(tmp_path), value], check=True, cwd=CHECKOUT)
        assert (first.setting("from"), second.setting("from")) == (value, value)
    first.close()
    second.close()
