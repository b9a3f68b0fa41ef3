"""Runs commands and their peers in turn, and gives what they cost as rows of a table."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).parents[1]
PEERS = CHECKOUT / "benchmarks" / "peers"


class Sample(NamedTuple):
    """What one run of a program cost: time, time on processors, and the peak of its memory."""

    seconds: float
    cpu: float
    megabytes: float


class Row(NamedTuple):
    """One line of the table: a figure and, where there is a peer, the ratio to it in each round.

    ``limit`` is what is to be reached: the ratio if there is a peer, else the figure itself; None for a row that only informs.
    ``profiled`` is the command to profile if it is not reached.
    """

    work: str
    figure: float
    unit: str = "ms"
    limit: float | None = None
    peer: str = ""
    peer_figure: float = 0.0
    ratios: Sequence[float] = ()
    profiled: Program | None = None

    @property
    def reached(self) -> bool:
        return self.limit is None or (statistics.median(self.ratios) if self.ratios else self.figure) <= self.limit


class Program(NamedTuple):
    """A command line and the variables of its environment that matter. Its output is not shown."""

    words: Sequence[str]
    environ: Mapping[str, str]

    def start(self, stdout: int) -> subprocess.Popen[str]:
        """Begin to run it, in its home directory: Python imports what is in the current one, which may be the checkout."""
        return subprocess.Popen(
            self.words,
            env=self.environ,
            cwd=self.environ["HOME"],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self) -> Sample:
        """Run it. Raises CalledProcessError if it fails."""
        begin = time.perf_counter()
        process = self.start(stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(self.words))
        return Sample(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


class Bench:
    """What all groups of rows need: a place for files, and programs to run. ``rounds`` is how often each is run; ``costs`` are
    milliseconds by program and size, for the plot."""

    def __init__(self, directory: Path, rounds: int) -> None:
        self.directory = directory
        self.rounds = rounds
        self.costs: dict[str, dict[int, float]] = {}

    def command(self, name: str, *arguments: str, endpoint: str = "", **environ: str) -> Program:
        """One of the package's commands, as it is installed; ``endpoint`` names its cloud."""
        return self.python(
            str(Path(sys.executable).with_name(f"stratus-{name}")), *arguments, STRATUSLAB_ENDPOINT=endpoint, **environ
        )

    def peer(self, script: str, *arguments: str) -> Program:
        return self.python(str(PEERS / script), *arguments)

    def python(self, *arguments: str, **environ: str) -> Program:
        variables = {
            "HOME": str(self.directory),
            "PATH": os.environ["PATH"],
            "STRATUSLAB_LOCAL_DIR": str(self.directory / "cloud"),
            "STRATUSLAB_USERNAME": "alice",
            "STRATUSLAB_PASSWORD": "secret",
        }
        return Program([sys.executable, *arguments], variables | {name: text for name, text in environ.items() if text})

    @contextmanager
    def server(self, *arguments: str) -> Iterator[str]:
        """The endpoint of a replay server (see replay_server.py for the arguments) while the block runs."""
        words = [sys.executable, str(CHECKOUT / "benchmarks" / "replay_server.py"), *arguments]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline().strip()
            finally:
                process.kill()

    def samples(self, *programs: Program) -> list[list[Sample]]:
        """What each program costs in each round: in turn, so that a slow moment hits all alike. A first round is not counted."""
        rounds = [[program.run() for program in programs] for _ in range(self.rounds + 1)][1:]
        return [list(of_one) for of_one in zip(*rounds, strict=True)]


def compared(
    work: str, samples: Sequence[Sample], peer: str, peers: Sequence[Sample], limit: float | None, program: Program | None = None
) -> Row:
    """The row of a command beside its peer, by time on the clock."""
    seconds, others = [one.seconds for one in samples], [one.seconds for one in peers]
    ratios = [one / other for one, other in zip(seconds, others, strict=True)]
    figure, peer_figure = statistics.median(seconds) * 1000, statistics.median(others) * 1000
    return Row(work, figure, "ms", limit, peer, peer_figure, ratios, program)


def cpu_compared(
    work: str, samples: Sequence[Sample], peer: str, peers: Sequence[Sample], limit: float | None, program: Program | None = None
) -> Row:
    """The same by time on processors, which says more on a busy machine where nothing waits for a server."""
    return compared(
        work,
        [one._replace(seconds=one.cpu) for one in samples],
        peer,
        [one._replace(seconds=one.cpu) for one in peers],
        limit,
        program,
    )._replace(unit="ms of CPU")


def memory(work: str, samples: Sequence[Sample], limit: float | None, peers: Sequence[Sample] = (), peer: str = "") -> Row:
    """The row of a command's memory; a peer's is only named."""
    figure = statistics.median(one.megabytes for one in samples)
    return Row(work, figure, "MB", limit, peer, statistics.median(one.megabytes for one in peers) if peers else 0.0)


Group = Callable[[Bench], Iterator[Row]]
"""A group of rows: a function in a module of its own, listed in run.py."""
