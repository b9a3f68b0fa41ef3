"""Shells for commands, and clouds for them to talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Shell, Stage
from tests.served import Served


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A user with a home directory, a public key and nothing configured: commands use the embedded cloud in-process."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519.pub").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q user@example.org\n"
    )
    return Shell(home)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An embedded cloud whose machines the test moves by hand."""
    return Stage(tmp_path / "stage")


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Serve an engine over HTTP on a free port of the loopback interface."""
    running: list[Served] = []

    def start(stage: Stage, **options: Any) -> Served:
        running.append(Served(stage.engine, **options))
        return running[-1]

    yield start
    for served in running:
        served.close()


@pytest.fixture
def alice(shell: Shell, stage: Stage, serve: Callable[..., Served]) -> Shell:
    """A user whose environment names a cloud that is served over HTTP, and its Marketplace."""
    served = serve(stage, users={"alice": "secret"})
    shell.environ.update(
        STRATUSLAB_ENDPOINT=served.url,
        STRATUSLAB_USERNAME="alice",
        STRATUSLAB_PASSWORD="secret",
        STRATUSLAB_MARKETPLACE_ENDPOINT=served.marketplace,
    )
    return shell
