"""Results as one JSON document for each run of a command; docs/results.schema.json says what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

from stratuslab.output import result_columns
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.result_columns import INSTANCES, RowKind
from stratuslab.results import CloudCheck, LaunchPlan, Problem, Result, TextLine

SCHEMA = 1
"""Grows when a member changes its meaning or goes; new members may come at any time."""


class JsonFormatter:
    """Collects all results, and writes them with the errors at the end. Of a kind whose rows are streamed only those of one
    result are kept: they are written at once, and what a run came to follows them."""

    def __init__(self, options: OutputOptions) -> None:
        self._options = options
        self._rows: list[Any] = []
        self._members: dict[str, Any] = {}  # what results without rows say
        self._written = ""  # the last of the rows that are streamed: a comma may follow it

    def show(self, result: Result) -> Iterable[str]:
        match result:
            case LaunchPlan():
                self._members["plan"] = vars(result)
            case CloudCheck():
                self._members["check"] = result._asdict()
            case TextLine(line):
                self._members.setdefault("lines", []).append(line)
        self._rows += result_columns.rows(result)
        kind = self._options.kind
        return self._streamed(kind) if kind is not None and kind.streamed and not self._options.sort else ()

    def _streamed(self, kind: RowKind) -> Iterator[str]:
        for text in self._row_texts(kind):
            if self._written:
                yield f"{self._written},"
            else:
                yield from ("{", f'  "schema": {SCHEMA},', f'  "{kind.name}": [')
            self._written = text

    def end(self, command: str, status: int, problems: Sequence[Problem]) -> Iterable[str]:
        kind = self._options.kind
        members: dict[str, Any] = {"command": command, "status": status}
        if self._written:
            yield from (self._written, "  ],")
        else:
            members = {"schema": SCHEMA, **members}
            yield "{"
        if kind is not None and not self._written and "plan" not in self._members:
            texts = self._row_texts(kind)
            first = next(texts, "")
            members[kind.name] = _separated(first, texts) if first else []
        members |= self._members
        members["errors"] = [{"status": int(one.status), "message": one.message, "hint": one.hint or None} for one in problems]
        for place, (name, value) in enumerate(members.items(), 1):
            comma = "," if place < len(members) else ""
            if isinstance(value, Iterator):
                yield f'  "{name}": ['
                yield from value
                yield f"  ]{comma}"
            else:
                yield f'  "{name}": {_indented(value, 2)}{comma}'
        yield "}"

    def _row_texts(self, kind: RowKind) -> Iterator[str]:
        """The text of each row that was collected, one at a time."""
        rows = self._options.selected(result_columns.latest(self._rows) if kind is INSTANCES else self._rows)
        self._rows = []
        shown = [(f'      "{column.name}": ', column.read) for column in self._options.columns or kind.columns]
        for row in rows:
            yield "    {\n" + ",\n".join([name + _indented(read(row), 6) for name, read in shown]) + "\n    }"


def _separated(text: str, others: Iterator[str]) -> Iterator[str]:
    for other in others:
        yield f"{text},"
        text = other
    yield text


def _indented(value: Any, indent: int) -> str:
    """The value's JSON, in ASCII whatever the locale: cron's is C."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring_ascii(value)  # as json.dumps() does, at half the cost
    if isinstance(value, (list, tuple)) and value:
        inner = "\n" + " " * (indent + 2)
        return f"[{inner}{f',{inner}'.join([_indented(one, indent + 2) for one in value])}\n{' ' * indent}]"
    if isinstance(value, bool) or not isinstance(value, (int, dict)):
        return json.dumps(value)
    if isinstance(value, int):
        return int.__repr__(value)
    return json.dumps(value, indent=2).replace("\n", "\n" + " " * indent)
