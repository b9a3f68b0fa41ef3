"""A home directory, and an SSH server that lets its key pair in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.paramiko_server import ParamikoServer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of its own, with no SSH agent."""
    directory = tmp_path / "home"
    (directory / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return directory


@pytest.fixture
def server(home: Path) -> Iterator[ParamikoServer]:
    """A server that lets in the key pair ``home/.ssh/id_ed25519``."""
    from stratuslab.ssh.user_public_key import make_key_pair

    public = make_key_pair(home / ".ssh")
    running = ParamikoServer(public.read_text())
    yield running
    running.stop()
