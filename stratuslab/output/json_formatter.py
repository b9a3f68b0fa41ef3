"""Answers as one JSON document for each run of a command; docs/answers.schema.json says what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from stratuslab.output import columns
from stratuslab.output.columns import INSTANCES
from stratuslab.output.output_options import Shape
from stratuslab.results import Answer, Checked, Line, Plan, Problem

SCHEMA = 1
"""Grows when a member changes its meaning or goes; new members may come at any time."""


class Json:
    """Collects all answers and writes them with the errors at the end."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._rows: list[Any] = []
        self._plan: Plan | None = None
        self._checked: Checked | None = None
        self._lines: list[str] = []

    def show(self, answer: Answer) -> Iterable[str]:
        match answer:
            case Plan():
                self._plan = answer
            case Checked():
                self._checked = answer
            case Line(line):
                self._lines.append(line)
        self._rows += columns.rows(answer)
        return ()

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]:
        kind = self._shape.kind
        document: dict[str, Any] = {"schema": SCHEMA, "command": command, "status": status}
        if self._plan is not None:
            document["plan"] = asdict(self._plan)
        elif kind is not None:
            rows = columns.latest(self._rows) if kind is INSTANCES else self._rows
            shown = self._shape.columns or kind.columns
            document[kind.name] = [{column.name: column.read(row) for column in shown} for row in self._shape.wanted(rows)]
        if self._checked is not None:
            document["check"] = asdict(self._checked)
        if self._lines:
            document["lines"] = self._lines
        document["errors"] = [{"status": int(one.status), "message": one.message, "hint": one.hint or None} for one in problems]
        # ASCII, whatever the locale: cron's is C.
        return [json.dumps(document, indent=2)]
