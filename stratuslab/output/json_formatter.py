"""Results as one JSON document for each run of a command; docs/results.schema.json says what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stratuslab.output import columns
from stratuslab.output.columns import INSTANCES, RowKind
from stratuslab.output.output_options import OutputOptions
from stratuslab.results import CloudCheck, LaunchPlan, Problem, Result, TextLine

SCHEMA = 1
"""Grows when a member changes its meaning or goes; new members may come at any time."""


class JsonFormatter:
    """Collects all results, and writes them with the errors at the end."""

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        self._rows: list[Any] = []
        self._plan: LaunchPlan | None = None
        self._checked: CloudCheck | None = None
        self._lines: list[str] = []

    def show(self, result: Result) -> Iterable[str]:
        match result:
            case LaunchPlan():
                self._plan = result
            case CloudCheck():
                self._checked = result
            case TextLine(line):
                self._lines.append(line)
        self._rows += columns.rows(result)
        return ()

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]:
        kind = self._options.kind
        members: dict[str, Any] = {"schema": SCHEMA, "command": command, "status": status}
        if self._plan is not None:
            members["plan"] = vars(self._plan)
        elif kind is not None:
            members[kind.name] = self._rows_text(kind)
        if self._checked is not None:
            members["check"] = self._checked._asdict()
        if self._lines:
            members["lines"] = self._lines
        members["errors"] = [{"status": int(one.status), "message": one.message, "hint": one.hint or None} for one in problems]
        yield "{"
        for place, (name, value) in enumerate(members.items(), 1):
            comma = "," if place < len(members) else ""
            if isinstance(value, Iterator):
                yield f'  "{name}": ['
                yield from value
                yield f"  ]{comma}"
            else:
                yield f'  "{name}": {_indented(value, 2)}{comma}'
        yield "}"

    def _rows_text(self, kind: RowKind) -> Iterator[str] | list[Any]:
        """The text of each row, one at a time."""
        rows = self._options.selected(columns.latest(self._rows) if kind is INSTANCES else self._rows)
        if not rows:
            return []
        shown = [(f'      "{column.name}": ', column.read) for column in self._options.columns or kind.columns]
        last = len(rows) - 1
        return (
            "    {\n"
            + ",\n".join([name + _indented(read(row), 6) for name, read in shown])
            + ("\n    }" if place == last else "\n    },")
            for place, row in enumerate(rows)
        )


def _indented(value: Any, indent: int) -> str:
    """The value's JSON, in ASCII whatever the locale: cron's is C."""
    if value is None:
        return "null"
    if isinstance(value, (list, tuple)) and value:
        inner = "\n" + " " * (indent + 2)
        return f"[{inner}{f',{inner}'.join([_indented(one, indent + 2) for one in value])}\n{' ' * indent}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    return json.dumps(value, indent=2).replace("\n", "\n" + " " * indent)
