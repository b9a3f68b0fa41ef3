"""Fuzzes the package: ``python -m tests.fuzz.run_fuzz --inputs 1000000 --seed 1``.

With atheris (``pip install atheris``) inputs are led by the lines that they reach, else they are mutated at random. Each
target runs in a process of its own. An input fails if it raises, takes more than a second of CPU, or needs too much memory;
it is printed, and belongs into ``FOUND`` in ``fuzz_targets``.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

SECONDS = 1.0
"""CPU that one input may take."""

MEMORY = 600
"""MiB that a target's process may take for all its inputs."""

LONGEST = 2048


class TooLong(BaseException):
    """An input that takes too much time."""


def timed(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The target, which fails where it is when its time is over."""

    def late(number: int, frame: object) -> None:
        raise TooLong(f"more than {SECONDS:g} s of CPU")

    def run(data: bytes) -> None:
        before = signal.signal(signal.SIGPROF, late)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            target(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    return run


def mutations(begin: list[bytes], inputs: int, seed: int) -> Iterator[bytes]:
    """The inputs to begin with, and then mutated ones, the same for the same seed."""
    yield from begin[:inputs]
    chance = random.Random(seed)
    known = list(begin)
    for number in range(max(inputs - len(begin), 0)):
        data = bytearray(chance.choice(known))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(6):
                case 0:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    data[at:at] = chance.randbytes(chance.choice((1, 2, 8, 64)))
                case 2:
                    del data[at : at + chance.choice((1, 2, 16))]
                case 3:
                    data[at:at] = data[at : at + 32] * chance.choice((1, 2, 8))
                case 4:
                    data[at:at] = chance.choice(known)[: chance.choice((4, 32, 256))]
                case _:
                    data[at:at] = chance.choice(
                        (b"\0", b"\xff", b"<", b"&", b'"', b"\\", b"\n", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"$(")
                    )
        del data[LONGEST:]
        if number % 8 == 0 and len(known) < 500:
            known.append(bytes(data))
        yield bytes(data)


def _one(name: str, inputs: int, seed: int, led: bool) -> None:
    """Run a target in this process."""
    if not led:
        from tests.fuzz.fuzz_targets import TARGETS, seeds

        run = timed(TARGETS[name][0])
        for data in mutations(seeds(name), inputs, seed):
            try:
                run(data)
            except BaseException:
                print(f"input: {data!r}", file=sys.stderr)
                raise
        return
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with atheris.instrument_imports(include=["stratuslab"]):
        from tests.fuzz.fuzz_targets import TARGETS, seeds

    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(seeds(name)):
            Path(corpus, str(number)).write_bytes(data)
        options = [f"-runs={inputs}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=20", f"-rss_limit_mb={MEMORY * 2}"]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", corpus], timed(TARGETS[name][0]))
        atheris.Fuzz()


def main() -> int:
    """Run the targets one after another and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many altogether")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", help="this one alone, in this process")
    parser.add_argument("--only", help="only these, separated by commas")
    parser.add_argument("--led", action=argparse.BooleanOptionalAction, default=find_spec("atheris") is not None)
    options = parser.parse_args()
    if options.target:
        with contextlib.suppress(KeyboardInterrupt):
            _one(options.target, options.inputs, options.seed, options.led)
        return 0
    from tests.fuzz.fuzz_targets import TARGETS

    chosen = {name: share for name, (_, share) in TARGETS.items() if not options.only or name in options.only.split(",")}
    total, failed = 0, []
    for name, share in chosen.items():
        inputs = options.inputs * share // sum(chosen.values())
        begin = time.monotonic()
        words = ["--target", name, "--inputs", str(inputs), "--seed", str(options.seed), "--led" if options.led else "--no-led"]
        done = subprocess.run([sys.executable, "-m", "tests.fuzz.run_fuzz", *words], capture_output=True, check=False)
        said = done.stderr.decode(errors="replace")
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        if done.returncode or memory > MEMORY:
            failed.append(name)
            print(said[-6000:])
        elif options.led:
            found = re.search(r"stat::number_of_executed_units: *(\d+)", said)
            inputs = int(found[1]) if found else inputs
        total += 0 if done.returncode else inputs
        state = "failed" if name in failed else "ok"
        seconds = time.monotonic() - begin
        print(f"{name:15} {inputs:8} inputs {seconds:7.0f} s  largest process so far {memory} MiB  {state}", flush=True)
    how = "led by coverage" if options.led else "mutated at random"
    print(f"{total} inputs, {len(failed)} targets failed, {how}, seed {options.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
