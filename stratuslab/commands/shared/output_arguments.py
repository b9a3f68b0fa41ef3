"""The options that say how a command shows its results."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from stratuslab.environment import Environment, is_terminal
from stratuslab.errors import UsageError
from stratuslab.output.terminal import Terminal
from stratuslab.suggestion import did_you_mean, join_hints

if TYPE_CHECKING:
    from stratuslab.output.output_options import Filter, OutputOptions
    from stratuslab.output.result_columns import Column, RowKind

_FORMATS = ("table", "json", "csv", "spreadsheet", "ids")

_CONDITION = r"(?s)([^=~<>!]+)(!=|[=~<>])(.*)"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that shows rows."""
    add = parser.add_argument_group("output format").add_argument
    add(
        "--format",
        choices=_FORMATS,
        default=_FORMATS[0],
        metavar="FORM",
        help=f"form of the answer: {', '.join(_FORMATS)} (default table)",
    )
    add("--columns", metavar="A,B,...", help="columns to show, in this order")
    add("--sort", metavar="COL", help="sort by this column; descending with --sort=-COL")
    add("--filter", action="append", metavar="TEST", help="show only rows with COL=VALUE, COL!=VALUE, COL~REGEX, COL>N or COL<N")
    add("--no-header", action="store_true", help="do not print the columns' titles")
    add("--color", choices=("auto", "always", "never"), default="auto", help="show failed machines in red")
    add("--wide", action="store_true", help="do not cut lines at the terminal's width")


def output_options(options: argparse.Namespace, kind: RowKind, environment: Environment) -> OutputOptions:
    """What these options ask for. Raises UsageError; for an unknown column it lists the known ones."""
    order: str = options.sort or ""
    terminal = Terminal.of(environment.stdout, environment.environ)
    from stratuslab.output.output_options import OutputOptions

    return OutputOptions(
        kind,
        format=options.format,
        columns=[]
        if options.columns is None
        else [_column(kind, name.strip(), "--columns") for name in options.columns.split(",")],
        sort=_column(kind, order.removeprefix("-"), "--sort") if order else None,
        descending=order.startswith("-"),
        filters=[condition(kind, text) for text in options.filter],
        header=not options.no_header,
        width=None if options.wide else terminal.edge,
        color=_color(options.color, environment),
        terminal=terminal,
    )


def _color(when: str, environment: Environment) -> bool:
    """Colour where a person looks, unless it is not wanted (https://no-color.org)."""
    environ = environment.environ
    wanted = is_terminal(environment.stdout) and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
    return wanted if when == "auto" else when == "always"


def _column(kind: RowKind, name: str, option: str) -> Column:
    found = kind.find(name)
    if found is None:
        names = [column.name for column in kind.columns]
        there = f"available: {', '.join(names)}"
        titles = [column.title for column in kind.columns if column.title]
        raise UsageError(f'{option}: unknown column "{name}"', join_hints(did_you_mean(name, [*names, *titles]), there))
    return found


def condition(kind: RowKind, text: str) -> Filter:
    """The condition of a --filter. Raises UsageError."""
    parts = re.fullmatch(_CONDITION, text)
    if parts is None:
        raise UsageError(
            f'--filter: invalid condition "{text}"',
            "expected COL=VALUE, COL!=VALUE, COL~REGEX, COL>N or COL<N, in quotes for the shell",
        )
    column, operator, operand = _column(kind, parts[1].strip(), "--filter"), parts[2], parts[3].strip()
    if operator == "~":
        try:
            re.compile(operand)
        except re.error as error:
            raise UsageError(f'--filter: invalid regular expression "{operand}": {error}') from None
    elif column.numeric and (operand or operator in "<>"):
        operand = _in_unit_of(column, operand)
        try:
            float(operand)
        except ValueError:
            raise UsageError(f'--filter: invalid value "{operand}": the column "{column.name}" contains numbers') from None
    elif column.yes_or_no:
        word = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}.get(operand.lower())
        if word is None:
            raise UsageError(f'--filter: invalid value "{operand}": the column "{column.name}" contains yes or no')
        operand = word
    elif column.time and operand:
        operand = _time(column, operand)
    elif column.name == "state" and operand and operator in ("=", "!="):
        _check_state(operand)
    from stratuslab.output.output_options import Filter

    return Filter(column, operator, operand)


_UNITS = {"_bytes": 1, "_kib": 1 << 10, "_mib": 1 << 20}  # bytes, by the end of a column's name


def _in_unit_of(column: Column, operand: str) -> str:
    """A size with a unit, such as 100M, in the unit of the column; anything else as it is."""
    from stratuslab.byte_sizes import read_size

    unit = next((unit for end, unit in _UNITS.items() if column.name.endswith(end)), 0)
    size = read_size(operand) if unit else None
    return operand if size is None else str(size / unit)


def _time(column: Column, text: str) -> str:
    """The time in the column's format (RFC 3339, UTC); without an offset it counts as UTC."""
    from datetime import datetime, timezone

    try:
        time = datetime.fromisoformat(re.sub(r"[zZ]\Z", "+00:00", text))
        time = (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise UsageError(
            f'--filter: invalid value "{text}": the column "{column.name}" contains times',
            "use a time such as 2026-11-22 or 2026-11-22T10:30:00Z",
        ) from None
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _check_state(text: str) -> None:
    from stratuslab.opennebula.states import Lcm, State

    known = {state.name.title() for state in (*State, *Lcm)}
    if text.title() not in known and not re.fullmatch(r"(State|Lcm_State)_-?\d+", text, re.IGNORECASE):
        raise UsageError(f'--filter: unknown state "{text}"', join_hints(did_you_mean(text.title(), known), "such as Running"))
