"""A machine of a cloud that is a real OpenSSH server."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from stratuslab.ssh.user_public_key import make_key_pair
from tests.fakes import sshd
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX, Shell

SCRIPT = "stratus-connect-instance"


@dataclass
class Machine:
    """Instance 1 of alice's cloud, which is the server; its user is the one of this process."""

    shell: Shell
    server: sshd.Sshd
    stage: Stage

    def options(self, client: str) -> list[str]:
        return ["-l", self.server.user, "--ssh-client", client]

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, str(CHECKOUT / "bin" / SCRIPT), *arguments]

    def environment(self) -> dict[str, str]:
        return {**self.shell.environment(), "PYTHONPATH": str(CHECKOUT), "TERM": "xterm"}

    def person(self, *arguments: str) -> pexpect.spawn:
        """The command in a shell at a terminal, which says at the end its status, and whether the terminal is as before."""
        line = " ".join(self.argv(*arguments))
        # Of the shell's own Ctrl-C nothing follows but the next command.
        script = f"trap : INT; before=$(stty -g); {line}; echo status $?; [ $before = $(stty -g) ] && echo same"
        environ = {**self.environment(), "PATH": os.environ["PATH"]}
        return pexpect.spawn("/bin/sh", ["-mc", script], timeout=20, env=environ, encoding="utf-8", dimensions=(31, 97))

    def known_hosts(self) -> str:
        return (self.shell.home / ".stratuslab" / "known_hosts").read_text()


@pytest.fixture
def machine(alice: Shell, stage: Stage, tmp_path: Path) -> Iterator[Machine]:
    (alice.home / ".ssh" / "id_ed25519.pub").unlink()
    (alice.home / ".ssh").chmod(0o700)
    public = make_key_pair(alice.home / ".ssh")
    server = sshd.Sshd(tmp_path / "server", public.read_text())
    assert alice("run", "--vm-name", "worker", TTYLINUX).status == 0
    stage.runs(1)
    stage.engine.machine_listens(1, "127.0.0.1", server.port)
    yield Machine(alice, server, stage)
    server.stop()


@pytest.fixture
def own(alice: Shell, tmp_path: Path, entry: bytes) -> Shell:
    """Alice, with a Marketplace that has entries of her own, one of which has expired and one is deprecated."""
    changed = entry.replace(
        b"<slterms:os>custom</slterms:os>", b"<slterms:os>Debian</slterms:os><slterms:os-version>12.5</slterms:os-version>"
    )
    changed = changed.replace(b"</dcterms:title>", "é</dcterms:title><dcterms:alternative>base</dcterms:alternative>".encode())
    expired = entry.replace(b"alice@", b"bob@").replace(b"2027-11", b"2026-11").replace(b"2026-11-22", b"2021-11-22")
    deprecated = entry.replace(b"alice@", b"carol@").replace(
        b"<slterms:os>", b"<slterms:deprecated>old</slterms:deprecated><slterms:os>"
    )
    alice.environ["STRATUSLAB_LOCAL_DIR"] = str(tmp_path / "cloud")
    for number, one in enumerate((changed, expired, deprecated)):
        (tmp_path / f"{number}.xml").write_bytes(one)
        assert alice("local_cloud", "add-entry", str(tmp_path / f"{number}.xml")).status == 0
    return alice
