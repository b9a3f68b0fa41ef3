"""Results as one JSON document for each run of a command; docs/results.schema.json says what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from stratuslab.output import columns
from stratuslab.output.columns import INSTANCES
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
        document: dict[str, Any] = {"schema": SCHEMA, "command": command, "status": status}
        if self._plan is not None:
            document["plan"] = vars(self._plan)
        elif kind is not None:
            rows = columns.latest(self._rows) if kind is INSTANCES else self._rows
            shown = self._options.columns or kind.columns
            document[kind.name] = [{column.name: column.read(row) for column in shown} for row in self._options.selected(rows)]
        if self._checked is not None:
            document["check"] = self._checked._asdict()
        if self._lines:
            document["lines"] = self._lines
        document["errors"] = [{"status": int(one.status), "message": one.message, "hint": one.hint or None} for one in problems]
        # ASCII, whatever the locale: cron's is C.
        return [json.dumps(document, indent=2)]
