"""The forms that an answer can take. A command yields answers; the form that the user chose turns them into lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from stratuslab.output import columns, text_formatter
from stratuslab.output.output_options import Shape
from stratuslab.output.redraw import Screen
from stratuslab.output.safe_text import harmless
from stratuslab.output.table_layout import table
from stratuslab.results import Answer, Awaited, Checked, InstanceDetails, Line, Listing, Plan, Problem, Watched


class Form(Protocol):
    """Lines as soon as they can be told, and those that can be told only when all is known."""

    def show(self, answer: Answer) -> Iterable[str]: ...

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]: ...


def form(shape: Shape) -> Form:
    """The form that the shape asks for."""
    if shape.form == "json":
        from stratuslab.output.json_formatter import Json

        return Json(shape)
    if shape.form in ("csv", "ids"):
        return Rows(shape)
    return Text(shape) if shape.plain else Table(shape)


class Text:
    """The guide's own words."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._screen = Screen(shape.terminal)

    def show(self, answer: Answer) -> Iterable[str]:
        if isinstance(answer, Watched):
            return self._screen.draw(table(answer.rows, _within(self._shape)))
        return text_formatter.lines(answer, self._shape)

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]:
        return ()


class Table:
    """A table of the rows and columns that were asked for, of every command that has rows. Others are told as they are."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._screen = Screen(shape.terminal)
        self._rows: list[Any] = []

    def show(self, answer: Answer) -> Iterable[str]:
        match answer:
            case Watched(rows):
                return self._screen.draw(table(self._shape.wanted(rows), _within(self._shape)))
            case InstanceDetails() | Plan() | Line() | Checked():
                return text_formatter.lines(answer, self._shape)
            case Listing(rows):
                return table(self._shape.wanted(rows), self._shape)
            case _:
                self._rows += columns.rows(answer)
                return ()

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]:
        rows = columns.latest(self._rows) if self._shape.kind is columns.INSTANCES else self._rows
        return table(self._shape.wanted(rows), self._shape) if rows else ()


def _within(shape: Shape) -> Shape:
    """The shape with a column less: a line that fills a terminal's last one cannot be drawn over everywhere."""
    return shape if shape.width is None else replace(shape, width=shape.width - 1)


class Rows:
    """CSV (RFC 4180, the columns' names in the first line), or what names each row and nothing else. A row is told as soon as
    it is known, unless an order was asked for."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._header = shape.header and shape.form == "csv"
        self._rows: list[Any] = []

    def show(self, answer: Answer) -> Iterable[str]:
        if isinstance(answer, Line):
            return [answer.text]
        if isinstance(answer, Awaited):
            return ()  # it has its row already
        self._rows += columns.rows(answer)
        return () if self._shape.sort else self._told()

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]:
        # A list with nothing in it has a header, too; where the command failed there is no list.
        return self._told(even_empty=not problems)

    def _told(self, even_empty: bool = False) -> Iterator[str]:
        rows = self._shape.wanted(self._rows)
        self._rows = []
        kind = self._shape.kind
        if kind is None or not (rows or even_empty):
            return
        if self._shape.form == "ids":
            key = kind.find(kind.key)
            assert key is not None
            yield from (str(key.read(row)) for row in rows)
            return
        chosen = self._shape.chosen(rows)
        if self._header:
            self._header = False
            yield _csv([column.name for column in chosen])
        for row in rows:
            yield _csv([_csv_cell(column.read(row)) for column in chosen])


def _csv_cell(value: columns.Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return harmless(",".join(value))
    return "" if value is None else harmless(str(value))


def _csv(cells: Sequence[str]) -> str:
    import csv
    from io import StringIO

    line = StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
