"""Tables: the StratusLab user guide's layout, to the byte; every other table is drawn by tabulate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stratuslab.output.output_options import OutputOptions
from stratuslab.output.result_columns import cell
from stratuslab.output.safe_text import cut, width
from stratuslab.results import InstanceRow

_SEPARATOR = "\0"  # no cell contains it
_LEAST_LAST = 8  # minimum width of the last column, however narrow the terminal is
_LEAST_CHOSEN = 24  # the same if the user chose it: a time, or the beginning of a message, is worth a wrapped line
_FAILED = ("Failure", "Failed")
_RED, _PLAIN = "\033[31m", "\033[m"


def table(rows: Sequence[Any], options: OutputOptions) -> Iterator[str]:
    """The lines of a table: a header and a line for each row, or a line for each column of a single row."""
    if options.kind is None or options.kind.guide:
        return _guide_table(rows, options)
    return (cut(line, options.width, options.terminal.ellipsis) for line in _drawn(rows, options))


def _drawn(rows: Sequence[Any], options: OutputOptions) -> Iterator[str]:
    from tabulate import tabulate

    columns = options.shown_columns(rows)
    headings = [column.heading for column in columns] if options.header else []
    cells = [[cell((column.table_value or column.read)(row)) for column in columns] for row in rows]
    if options.kind is not None and options.kind.single:
        cells = [list(pair) for row in cells for pair in zip(*([headings] if headings else []), row, strict=True)]
        headings = []
    drawing: str = tabulate(cells, headings, tablefmt="plain", disable_numparse=True)
    return map(str.rstrip, drawing.splitlines())


def _guide_table(rows: Sequence[Any], options: OutputOptions) -> Iterator[str]:
    """The guide's layout, with a note below each row if notes are wanted. Between finding the widths and writing, a row is one
    string, so that a long table takes little memory."""
    columns = options.shown_columns(rows)
    reads = [column.read if options.columns and column.usual else column.table_value or column.read for column in columns]
    longest = [0] * len(columns)
    lines: list[str] = []
    notes: dict[int, str] = {}
    failed: set[int] = set()
    for row in rows:
        cells = [cell(read(row)) for read in reads]
        longest = list(map(max, longest, map(width, cells)))
        if options.notes and isinstance(row, InstanceRow) and row.explanation is not None:
            from stratuslab.output.reason_text import reason

            notes[len(lines)] = reason(row.explanation)
        if options.color and isinstance(row, InstanceRow) and row.state.endswith(_FAILED):
            failed.add(len(lines))
        lines.append(_SEPARATOR.join(cells))
    widths = [max(most + 1, column.table_width) for column, most in zip(columns, longest, strict=True)]
    if options.header:
        yield _joined([column.heading for column in columns], widths)
    least = _LEAST_CHOSEN if options.columns else _LEAST_LAST
    room = None if options.width is None else max(options.width - sum(widths[:-1]), least)
    for place, line in enumerate(lines):
        cells = line.split(_SEPARATOR)
        line = _joined([*cells[:-1], cut(cells[-1], room, options.terminal.ellipsis)], widths)
        yield f"{_RED}{line}{_PLAIN}" if place in failed else line
        if place in notes:
            yield from _note(notes[place], widths[0], options.width)


def _note(text: str, indent: int, room: int | None) -> Iterator[str]:
    """A line below a row; on a terminal it is wrapped between words."""
    if room is None:
        yield " " * indent + text
        return
    from textwrap import wrap

    yield from wrap(text, max(room - 1, 2 * indent + 20), initial_indent=" " * indent, subsequent_indent=" " * indent)


def _joined(values: Sequence[str], widths: Sequence[int]) -> str:
    *before, last = values
    if "".join(before).isascii():
        return "".join(map(str.ljust, before, widths)) + last
    return "".join([value + " " * (room - width(value)) for value, room in zip(before, widths[:-1], strict=True)]) + last
