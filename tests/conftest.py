"""What tests of several rooms share: a user's shell, an embedded cloud, staged or served, and scripted servers."""

from __future__ import annotations

import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from stratuslab.cloud import client, instance_actions
from stratuslab.local.api.http_server import Urls
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE
from stratuslab.local.images import download
from tests.fakes.certificate_authority import Authority
from tests.fakes.scripted_opennebula import Clouds, ScriptedOpenNebula
from tests.fakes.scripted_server import Answer, Scripted, ScriptedServer
from tests.fakes.served_cloud import Serve, served_cloud
from tests.fakes.staged_cloud import Stage
from tests.harness import Shell

# The same examples each time, and no time limit for one: a busy computer must not make a test fail.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

# A shell ignores Ctrl-C's signal in what a script starts with "&", and nohup ignores SIGHUP: so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def own_addresses(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The clouds of each test lease addresses as if there were no others on this computer."""
    place = tmp_path_factory.getbasetemp() / "addresses" / sha1(request.node.nodeid.encode()).hexdigest()
    monkeypatch.setenv("STRATUSLAB_LOCAL_ADDRESSES", str(place))
    return place


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
def clock() -> Callable[[], float]:
    """The clock of the staged cloud."""
    return time.time


@pytest.fixture
def stage(tmp_path: Path, clock: Callable[[], float]) -> Iterator[Stage]:
    """An embedded cloud whose machines the test moves by hand."""
    stage = Stage(tmp_path / "cloud", clock)
    yield stage
    stage.engine.close()


@pytest.fixture
def serve(stage: Stage) -> Iterator[Serve]:
    """Serve the staged cloud, or another one, over HTTP on a free port of the loopback interface, like a server's version."""
    with ExitStack() as running:

        def start(
            users: dict[str, str] | None = None,
            profile: str = DEFAULT_PROFILE.name,
            *,
            host: str = "127.0.0.1",
            cloud: Stage = stage,
        ) -> Urls:
            return running.enter_context(served_cloud(cloud.engine, users or {"alice": "secret"}, profile, host))

        yield start


@pytest.fixture
def alice(shell: Shell, serve: Serve) -> Shell:
    """A user whose environment names a cloud that is served over HTTP, and its Marketplace."""
    urls = serve()
    shell.environ.update(
        STRATUSLAB_ENDPOINT=urls.rpc,
        STRATUSLAB_USERNAME="alice",
        STRATUSLAB_PASSWORD="secret",
        STRATUSLAB_MARKETPLACE_ENDPOINT=urls.marketplace,
    )
    return shell


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """Start scripted servers, which end with the test."""
    with ExitStack() as running:

        def start(*script: Answer, tls: ssl.SSLContext | None = None) -> ScriptedServer:
            server = ScriptedServer(*script, tls=tls)
            running.callback(server.close)
            return server

        yield start


@pytest.fixture
def opennebula() -> Iterator[Clouds]:
    """Start scripted OpenNebulas, which end with the test."""
    with ExitStack() as running:

        def start(version: str = "7.4.0", **options: Any) -> ScriptedOpenNebula:
            cloud = ScriptedOpenNebula(version, **options)
            running.callback(cloud.server.close)
            return cloud

        yield start


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the user trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads that failed are tried again at once."""
    monkeypatch.setattr(download, "PAUSE", 0.0)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of lost answers is decided within a second."""
    for module in (client, instance_actions):
        monkeypatch.setattr(module, "LOOKS", (0.02, 0.05, 0.1))
    monkeypatch.setattr(client, "_SETTLED", 0.5)


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
