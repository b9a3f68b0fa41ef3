"""An embedded cloud to ask, in-process or over HTTP, whose machines a test moves by hand; servers of files; the tiny image."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest

from stratuslab.errors import StratusLabError
from stratuslab.local.api.accounts import Accounts
from stratuslab.local.api.http_server import Urls, open_server
from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import EMBEDDED, PLAIN_3, SERVER_PROFILES
from stratuslab.local.images import download
from stratuslab.local.machines.simulated.simulated_driver import SimulatedDriver, SimulatedMachine
from stratuslab.local.store.instance_record import ADMINISTRATOR
from stratuslab.local.tiny.build_tiny import TinyImage, build
from stratuslab.ssh.user_keys import make_key_pair
from tests.harness import Stage, StoppedClock
from tests.local.file_server import Serving
from tests.local.guests import Booted, specified
from tests.servers import Answer, ScriptedServer

_FLAVOURS = {**SERVER_PROFILES, EMBEDDED.name: EMBEDDED, PLAIN_3.name: PLAIN_3}


class Caller:
    """Asks a staged cloud by XML-RPC, without HTTP, as a user of it (the administrator unless told)."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, method: str, *arguments: Any, user: str = "oneadmin", flavour: str = "local") -> Any:
        """The answer array, or the Fault that was answered."""
        body = xmlrpc.client.dumps((f"{user}:", *arguments), method).encode()
        return self.raw(body, user, flavour)

    def raw(self, body: bytes, user: str = "oneadmin", flavour: str = "local") -> Any:
        engine = self.stage.engine
        known = ADMINISTRATOR if user == "oneadmin" else engine.user(user)
        response = b"".join(answer(engine, lambda session: known, body, _FLAVOURS[flavour]))
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

        def start(users: dict[str, str] | None = None, flavour: str = "local", host: str = "127.0.0.1") -> Urls:
            accounts = Accounts(users or {"alice": "secret"})
            server = open_server(stage.engine, host, 0, accounts, _FLAVOURS[flavour])
            return running.enter_context(server.running())

        yield start


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Start servers that do as they are told; they end with the test."""
    with ExitStack() as running:

        def start(*script: Answer, tls: ssl.SSLContext | None = None) -> ScriptedServer:
            server = ScriptedServer(*script, tls=tls)
            running.callback(server.close)
            return server

        yield start


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads that failed are tried again at once."""
    monkeypatch.setattr(download, "PAUSE", 0.0)


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
def entry() -> bytes:
    """A Marketplace entry as a user writes it."""
    return b"""<?xml version="1.0" encoding="UTF-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/"
    xmlns:slreq="http://mp.stratuslab.eu/slreq#" xmlns:slterms="http://mp.stratuslab.eu/slterms#"
    xml:base="http://mp.stratuslab.eu/">
  <rdf:Description rdf:about="#GOaxJFdoEXvqAm9ArJgnZ0_ky6F">
    <dcterms:identifier>GOaxJFdoEXvqAm9ArJgnZ0_ky6F</dcterms:identifier>
    <slreq:bytes>5242880</slreq:bytes>
    <slreq:checksum rdf:parseType="Resource">
      <slreq:algorithm>SHA-1</slreq:algorithm>
      <slreq:value>639ac4915da045efa809bd02b2609d9d3f932e85</slreq:value>
    </slreq:checksum>
    <slreq:endorsement rdf:parseType="Resource">
      <dcterms:created>2026-11-22T10:00:00Z</dcterms:created>
      <slreq:endorser rdf:parseType="Resource">
        <slreq:email>alice@example.org</slreq:email>
        <slreq:subject>CN=Alice</slreq:subject>
        <slreq:issuer>CN=Alice</slreq:issuer>
      </slreq:endorser>
    </slreq:endorsement>
    <dcterms:type>base</dcterms:type>
    <slterms:os>custom</slterms:os>
    <dcterms:title>mine &amp; yours</dcterms:title>
    <dcterms:valid>2027-11-22T10:00:00Z</dcterms:valid>
  </rdf:Description>
</rdf:RDF>
"""


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
        machine = SimulatedDriver(port).make(specified(directory, **changes))
        machines.append(machine)
        return Booted(machine, directory, keys / "id_ed25519")

    yield start
    for machine in machines:
        machine.halt()


@pytest.fixture
def booted(boot: Callable[..., Booted]) -> Booted:
    return boot()
