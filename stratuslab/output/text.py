"""Answers as text, in the layout of the StratusLab user guide, to the byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stratuslab.answers import Answer, InstanceRow, InstanceTable, LaunchBegins, Launched, LaunchEnds, Line, TypeList
from stratuslab.output.safety import one_line, width, word

# Title and least width of each column of the guide's table; the last column is as long as it is.
_COLUMNS = (("id", 4), ("state", 10), ("vcpu", 5), ("memory", 10), ("cpu%", 5), ("host/ip", 24), ("name", 4))
_CLOUD = ("cloud", 6)  # the first column, where several clouds are asked


def lines(answer: Answer, *, quiet: bool = False, notes: bool = False) -> Iterator[str]:
    """The lines of an answer. ``quiet`` is the form for scripts, ``notes`` adds a line below instances that failed or wait."""
    match answer:
        case Line(text):
            yield text
        case TypeList(types, selected):
            yield _type_line(" ", "Type", "CPU", "RAM", "SWAP")
            for kind in types:
                mark = "*" if kind.name == selected else " "
                yield _type_line(mark, kind.name, f"{kind.cpu} CPU", f"{kind.ram} MB", f"{kind.swap} MB")
        case Launched() if quiet:
            yield f"{answer.id}, {answer.address}"
        case Launched(place, number, network, address):
            yield f" :: Machine {place} (vm ID: {number})"
            yield f"     {one_line(network).title()} ip: {word(address)}"
        case LaunchBegins(count) if not quiet:
            yield from banner("Starting machine(s)")
            yield f" :: Starting {count} machine{'s' if count > 1 else ''}"
        case LaunchEnds() if not quiet:
            yield " :: Done!"
        case InstanceTable(rows):
            yield from _table(rows, notes)


def banner(title: str) -> list[str]:
    """The guide's box of colons around a title."""
    bar = " " + ":" * (len(title) + 6)
    return [bar, f" :: {title} ::", bar]


def _type_line(mark: str, name: str, cpu: str, ram: str, swap: str) -> str:
    shown = one_line(name)
    return f"{mark} {shown}{' ' * (10 - width(shown))} {cpu:>10} {ram:>10} {swap:>10}"


def _table(rows: Sequence[InstanceRow], notes: bool) -> Iterator[str]:
    columns = [_CLOUD, *_COLUMNS] if any(row.cloud for row in rows) else _COLUMNS
    cells = [_cells(row)[-len(columns) :] for row in rows]
    widths = [_width(least, [row[column] for row in cells]) for column, (_, least) in enumerate(columns)]
    yield _joined([title for title, _ in columns], widths)
    for row, values in zip(rows, cells, strict=True):
        yield _joined(values, widths)
        if notes and row.note:
            yield " " * widths[0] + one_line(row.note)


def _cells(row: InstanceRow) -> list[str]:
    return [
        word(row.cloud),
        str(row.id),
        row.state,
        "-" if row.vcpu is None else str(row.vcpu),
        str(row.memory_kib),
        f"{row.cpu_percent:.0f}",
        word(",".join(row.places)),
        word(row.name),
    ]


def _width(least: int, values: Sequence[str]) -> int:
    longest = max(map(width, values), default=0)
    return longest + 1 if longest >= least else least


def _joined(values: Sequence[str], widths: Sequence[int]) -> str:
    padded = [value + " " * (room - width(value)) for value, room in zip(values[:-1], widths[:-1], strict=True)]
    return "".join(padded) + values[-1]
