"""How the user wants the results shown: format, columns, order, and which rows."""

import re
from collections.abc import Callable, Sequence
from operator import gt, lt
from typing import Any, NamedTuple

from stratuslab.output.result_columns import CLOUD, Column, RowKind, Value
from stratuslab.output.terminal import Terminal


class Filter(NamedTuple):
    """``COLUMN`` ``operator`` ``operand``; a list matches when one of its words does."""

    column: Column
    operator: str
    operand: str

    def passes(self, row: Any) -> bool:
        """Whether the row matches."""
        value = self.column.read(row)
        words = value if isinstance(value, (list, tuple)) else [value]
        if self.column.numeric and self.operand and value is None:
            return False  # an unknown number matches nothing
        if self.operator == "!=":
            return not any(map(self._equal, words))
        return any(_TESTS[self.operator](self, word) for word in words)

    def _equal(self, value: Value) -> bool:
        if self.column.numeric and self.operand:
            return isinstance(value, (int, float)) and value == float(self.operand)
        found = _plain(value)
        return found.casefold() == self.operand.casefold() if self.column.ignore_case else found == self.operand

    def _like(self, value: Value) -> bool:
        return re.search(self.operand, _plain(value), re.IGNORECASE if self.column.ignore_case else 0) is not None

    def _is(self, relation: Callable[[Any, Any], bool], value: Value) -> bool:
        """Whether the value is in this order to the operand; an unknown value is not."""
        if value is None:
            return False
        if self.column.numeric:
            return relation(value, float(self.operand))
        return relation(_natural(_plain(value)), _natural(self.operand))


_TESTS: dict[str, Callable[[Filter, Value], bool]] = {
    "=": Filter._equal,
    "~": Filter._like,
    ">": lambda one, value: one._is(gt, value),
    "<": lambda one, value: one._is(lt, value),
}


def _plain(value: Value) -> str:
    return "" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _natural(text: str) -> list[tuple[int, int | str]]:
    """A sort key that puts ``.9`` before ``.10``."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]{1,15})", text) if part]


class OutputOptions(NamedTuple):
    """How to show a command's results.

    ``columns`` is empty and ``sort`` None for the default. Lines are cut at ``width`` columns, None for never. ``quiet`` asks for
    the user guide's form for scripts, ``notes`` for a line with the reason below an instance that is not up. ``color``
    makes failed instances stand out. ``terminal`` is what charts are drawn for.
    """

    kind: RowKind | None = None
    format: str = "table"
    columns: Sequence[Column] = ()
    sort: Column | None = None
    descending: bool = False
    filters: Sequence[Filter] = ()
    header: bool = True
    width: int | None = None
    quiet: bool = False
    notes: bool = False
    color: bool = False
    terminal: Terminal = Terminal()

    @property
    def is_default(self) -> bool:
        """Whether the user asked for nothing but the default layout."""
        return self.format == "table" and not (self.columns or self.sort or self.filters) and self.header

    def uses(self, *names: str) -> bool:
        """Whether one of these columns is shown, sorted by or filtered by."""
        kind = self.kind
        everything = () if kind is None else kind.columns if self.format == "json" else kind.usual
        shown = () if self.format == "ids" else self.columns or everything
        sort = [self.sort] if self.sort else []
        return self.filters_by(*names) or any(column.name in names for column in (*shown, *sort))

    def filters_by(self, *names: str) -> bool:
        """Whether a filter tests one of these columns."""
        return any(one.column.name in names for one in self.filters)

    def selected(self, rows: Sequence[Any]) -> list[Any]:
        """The rows that match all filters, in the chosen order; unknown values come last."""
        chosen = [row for row in rows if all(one.passes(row) for one in self.filters)]
        if self.sort is None:
            return chosen
        read = self.sort.read
        known = [row for row in chosen if read(row) is not None]
        known.sort(key=lambda row: _key(read(row)), reverse=self.descending)
        return known + [row for row in chosen if read(row) is None]

    def shown_columns(self, rows: Sequence[Any]) -> Sequence[Column]:
        """The columns to show of these rows, the cloud's name first where the rows are of several clouds."""
        if self.columns or self.kind is None:
            return self.columns
        several = CLOUD in self.kind.columns and any(row.cloud for row in rows)
        return [*([CLOUD] if several else []), *self.kind.usual]


def _key(value: Value) -> Any:
    if isinstance(value, str):
        return _natural(value)
    return [_natural(word) for word in value] if isinstance(value, (list, tuple)) else value
