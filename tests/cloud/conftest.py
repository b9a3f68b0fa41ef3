"""Servers for the client, and certificates for them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.fakes.scripted_server import Answer, ScriptedServer


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted servers that end with the test."""
    running: list[ScriptedServer] = []

    def start(*script: Answer, tls: ssl.SSLContext | None = None) -> ScriptedServer:
        running.append(ScriptedServer(*script, tls=tls))
        return running[-1]

    yield start
    for server in running:
        server.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and its own certificate in a file."""

    ca: trustme.CA
    bundle: Path

    def server(self, *names: str, **options: object) -> ssl.SSLContext:
        """TLS for a server of these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names, **options).configure_cert(context)  # type: ignore[arg-type]
        return context

    def client(self, directory: Path, name: str) -> tuple[Path, Path]:
        """The files of a client certificate and its key."""
        issued = self.ca.issue_cert(f"{name}@example.org", common_name=name)
        certificate, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


def new_authority(directory: Path) -> Authority:
    ca = trustme.CA()
    bundle = directory / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    return Authority(ca, bundle)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the user trusts."""
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody trusts."""
    return new_authority(tmp_path_factory.mktemp("stranger"))
