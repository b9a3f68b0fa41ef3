"""An embedded cloud to ask, in-process or over HTTP, whose machines a test moves by hand."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stratuslab.local.accounts import Accounts
from stratuslab.local.flavours import FLAVOURS
from stratuslab.local.methods import answer
from stratuslab.local.record import ADMINISTRATOR
from stratuslab.local.server import Urls, open_server
from tests.harness import Stage, StoppedClock


class Caller:
    """Asks a staged cloud by XML-RPC, without HTTP, as a user of it (the administrator unless told)."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, method: str, *arguments: Any, user: str = "oneadmin", flavour: str = "opennebula-7") -> Any:
        """The answer array, or the Fault that was answered."""
        body = xmlrpc.client.dumps((f"{user}:", *arguments), method).encode()
        return self.raw(body, user, flavour)

    def raw(self, body: bytes, user: str = "oneadmin", flavour: str = "opennebula-7") -> Any:
        engine = self.stage.engine
        known = ADMINISTRATOR if user == "oneadmin" else engine.user(user)
        response = b"".join(answer(engine, lambda session: known, body, FLAVOURS[flavour]))
        try:
            return xmlrpc.client.loads(response)[0][0]
        except xmlrpc.client.Fault as fault:
            return fault


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def stage(tmp_path: Path, clock: StoppedClock) -> Iterator[Stage]:
    stage = Stage(tmp_path / "cloud", clock)
    yield stage
    stage.engine.close()


@pytest.fixture
def call(stage: Stage) -> Caller:
    return Caller(stage)


@pytest.fixture
def serve(stage: Stage) -> Iterator[Callable[..., Urls]]:
    """Serve the staged cloud on a free loopback port."""
    with ExitStack() as running:

        def start(users: dict[str, str] | None = None, flavour: str = "opennebula-7", host: str = "127.0.0.1") -> Urls:
            accounts = Accounts(users or {"alice": "secret"})
            server = open_server(stage.engine, host, 0, accounts, FLAVOURS[flavour])
            return running.enter_context(server.running())

        yield start
