"""The columns of answers: one list for tables, CSV, JSON, sorting and filtering, so that a fact has one name everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stratuslab.output.redaction import masked_text
from stratuslab.output.safe_text import word
from stratuslab.results import Answer, Awaited, Ended, InstanceRow, Launched, Listing, TypeList

Value = None | bool | int | float | str | Sequence[str]


@dataclass(frozen=True)
class Column:
    """A fact of a row: its name, how it is read, the title in tables (where that is another), and the table's least width.

    ``numeric`` says that its values are numbers, ``folded`` that they are compared without regard to upper and lower case,
    ``yes_or_no`` and ``time`` that they are that.
    ``usual`` columns are shown when nobody chooses. ``table_value`` is what a table shows instead of the exact value: a size with
    its unit. The user guide's tables do so only when nobody chooses columns.
    """

    name: str
    read: Callable[[Any], Value]
    title: str = ""
    least: int = 0
    usual: bool = False
    numeric: bool = False
    folded: bool = False
    yes_or_no: bool = False
    time: bool = False
    table_value: Callable[[Any], Value] | None = None

    @property
    def heading(self) -> str:
        return self.title or self.name

    @property
    def room(self) -> int:
        """The least width in a table; never less than the title and a blank."""
        return self.least or len(self.heading) + 1


@dataclass(frozen=True)
class RowKind:
    """What rows are about: their name in JSON, and their columns; ``key`` is the column of ``--format ids``.

    ``guide`` says that their table has the layout of the user guide, ``single`` that there is one row, whose table has a line
    for each column.
    """

    name: str
    columns: Sequence[Column]
    key: str = "id"
    guide: bool = False
    single: bool = False

    def find(self, name: str) -> Column | None:
        """The column of that name or title."""
        return next((column for column in self.columns if name and name in (column.name, column.title)), None)

    @property
    def usual(self) -> list[Column]:
        return [column for column in self.columns if column.usual]


def _of_instance(read: Callable[[Any], Value]) -> Callable[[InstanceRow], Value]:
    """Read from the row's instance; what is unknown or empty text is None."""

    def value(row: InstanceRow) -> Value:
        found = None if row.instance is None else read(row.instance)
        return None if found == "" else found

    return value


def _if_known(read: Callable[[InstanceRow], Value]) -> Callable[[InstanceRow], Value]:
    return lambda row: None if row.instance is None else read(row)


def latest(found: Iterable[InstanceRow]) -> list[InstanceRow]:
    """Of an instance that was looked at several times the last row, in the first one's place."""
    return list({(row.cloud, row.id): row for row in found}.values())


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC; None where there are none, or more than a calendar has."""
    from datetime import datetime, timezone

    try:
        return None if seconds is None else f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return None


def _cause(row: InstanceRow) -> Value:
    return row.explanation.cause.name if row.explanation is not None and row.explanation.cause is not None else None


def _reason(row: InstanceRow) -> Value:
    if row.explanation is None:
        return None
    from stratuslab.output.reason_text import reason

    return reason(row.explanation)


def _guide_memory(row: InstanceRow) -> Value:
    """The memory in the guide's table: 0 where nothing is known, and what was seen last of one that is gone."""
    if row.memory_kib is None and row.instance is not None and row.instance.state_label in _GONE:
        return row.instance.last_memory_kib
    return row.memory_kib or 0


def _guide_cpu(row: InstanceRow) -> Value:
    if row.cpu_percent is None and row.instance is not None and row.instance.state_label in _GONE:
        return row.instance.last_cpu_percent
    return row.cpu_percent or 0.0


_GONE = ("Unknown", "Done")

CLOUD = Column("cloud", lambda row: row.cloud or None, least=6)

INSTANCES = RowKind(
    "instances",
    (
        CLOUD,
        Column("id", lambda row: row.id, least=4, usual=True, numeric=True),
        Column("state", lambda row: row.state or None, least=10, usual=True, folded=True),
        Column("vcpu", lambda row: row.vcpu, least=5, usual=True, numeric=True),
        Column("memory_kib", lambda row: row.memory_kib, "memory", least=10, usual=True, numeric=True, table_value=_guide_memory),
        Column("cpu_percent", lambda row: row.cpu_percent, "cpu%", least=5, usual=True, numeric=True, table_value=_guide_cpu),
        Column("host_ip", _if_known(lambda row: list(row.places)), "host/ip", least=24, usual=True),
        Column("name", lambda row: row.name or None, least=4, usual=True),
        Column("address", _of_instance(lambda instance: next(iter(instance.addresses), None))),
        Column("addresses", _of_instance(lambda instance: list(instance.addresses))),
        Column("networks", _of_instance(lambda instance: list(instance.networks)), "network"),
        Column("host", _of_instance(lambda instance: instance.hostname)),
        Column("owner", _of_instance(lambda instance: instance.owner)),
        Column("uid", _of_instance(lambda instance: instance.owner_id), numeric=True),
        Column("group", _of_instance(lambda instance: instance.group)),
        Column("labels", _of_instance(lambda instance: list(instance.labels)), "label"),
        Column("started", _of_instance(lambda instance: rfc3339(instance.started)), time=True),
        Column("ended", _of_instance(lambda instance: rfc3339(instance.ended)), time=True),
        Column("failed", _of_instance(lambda instance: instance.failed), yes_or_no=True),
        Column("message", lambda row: masked_text(row.note) or None),
        Column("cause", _cause),
        Column("reason", _reason),
    ),
    guide=True,
)

TYPES = RowKind(
    "types",
    (
        Column("name", lambda pair: pair[0].name, least=11, usual=True),
        Column("cpu", lambda pair: pair[0].cpu, least=5, usual=True, numeric=True),
        Column("ram_mib", lambda pair: pair[0].ram, "ram", least=8, usual=True, numeric=True),
        Column("swap_mib", lambda pair: pair[0].swap, "swap", least=8, usual=True, numeric=True),
        Column("selected", lambda pair: pair[1], usual=True, yes_or_no=True),
    ),
    key="name",
    guide=True,
)

SETTINGS = RowKind(
    "settings",
    (
        Column("key", lambda row: row.key, usual=True),
        Column("value", lambda row: row.value or None, usual=True),
        Column("origin", lambda row: row.origin or None, usual=True),
    ),
    key="key",
)


def rows(answer: Answer) -> Iterable[Any]:
    """The rows that an answer holds, each as the columns of its kind read it."""
    match answer:
        case Listing(found):
            return found
        case Launched(row=row) | Ended(row) | Awaited(row):
            return (row,)
        case TypeList(types, selected):
            return [(kind, kind.name == selected) for kind in types]
        case _:
            return ()


def cell(value: Value) -> str:
    """A value in a table: what is not known or empty is ``-``."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.0f}"
        case int():
            return str(value)
        case str():
            return word(value)
        case _:
            return word(",".join(value))
