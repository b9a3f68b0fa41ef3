"""An embedded cloud served by its own command, whose machines are processes, for clients that other projects wrote."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness import CHECKOUT, Shell

USER, PASSWORD = "alice", "secret"


class ServedCloud(NamedTuple):
    """What ``stratus-local-cloud serve`` printed, and a shell that sees the same cloud from inside."""

    rpc: str
    marketplace: str
    shell: Shell


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedCloud]:
    shell = Shell(tmp_path)
    process = subprocess.Popen(
        [sys.executable, str(CHECKOUT / "bin" / "stratus-local-cloud"), "serve", "--port", "0", "--user", f"{USER}:{PASSWORD}"],
        stdout=subprocess.PIPE,
        env={**shell.environment(), "PYTHONPATH": str(CHECKOUT)},
        text=True,
    )
    watchdog = threading.Timer(110, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        urls = process.stdout.readline().split()
        yield ServedCloud(urls[0], next(url for url in urls if url.endswith("/marketplace")), shell)
    finally:
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=20)
        shell.script("stratus-local-cloud", "reset", "--yes")
