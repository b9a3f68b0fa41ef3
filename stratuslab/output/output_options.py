"""The shape that the user wants an answer in: form, columns, order, and which rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stratuslab.output.columns import CLOUD, Column, RowKind, Value
from stratuslab.output.terminal import Terminal

FORMS = ("table", "json", "csv", "ids")
"""The names of the forms, the usual one first."""


@dataclass(frozen=True)
class Filter:
    """``COLUMN`` ``operator`` ``operand``; a list passes when one of its words does."""

    column: Column
    operator: str
    operand: str

    def passes(self, row: Any) -> bool:
        """Whether the row has such a value."""
        value = self.column.read(row)
        words = value if isinstance(value, (list, tuple)) else [value]
        if self.column.numeric and self.operand and value is None:
            return False  # nobody knows whether it is that number
        if self.operator == "!=":
            return not any(map(self._equal, words))
        return any(map(_TESTS[self.operator], (self,) * len(words), words))

    def _equal(self, value: Value) -> bool:
        if self.column.numeric and self.operand:
            return isinstance(value, (int, float)) and value == float(self.operand)
        found = _plain(value)
        return found.casefold() == self.operand.casefold() if self.column.folded else found == self.operand

    def _like(self, value: Value) -> bool:
        return re.search(self.operand, _plain(value), re.IGNORECASE if self.column.folded else 0) is not None

    def _compared(self, value: Value) -> int:
        """-1, 0 or 1; 0 also where there is nothing to compare."""
        if value is None:
            return 0
        if self.column.numeric:
            assert isinstance(value, (int, float))
            return _sign(value, float(self.operand))
        return _sign(_natural(_plain(value)), _natural(self.operand))


_TESTS: dict[str, Callable[[Filter, Value], bool]] = {
    "=": Filter._equal,
    "~": Filter._like,
    ">": lambda one, value: one._compared(value) > 0,
    "<": lambda one, value: one._compared(value) < 0,
}


def _plain(value: Value) -> str:
    return "" if value is None else ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _natural(text: str) -> list[tuple[int, int | str]]:
    """A key that has ``.9`` before ``.10``."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"([0-9]{1,15})", text) if part]


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)


@dataclass(frozen=True)
class Shape:
    """How to show what a command answers.

    ``columns`` is empty and ``sort`` None where the usual is wanted. ``width`` is that of the terminal to keep within, None
    where nothing is to be cut. ``quiet`` and ``notes`` are the guide's: the form for scripts, lines with reasons.
    ``terminal`` is for drawings.
    """

    kind: RowKind | None = None
    form: str = FORMS[0]
    columns: Sequence[Column] = ()
    sort: Column | None = None
    descending: bool = False
    filters: Sequence[Filter] = ()
    header: bool = True
    width: int | None = None
    quiet: bool = False
    notes: bool = False
    terminal: Terminal = field(default_factory=Terminal)

    @property
    def plain(self) -> bool:
        """Whether nothing but the guide's own layout was asked for."""
        return self.form == FORMS[0] and not (self.columns or self.sort or self.filters) and self.header

    def uses(self, *names: str) -> bool:
        """Whether one of these columns is shown, sorted by or filtered."""
        kind = self.kind
        everything = () if kind is None else kind.columns if self.form == "json" else kind.usual
        shown = () if self.form == "ids" else self.columns or everything
        sort = [self.sort] if self.sort else []
        return self.filters_by(*names) or any(column.name in names for column in (*shown, *sort))

    def filters_by(self, *names: str) -> bool:
        """Whether one of these columns is filtered."""
        return any(one.column.name in names for one in self.filters)

    def wanted(self, rows: Sequence[Any]) -> list[Any]:
        """The rows that pass all filters, in the order that was asked for; what is not known comes last."""
        chosen = [row for row in rows if all(one.passes(row) for one in self.filters)]
        if self.sort is None:
            return chosen
        read = self.sort.read
        known = [row for row in chosen if read(row) is not None]
        known.sort(key=lambda row: _key(read(row)), reverse=self.descending)
        return known + [row for row in chosen if read(row) is None]

    def chosen(self, rows: Sequence[Any]) -> Sequence[Column]:
        """The columns to show of these rows: with a cloud's name in front where several clouds were asked."""
        if self.columns or self.kind is None:
            return self.columns
        several = CLOUD in self.kind.columns and any(row.cloud for row in rows)
        return [*([CLOUD] if several else []), *self.kind.usual]


def _key(value: Value) -> Any:
    if isinstance(value, str):
        return _natural(value)
    return [_natural(word) for word in value] if isinstance(value, (list, tuple)) else value
