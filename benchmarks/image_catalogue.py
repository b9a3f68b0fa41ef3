"""Rows about searching a Marketplace with 50,000 entries, beside curl and xmllint, which only check that it is well-formed."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from measuring import Bench, Program, Row, compared, cpu_compared, memory

from stratuslab.marketplace.identifier import identifier_from_sha1
from stratuslab.marketplace.metadata import Metadata
from stratuslab.marketplace.metadata_writer import written

SIZE = 50_000
PEER = "curl and xmllint"
_FIRST_LINES = 12


def rows(bench: Bench) -> Iterator[Row]:
    with _marketplace(bench.directory / "marketplace") as endpoint:
        environ = {"HOME": str(bench.directory), "PATH": "/usr/bin:/bin"}
        curl = Program(["sh", "-c", f"curl -s {endpoint}/metadata | xmllint --stream --noout -"], environ)
        has_peer = shutil.which("curl") and shutil.which("xmllint")

        def search(*options: str) -> Program:
            return bench.command("search-image", *options, STRATUSLAB_MARKETPLACE_ENDPOINT=endpoint)

        for options in ([], ["--format", "json"]):
            work = " ".join([f"search {SIZE:,} images", *options])
            program = search("--no-cache", *options)
            if has_peer:
                first, peers = bench.samples(_beginning(program), curl)
                yield compared(f"{work}: first row", first, PEER, peers, 1.5)
            (ours,) = bench.samples(program)
            yield memory(f"{work}: memory", ours, 60)
        once, again = bench.samples(search("--no-cache", "4711"), search("4711"))
        yield cpu_compared(f"search {SIZE:,} images again", again, "without a cache", once, 0.25)


def _beginning(program: Program) -> Program:
    """The program until its first lines are there."""
    return Program(["sh", "-c", f"{shlex.join(program.words)} | head -n {_FIRST_LINES}"], program.environ)


@contextmanager
def _marketplace(directory: Path) -> Iterator[str]:
    """The endpoint of a Marketplace that has a catalogue with a date, and nothing else."""
    directory.mkdir()
    with (directory / "metadata").open("w", encoding="utf-8") as file:
        file.write("<metadata>")
        for number in range(SIZE):
            file.write(_entry(number))
        file.write("</metadata>")
    words = [sys.executable, "-um", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(directory)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"port (\d+)", process.stdout.readline())
            assert found
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.kill()


def _entry(number: int) -> str:
    digits = hashlib.sha1(b"%d" % number).hexdigest()
    return written(
        Metadata(
            identifier_from_sha1(digits),
            bytes=1 << 30,
            checksums={"SHA-1": digits, "SHA-256": digits + digits[:24]},
            title=f"image {number}",
            description=f"a small system with all that is needed to begin with, number {number}",
            created=datetime(2026, 1, 1, tzinfo=timezone.utc),
            valid=datetime(2099, 1, 1, tzinfo=timezone.utc),
            os="debian",
            os_version=f"12.{number % 9}",
            os_arch="x86_64",
            version="1.0",
            locations=(f"https://images.example.org/{number}.img.gz",),
            email=f"endorser{number % 50}@example.org",
        )
    )
