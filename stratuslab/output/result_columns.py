"""The columns of results: one list for tables, CSV, JSON, sorting and filtering, so that a fact has one name everywhere."""

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from stratuslab import results
from stratuslab.output.redaction import masked_text
from stratuslab.output.safe_text import word

Value = None | bool | int | float | str | Sequence[str]


class Column(NamedTuple):
    """A fact about a row: its name, how to read it, and its title in tables (empty: the name).

    ``min_width`` is for the user guide's tables. ``numeric``, ``yes_or_no`` and ``time`` say what its values are, ``ignore_case``
    how they are compared. ``usual`` columns are shown by default. ``table_value`` is what a table shows instead of the
    exact value, such as a size with its unit; the usual columns of the user guide's tables do so only when none are chosen.
    ``is_fact``: it is read from an instance, or from InstanceFacts.
    """

    name: str
    read: Callable[[Any], Value]
    title: str = ""
    min_width: int = 0
    usual: bool = False
    numeric: bool = False
    ignore_case: bool = False
    yes_or_no: bool = False
    time: bool = False
    table_value: Callable[[Any], Value] | None = None
    is_fact: bool = False

    @property
    def heading(self) -> str:
        return self.title or self.name

    @property
    def table_width(self) -> int:
        """The minimum width in the user guide's tables: never less than the title and a blank."""
        return self.min_width or len(self.heading) + 1


class RowKind(NamedTuple):
    """What rows are about: their name in JSON, and their columns; ``key`` is the column of ``--format ids``.

    ``guide`` says that their table has the layout of the user guide, ``single`` that there is one row, whose table has a line
    for each column, and ``streamed`` that there may be too many to keep: JSON has them first, as they come.
    """

    name: str
    columns: Sequence[Column]
    key: str = "id"
    guide: bool = False
    single: bool = False
    streamed: bool = False

    def find(self, name: str) -> "Column | None":
        """The column with that name or title."""
        return next((column for column in self.columns if name and name in (column.name, column.title)), None)

    @property
    def usual(self) -> list[Column]:
        return [column for column in self.columns if column.usual]


def attribute(name: str, path: str = "", title: str = "", **details: Any) -> Column:
    """A column that is an attribute of the row: of the same name, or at this path (with dots). Empty text is None."""
    read = attrgetter(path or name)

    def value(row: Any) -> Value:
        found: Value = read(row)
        return None if found == "" else found

    return Column(name, value, title, **details)


def _fact(name: str, read: str | Callable[[Any], Value] = "", title: str = "", **details: Any) -> Column:
    """A column that is read from the row's instance, by a function or the name of an attribute; None for what is unknown or
    empty."""
    of_instance = read if callable(read) else attribute(name, read).read

    def value(row: results.InstanceRow) -> Value:
        return None if row.instance is None else of_instance(row.instance)

    return Column(name, value, title, is_fact=True, **details)


def _if_known(read: Callable[[results.InstanceRow], Value]) -> Callable[[results.InstanceRow], Value]:
    return lambda row: None if row.instance is None else read(row)


def latest(found: Iterable[results.InstanceRow]) -> list[results.InstanceRow]:
    """The latest row of each instance, in the place of its first one."""
    return list({(row.cloud, row.id): row for row in found}.values())


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC; None if unknown or out of a calendar's range."""
    from datetime import datetime, timezone

    try:
        return None if seconds is None else f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return None


def _reason(row: results.InstanceRow) -> Value:
    if row.explanation is None:
        return None
    from stratuslab.output.reason_text import reason

    return reason(row.explanation)


def _kind(instance: Any) -> Value:
    """Whether a machine is real or only simulated; unknown before it was deployed."""
    return ("simulated" if instance.hypervisor == "simulated" else "real") if instance.hypervisor else None


def _age(row: results.InstanceRow) -> Value:
    from stratuslab.output.time_format import duration

    return None if row.age_seconds is None else duration(row.age_seconds)


def _guide_memory(row: results.InstanceRow) -> Value:
    return row.memory_kib or row.last_usage[0]


def _guide_cpu(row: results.InstanceRow) -> Value:
    return row.cpu_percent or row.last_usage[1]


CLOUD = attribute("cloud", min_width=6)

INSTANCES = RowKind(
    "instances",
    (
        CLOUD,
        attribute("id", min_width=4, usual=True, numeric=True),
        attribute("state", min_width=10, usual=True, ignore_case=True),
        attribute("vcpu", min_width=5, usual=True, numeric=True),
        attribute("memory_kib", "", "memory", min_width=10, usual=True, numeric=True, table_value=_guide_memory),
        attribute("cpu_percent", "", "cpu%", min_width=5, usual=True, numeric=True, table_value=_guide_cpu),
        Column("host_ip", _if_known(lambda row: row.places), "host/ip", min_width=24, usual=True),
        attribute("name", min_width=4, usual=True),
        _fact("address", lambda instance: next(iter(instance.addresses), None)),
        _fact("addresses"),
        _fact("networks", title="network"),
        _fact("host", "hostname"),
        _fact("hypervisor"),
        _fact("kind", _kind),
        _fact("owner"),
        _fact("uid", "owner_id", numeric=True),
        _fact("group"),
        _fact("labels", title="label"),
        _fact("started", lambda instance: rfc3339(instance.started), time=True),
        attribute("age_seconds", "", "age", numeric=True, table_value=_age),
        _fact("ended", lambda instance: rfc3339(instance.ended), time=True),
        _fact("failed", yes_or_no=True),
        Column("message", lambda row: (row.note and masked_text(row.note)) or None),
        Column("cause", lambda row: row.explanation and row.explanation.cause and row.explanation.cause.name),
        Column("reason", _reason),
    ),
    guide=True,
)

FACTS = tuple(column.name for column in INSTANCES.columns if column.is_fact)

TYPES = RowKind(
    "types",
    (
        Column("name", lambda pair: pair[0].name, min_width=11, usual=True),
        Column("cpu", lambda pair: pair[0].cpu, min_width=5, usual=True, numeric=True),
        Column("ram_mib", lambda pair: pair[0].ram, "ram", min_width=8, usual=True, numeric=True),
        Column("swap_mib", lambda pair: pair[0].swap, "swap", min_width=8, usual=True, numeric=True),
        Column("selected", lambda pair: pair[1], usual=True, yes_or_no=True),
    ),
    key="name",
    guide=True,
)

SETTINGS = RowKind("settings", [attribute(name, usual=True) for name in ("key", "value", "origin")], key="key")

SECTIONS = RowKind(
    "sections",
    (
        attribute("name", usual=True),
        attribute("endpoint", usual=True),
        attribute("selected", usual=True, yes_or_no=True),
    ),
    key="name",
)

COPIES = RowKind(
    "copies",
    (
        attribute("instance", usual=True, numeric=True),
        attribute("files", usual=True, numeric=True),
        attribute("size_bytes", "size", usual=True, numeric=True),
    ),
    key="instance",
)


def rows(result: results.Result) -> Iterable[Any]:
    """The rows of a result, as the columns of its kind read them."""
    match result:
        case results.Listing(found):
            return found
        case results.InstanceStarted(row=row) | results.InstanceChanged(row) | results.InstanceAfterWait(row):
            return (row,)
        case results.FilesCopied():
            return (result,)
        case _:
            return ()


def cell(value: Value) -> str:
    """A value in a table: ``-`` for what is unknown or empty."""
    if value is None or isinstance(value, str):
        return word(value or "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value) if isinstance(value, int) else f"{value:.0f}"
    return word(",".join(value))
