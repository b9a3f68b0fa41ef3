"""The embedded cloud's SQLite database, shared by commands, servers and supervisors.

Each change is one transaction, so a process that is killed leaves all of it or nothing. With write-ahead logging, readers
do not wait for the writer. Other users cannot read the file, nor those that SQLite creates beside it with the same mode.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.store import ballast_file
from stratuslab.local.store.stored_records import Record
from stratuslab.opennebula.states import State
from stratuslab.private_files import is_disk_full, private_directory, require_own, why

T = TypeVar("T")

DATABASE = "cloud.sqlite"
_BUSY_SECONDS = 20.0
_SCHEMA = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE networks (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first INTEGER NOT NULL, size INTEGER NOT NULL,
       next INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE leases (network INTEGER NOT NULL, address INTEGER NOT NULL, instance INTEGER NOT NULL,
       PRIMARY KEY (network, address)) WITHOUT ROWID""",
    "CREATE INDEX leases_of_instance ON leases (instance)",
    """CREATE TABLE instances (
       id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, name TEXT NOT NULL, state INTEGER NOT NULL, lcm_state INTEGER NOT NULL,
       cpu REAL NOT NULL, memory_mib INTEGER NOT NULL, image TEXT NOT NULL, obstacle TEXT NOT NULL,
       attributes TEXT NOT NULL, user_attributes TEXT NOT NULL, history TEXT NOT NULL,
       stime INTEGER NOT NULL, etime INTEGER NOT NULL, message TEXT NOT NULL, message_time INTEGER NOT NULL,
       waiting TEXT NOT NULL, ssh_address TEXT NOT NULL, ssh_port INTEGER NOT NULL,
       cpu_percent REAL NOT NULL, memory_kib INTEGER NOT NULL, polled INTEGER NOT NULL)""",
    "CREATE INDEX instances_by_state ON instances (state)",
    "CREATE INDEX instances_by_owner ON instances (uid)",
    """CREATE TABLE entries (id INTEGER PRIMARY KEY, identifier TEXT NOT NULL, email TEXT NOT NULL, created TEXT NOT NULL,
       title TEXT NOT NULL, bytes INTEGER NOT NULL, registered INTEGER NOT NULL, document TEXT NOT NULL,
       UNIQUE (identifier, email, created))""",
)
# Seconds since the epoch and a random number, so that whoever keeps a copy of the catalogue sees that it has changed.
_NEW_CATALOGUE = """INSERT OR REPLACE INTO settings
    VALUES ('catalogue_version', strftime('%s', 'now') || '-' || lower(hex(randomblob(8))))"""
_MIGRATIONS = (
    _SCHEMA,
    (
        "ALTER TABLE instances ADD COLUMN hypervisor TEXT NOT NULL DEFAULT 'simulated'",
        "ALTER TABLE instances ADD COLUMN room_mib INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE volumes (uuid TEXT PRIMARY KEY, name TEXT NOT NULL, size_mib INTEGER NOT NULL, created INTEGER NOT NULL,
           instance INTEGER)""",
    ),
    ("ALTER TABLE instances ADD COLUMN listed TEXT NOT NULL DEFAULT '{}'",),
    (
        "ALTER TABLE instances ADD COLUMN lock TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE instances ADD COLUMN permissions TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE tokens (digest TEXT PRIMARY KEY, user INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE instances RENAME COLUMN obstacle TO prolog_error",
        "ALTER TABLE instances RENAME COLUMN waiting TO sched_message",
        "ALTER TABLE instances RENAME COLUMN room_mib TO disk_mib",
        "ALTER TABLE instances RENAME COLUMN listed TO listed_usage",
    ),
    ("ALTER TABLE entries ADD COLUMN owner INTEGER NOT NULL DEFAULT 0",),
    (
        """CREATE TABLE catalogue (id INTEGER PRIMARY KEY, identifier TEXT NOT NULL, email TEXT NOT NULL, created TEXT NOT NULL,
           title TEXT NOT NULL, bytes INTEGER NOT NULL, os TEXT NOT NULL, os_version TEXT NOT NULL, os_arch TEXT NOT NULL,
           kind TEXT NOT NULL, tag TEXT NOT NULL, valid TEXT NOT NULL, deprecated INTEGER NOT NULL, locations TEXT NOT NULL,
           description TEXT NOT NULL, size INTEGER NOT NULL, searched TEXT NOT NULL)""",
        "CREATE INDEX catalogue_by_image ON catalogue (identifier, email, created)",
        f"CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN {_NEW_CATALOGUE}; END",
        "CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN"
        f" DELETE FROM catalogue WHERE id = OLD.id; {_NEW_CATALOGUE}; END",
    ),
)
"""The statements that lead from each version of the store to the next; the first one starts with an empty file."""
VERSION = len(_MIGRATIONS)
_NAMES = [field.name for field in fields(Record) if field.name != "owner"]
_JSON = ("attributes", "user_attributes", "history", "listed_usage", "lock")
_written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_COLUMNS = ", ".join(_NAMES)
_SELECT = f"SELECT {_COLUMNS}, coalesce((SELECT name FROM users WHERE users.id = uid), '') FROM instances"
_BATCH = 200


class DiskFull(StratusLabError):
    """The disk has no space for the store."""


class Store:
    """The open store of a directory. Threads may share it; transactions are exclusive.

    Raises DiskFull, StratusLabError for a file that is damaged, locked or too new, UsageError for an unusable directory.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / DATABASE
        self._lock = threading.RLock()
        _make_private(directory, self.path)
        ballast_file.create(directory)
        # Even to read, SQLite creates a file beside the database unless a running machine has it open.
        self.with_reserve(self._connect)

    def _connect(self) -> None:
        with self._errors():
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        version = self.query("PRAGMA user_version")[0][0]
        if version > VERSION:
            raise StratusLabError(
                f"{self.path} was written by a newer version of this program",
                "use that version, or set STRATUSLAB_LOCAL_DIR to another directory",
            )
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if version < VERSION:
            self._log_ahead()
            with self.transaction():
                version = self.query("PRAGMA user_version")[0][0]
                for statement in chain.from_iterable(_MIGRATIONS[version:]):
                    self.query(statement)
                self.query(f"PRAGMA user_version = {VERSION}")

    def _log_ahead(self) -> None:
        # SQLite does not wait for locks here, so several first commands at once have to retry.
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes in the block together, or none if it raises. Other processes wait, so keep it short."""
        with self._lock, self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def query(self, statement: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a statement returns. Changes belong in a transaction."""
        with self._lock, self._errors():
            return self._connection.execute(statement, arguments).fetchall()

    def with_reserve(self, change: Callable[[], T], stop: Callable[[], object] = lambda: None) -> T:
        """Make a change that frees space, on a full disk by means of the reserve. ``stop`` then first kills the machines that are
        to end, so that they do not fill the reserve."""
        try:
            return change()
        except DiskFull:
            stop()
            ballast_file.release(self.directory)
            return change()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _explained(self.path, error) from error

    def setting(self, name: str) -> str | None:
        rows = self.query("SELECT value FROM settings WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str) -> None:
        self.query("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def add(self, record: Record) -> None:
        """Insert a new instance. Part of a transaction."""
        self.query(f"INSERT INTO instances ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})", _values(record))

    def save(self, record: Record) -> None:
        """Save an instance, and release its leases and volumes if it is DONE. Part of the transaction in which it was read."""
        changes = ", ".join(f"{name} = ?" for name in _NAMES)
        self.query(f"UPDATE instances SET {changes} WHERE id = ?", [*_values(record), record.id])
        if record.state == State.DONE:
            self.query("DELETE FROM leases WHERE instance = ?", (record.id,))
            self.query("UPDATE volumes SET instance = NULL WHERE instance = ?", (record.id,))

    @contextmanager
    def changing(self, number: int) -> Iterator[Record | None]:
        """An instance, None if it does not exist; saved after the block unless that raises. A transaction."""
        with self.transaction():
            record = self.instance(number)
            yield record
            if record is not None:
                self.save(record)

    def instance(self, number: int) -> Record | None:
        rows = self.query(f"{_SELECT} WHERE id = ?", (number,)) if abs(number) < 2**63 else []
        return _record(rows[0]) if rows else None

    def instances(
        self, condition: str = "1", arguments: Sequence[Any] = (), *, offset: int = 0, limit: int = -1, newest_first: bool = True
    ) -> Iterator[Record]:
        """The instances that match an SQL condition, ordered by id and read in batches to save memory."""
        order, beyond = ("DESC", "id < ?") if newest_first else ("ASC", "id > ?")
        last = 2**62 if newest_first else -1
        while limit:
            size = _BATCH if limit < 0 else min(_BATCH, limit)
            batch = f"{_SELECT} WHERE ({condition}) AND {beyond} ORDER BY id {order} LIMIT ? OFFSET ?"
            rows = self.query(batch, [*arguments, last, size, offset])
            yield from map(_record, rows)
            if len(rows) < size:
                return
            last, offset, limit = rows[-1][0], 0, limit - size if limit > 0 else limit


def _values(record: Record) -> list[Any]:
    values = vars(record)
    return [_written(values[name]) if name in _JSON else values[name] for name in _NAMES]


def _record(row: tuple[Any, ...]) -> Record:
    pairs = zip((*_NAMES, "owner"), row, strict=True)
    return Record(**{name: json.loads(value) if name in _JSON else value for name, value in pairs})


def _make_private(directory: Path, path: Path) -> None:
    try:
        # The directory itself may be one of the user's that others can read. All are checked: they may be from a time when others
        # could write to it.
        for part in (directory, directory / "instances"):
            private_directory(part)
        for name in (DATABASE, "images", "volumes", "cache"):
            require_own(directory / name)
        # An existing file is not opened: closing it would release the locks of SQLite's other connections in this process.
        if not path.exists():
            with suppress(FileExistsError):
                path.touch(0o600, exist_ok=False)
        elif path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        elif os.statvfs(path).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        elif not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if is_disk_full(error):
            raise _full(path) from error
        raise UsageError(
            f"cannot keep the embedded cloud's state in {directory}: {why(error)}",
            "set STRATUSLAB_LOCAL_DIR to a directory of your own",
        ) from error


def _full(path: Path) -> DiskFull:
    return DiskFull(f"cannot write the embedded cloud's store {path}: the disk is full", "free some space")


def _explained(path: Path, error: sqlite3.Error) -> StratusLabError:
    text = str(error)
    if "full" in text or ("locked" not in text and ballast_file.is_full(path.parent)):
        return _full(path)
    if "locked" in text:
        return StratusLabError(f"the embedded cloud's store {path} is busy", "try again")
    if "not a database" in text or "malformed" in text:
        return StratusLabError(
            f"the embedded cloud's store {path} is damaged: {text}",
            "move it away, or set STRATUSLAB_LOCAL_DIR to another directory",
        )
    return StratusLabError(f"cannot use the embedded cloud's store {path}: {text}")
