"""Formatters: a command yields results, and the formatter that the user chose turns them into lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stratuslab import results
from stratuslab.output import result_columns, user_guide_text
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.redraw import Redraw
from stratuslab.output.safe_text import harmless
from stratuslab.output.table_layout import table

if TYPE_CHECKING:
    from stratuslab.output.json_formatter import JsonFormatter

_SHOWN_AT_ONCE = (results.CloudCheck, results.InstanceDetails, results.LaunchPlan, results.Listing, results.TextLine)
_FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def formatter(options: OutputOptions) -> TextFormatter | RowFormatter | JsonFormatter:
    """The formatter that the options ask for: ``show`` gives the lines that can be printed at once, ``end`` those that need all
    results."""
    if options.format == "json":
        from stratuslab.output.json_formatter import JsonFormatter

        return JsonFormatter(options)
    return TextFormatter(options) if options.format == "table" else RowFormatter(options)


class TextFormatter:
    """The text that the user guide shows, or a table of the rows and columns that the user chose."""

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        self._redraw = Redraw(options.terminal)
        self._rows: list[Any] = []

    def show(self, result: results.Result) -> Iterable[str]:
        if isinstance(result, results.WatchedInstances):
            return self._redraw.draw(table(self._options.selected(result.rows), _within(self._options)))
        # What happens to one machine after the other becomes a single table.
        if self._options.is_default or isinstance(result, _SHOWN_AT_ONCE):
            return user_guide_text.lines(result, self._options)
        self._rows += result_columns.rows(result)
        return ()

    def end(self, command: str, status: int, problems: Sequence[results.Problem]) -> Iterable[str]:
        rows = result_columns.latest(self._rows) if self._options.kind is result_columns.INSTANCES else self._rows
        return table(self._options.selected(rows), self._options) if rows else ()


def _within(options: OutputOptions) -> OutputOptions:
    """The options for a terminal that is one column narrower: not every terminal can redraw a line that fills it."""
    return options if options.width is None else options._replace(width=options.width - 1)


class RowFormatter:
    """CSV (RFC 4180, with the column names on the first line), the same for a spreadsheet, or only the identifier of each row.
    A row is printed as soon as it is known, unless the rows are sorted."""

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        self._header = options.header and options.format != "ids"
        self._rows: list[Any] = []

    def show(self, result: results.Result) -> Iterable[str]:
        if isinstance(result, results.TextLine):
            return [result.text]
        if isinstance(result, results.InstanceAfterWait):
            return ()  # its row was printed when it was started
        self._rows += result_columns.rows(result)
        return () if self._options.sort else self._new_lines()

    def end(self, command: str, status: int, problems: Sequence[results.Problem]) -> Iterable[str]:
        # An empty list has a header, too; a command that failed has no list.
        return self._new_lines(even_empty=not problems)

    def _new_lines(self, even_empty: bool = False) -> Iterator[str]:
        rows = self._options.selected(self._rows)
        self._rows = []
        kind = self._options.kind
        if kind is None or not (rows or even_empty):
            return
        if self._options.format == "ids":
            key = kind.find(kind.key)
            assert key is not None
            yield from (harmless(str(value)) for row in rows if (value := key.read(row)) is not None)
            return
        chosen = self._options.shown_columns(rows)
        cell = _spreadsheet_cell if self._options.format == "spreadsheet" else _csv_cell
        if self._header:
            self._header = False
            yield _csv([column.name for column in chosen])
        for row in rows:
            yield _csv([cell(column.read(row)) for column in chosen])


def _csv_cell(value: result_columns.Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return harmless(",".join(value))
    return "" if value is None else harmless(str(value))


def _spreadsheet_cell(value: result_columns.Value) -> str:
    """The cell with an apostrophe in front of text that a spreadsheet would take for a formula, which can run programs."""
    text = _csv_cell(value)
    return f"'{text}" if text.startswith(_FORMULAS) and not isinstance(value, (int, float)) else text


def _csv(cells: Sequence[str]) -> str:
    import csv
    from io import StringIO

    line = StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
