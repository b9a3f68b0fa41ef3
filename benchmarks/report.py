"""The rows as text, as the table of docs/performance.rst, and as a plot of cost against size."""

from __future__ import annotations

import os
import platform
import pstats
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measuring import CHECKOUT, Program, Row

PAGE = CHECKOUT / "docs" / "performance.rst"
PLOT = CHECKOUT / "docs" / "_static" / "performance.svg"
MARK = ".. What follows is written by: tox -e bench\n"
_PROFILED = 6  # functions of a profile


def line(row: Row) -> str:
    """A row on a terminal."""
    ratio = f"{_ratio(row)} of {row.peer_figure:.0f} ({row.peer})" if row.ratios else ""
    mark = " " if row.limit is None else "+" if row.reached else "-"
    return f"{mark} {row.work:52} {_figure(row):>14}  {ratio:40} {_limit(row)}"


def _figure(row: Row) -> str:
    return f"{row.figure:,.{0 if row.figure >= 10 else 1}f} {row.unit}"


def _ratio(row: Row) -> str:
    """The median ratio, and the least and the greatest."""
    return f"{statistics.median(row.ratios):.2f} ({min(row.ratios):.2f}-{max(row.ratios):.2f})"


def _limit(row: Row) -> str:
    return "" if row.limit is None else f"{row.limit:g}x" if row.ratios else f"{row.limit:g} {row.unit}"


def profile(program: Program, directory: Path) -> list[str]:
    """Where a command that costs too much spends its time: the functions that take longest themselves."""
    file = directory / "profile"
    interpreter, *words = program.words
    profiled = Program([interpreter, "-m", "cProfile", "-o", str(file), *words], program.environ)
    profiled.run()
    if not file.exists():
        return []
    stats = pstats.Stats(str(file))
    file.unlink()
    total: float = stats.total_tt  # type: ignore[attr-defined]
    found = sorted(stats.stats.items(), key=lambda item: -item[1][2])[:_PROFILED]  # type: ignore[attr-defined]
    return [f"{own / total:4.0%} {Path(where).name}:{name} ({calls:,} calls)" for (where, _, name), (_, calls, own, *_) in found]


def write(
    rows: Sequence[Row], profiles: Mapping[str, Sequence[str]], costs: Mapping[str, Mapping[int, float]], seconds: float
) -> None:
    """Replace what stands below the mark in docs/performance.rst, and the plot."""
    head = PAGE.read_text().partition(MARK)[0]
    text = [
        f"Measured on {time.strftime('%Y-%m-%d')} in {seconds / 60:.0f} minutes by ``tox -e bench``: {os.cpu_count()} processors "
        f"({_processor()}), load {os.getloadavg()[2]:.1f}, {platform.system()}, Python {platform.python_version()}.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 34 12 24 16 10 4",
        "",
        *_cells("what", "cost", "compared with", "ratio (range)", "to reach", ""),
    ]
    for row in rows:
        peer = f"{row.peer}: {row.peer_figure:,.0f} {row.unit}" if row.peer else ""
        mark = "" if row.limit is None else "yes" if row.reached else "no"
        text += _cells(row.work, _figure(row), peer, _ratio(row) if row.ratios else "", _limit(row), mark)
    for work, functions in profiles.items():
        if functions:
            text += [
                "",
                f"Where the time of *{work}* goes, by ``cProfile``::",
                "",
                *(f"    {function}" for function in functions),
            ]
    PAGE.write_text(head + MARK + "\n" + "\n".join(text) + "\n")
    if costs:
        plot(costs)


def _cells(first: str, *others: str) -> list[str]:
    return [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in others)]


def _processor() -> str:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return models[0].partition(": ")[2] if models else platform.machine()


def plot(costs: Mapping[str, Mapping[int, float]]) -> None:
    """Time against the number of machines, for each program."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "performance"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, by_size in costs.items():
        axes.loglog(list(by_size), list(by_size.values()), marker="o", label=name)
    axes.set_xlabel("machines in the listing")
    axes.set_ylabel("milliseconds")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})
