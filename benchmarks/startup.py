"""Rows about start-up, in instructions where valgrind is there: the same on a busy computer. Else by time on processors."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial

from measuring import Bench, Program, Row, cpu_compared

ARGPARSE = 'python -c "import argparse"'
BARE_CALL = "a bare script with xmlrpc.client"


def rows(bench: Bench) -> Iterator[Row]:
    compared = _counted if shutil.which("valgrind") else partial(_timed, bench)
    with bench.server("--machines", "1") as endpoint:
        nothing = bench.python("-c", "import argparse")
        bare = bench.peer("bare_call.py", endpoint, "0")
        for command, word in (("describe-instance", "--help"), ("run-instance", "--list-types")):
            yield compared(f"{command} {word}", bench.command(command, word, endpoint=endpoint), ARGPARSE, nothing, 2.0)
        for command, *words in (("describe-instance", "-n", "0"), ("describe-instance", "-n"), ("kill-instance", "0")):
            program = bench.command(command, *words, endpoint=endpoint)
            yield compared(" ".join((command, *words)), program, BARE_CALL, bare, 1.3)
            if words == ["-n", "0"]:
                yield _timed(bench, f"{command} -n 0", program, BARE_CALL, bare, 1.3)
        # The embedded cloud reads and writes its store in the same process.
        yield compared("describe-instance, embedded cloud", bench.command("describe-instance", "-n", "-q"), BARE_CALL, bare, None)


def _counted(work: str, program: Program, peer: str, other: Program, limit: float | None) -> Row:
    figure, peer_figure = _instructions(program), _instructions(other)
    return Row(work, figure, "million instructions", limit, peer, peer_figure, [figure / peer_figure], program)


def _instructions(program: Program) -> float:
    """Millions of instructions, by callgrind; a first run compiles the modules."""
    program.run()
    words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *program.words]
    done = subprocess.run(words, env=program.environ, cwd=program.environ["HOME"], capture_output=True, text=True, check=True)
    counted = re.search(r"Collected : (\d+)", done.stderr)
    assert counted is not None, done.stderr
    return int(counted[1]) / 1e6


def _timed(bench: Bench, work: str, program: Program, peer: str, other: Program, limit: float | None) -> Row:
    ours, peers = bench.samples(program, other)
    return cpu_compared(work, ours, peer, peers, limit, program)
