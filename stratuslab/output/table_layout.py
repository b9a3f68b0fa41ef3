"""Tables: the StratusLab user guide's layout, to the byte; every other table is drawn by tabulate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stratuslab.output.columns import Column, cell
from stratuslab.output.output_options import Shape
from stratuslab.output.safe_text import width
from stratuslab.results import InstanceRow

_LEAST_LAST = 8  # columns that are left of the last one, however narrow the terminal is


def table(rows: Sequence[Any], shape: Shape) -> Iterator[str]:
    """The lines of a table: a header, and a line for each row; of a single row a line for each column."""
    if shape.kind is None or shape.kind.guide:
        return _guide_table(rows, shape)
    return (_cut(line, shape.width, shape.terminal.ellipsis) for line in _drawn(rows, shape))


def _drawn(rows: Sequence[Any], shape: Shape) -> Iterator[str]:
    from tabulate import tabulate

    columns = shape.chosen(rows)
    headings = [column.heading for column in columns] if shape.header else []
    cells = [[cell((column.table_value or column.read)(row)) for column in columns] for row in rows]
    if shape.kind is not None and shape.kind.single:
        cells = [list(pair) for row in cells for pair in zip(*([headings] if headings else []), row, strict=True)]
        headings = []
    drawing: str = tabulate(cells, headings, tablefmt="plain", disable_numparse=True)
    return map(str.rstrip, drawing.splitlines())


def _guide_table(rows: Sequence[Any], shape: Shape) -> Iterator[str]:
    """The guide's layout, with a note below each row where notes are wanted."""
    columns = shape.chosen(rows)
    reads = [column.read if shape.columns else column.table_value or column.read for column in columns]
    cells = [[cell(read(row)) for read in reads] for row in rows]
    widths = [_width(column, [row[place] for row in cells]) for place, column in enumerate(columns)]
    if shape.header:
        yield _joined([column.heading for column in columns], widths)
    room = None if shape.width is None else max(shape.width - sum(widths[:-1]), _LEAST_LAST)
    for row, values in zip(rows, cells, strict=True):
        yield _joined([*values[:-1], _cut(values[-1], room, shape.terminal.ellipsis)], widths)
        if shape.notes and isinstance(row, InstanceRow) and row.explanation is not None:
            from stratuslab.output.reason_text import reason

            yield from _note(reason(row.explanation), widths[0], shape.width)


def _note(text: str, indent: int, room: int | None) -> Iterator[str]:
    """A line below a row; at a terminal several, so that none breaks within a word."""
    if room is None:
        yield " " * indent + text
        return
    from textwrap import wrap

    yield from wrap(text, max(room - 1, 2 * indent + 20), initial_indent=" " * indent, subsequent_indent=" " * indent)


def _width(column: Column, values: Sequence[str]) -> int:
    longest = max(map(width, values), default=0)
    return longest + 1 if longest >= column.room else column.room


def _joined(values: Sequence[str], widths: Sequence[int]) -> str:
    padded = [value + " " * (room - width(value)) for value, room in zip(values[:-1], widths[:-1], strict=True)]
    return "".join(padded) + values[-1]


def _cut(text: str, room: int | None, ellipsis: str) -> str:
    """The text within so many columns of a terminal; where something is left out an ellipsis stands for it."""
    if room is None or width(text) <= room:
        return text
    kept = ""
    for char in text:
        if width(kept + char) > room - len(ellipsis):
            break
        kept += char
    return kept + ellipsis
