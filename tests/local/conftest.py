"""An embedded cloud to ask, in-process or over HTTP, whose machines a test moves by hand; servers of files; the tiny image."""

from __future__ import annotations

import os
import re
import shutil
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from stratuslab.errors import StratusLabError
from stratuslab.local.api.methods import answer
from stratuslab.local.machines.simulated.simulated_machine import SimulatedMachine
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.local.tiny.build_tiny import TinyImage, build
from stratuslab.ssh.user_public_key import make_key_pair
from tests.fakes.served_cloud import PROFILES
from tests.fakes.staged_cloud import Stage
from tests.fakes.stopped_clock import StoppedClock
from tests.local.machines.simulated.booted_machine import Booted, specified


class Caller:
    """Asks a staged cloud by XML-RPC, without HTTP, as a user of it (the administrator unless told)."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, method: str, *arguments: Any, user: str = "oneadmin", profile: str = "local") -> Any:
        """The answer array, or the Fault that was answered."""
        body = xmlrpc.client.dumps((f"{user}:", *arguments), method).encode()
        return self.raw(body, user, profile)

    def raw(self, body: bytes, user: str = "oneadmin", profile: str = "local") -> Any:
        engine = self.stage.engine
        known = ADMINISTRATOR if user == "oneadmin" else engine.user(user)
        response = b"".join(answer(engine, lambda session: known, [body], PROFILES[profile]))
        try:
            return xmlrpc.client.loads(response)[0][0]
        except xmlrpc.client.Fault as fault:
            return fault


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def call(stage: Stage) -> Caller:
    return Caller(stage)


@pytest.fixture(scope="session")
def tiny(request: pytest.FixtureRequest) -> TinyImage:
    """The tiny image, built of real packages, for machines that QEMU boots. Without what that takes the test is skipped,
    but where $STRATUSLAB_TESTS_NEED_QEMU is set: there it fails."""
    lacking = [
        name for name in ("qemu-system-x86_64", "apt-get", "dpkg-deb", "ssh", "sftp", "ssh-keygen") if not shutil.which(name)
    ]
    if lacking:
        _lacks(f"there is no {lacking[0]}")
    cache = request.config.cache
    assert cache is not None
    try:
        return build(cache.mkdir("tiny-image"), os.environ, lambda what, part: None)
    except StratusLabError as error:
        if re.search(r"resolv|connect|fetch", error.message):
            _lacks(error.message)
        raise


def _lacks(what: str) -> NoReturn:
    if os.environ.get("STRATUSLAB_TESTS_NEED_QEMU"):
        pytest.fail(f"real machines cannot be tested: {what}")
    pytest.skip(f"real machines cannot be tested: {what}")


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Callable[..., Booted]]:
    machines: list[SimulatedMachine] = []

    def start(port: int = 0, **changes: object) -> Booted:
        directory = tmp_path / "machine"
        directory.mkdir(mode=0o700, exist_ok=True)
        keys = tmp_path / "keys"
        if not keys.exists():
            make_key_pair(keys)
        changes = {"authorized_keys": (keys / "id_ed25519.pub").read_text(), "addresses": ("127.0.0.1",), **changes}
        machine = SimulatedMachine(specified(directory, **changes), port)
        machines.append(machine)
        return Booted(machine, directory, keys / "id_ed25519")

    yield start
    for machine in machines:
        machine.halt()


@pytest.fixture
def booted(boot: Callable[..., Booted]) -> Booted:
    return boot()
