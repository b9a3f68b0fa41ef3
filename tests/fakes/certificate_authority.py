"""A certificate authority, and what it issues for servers and clients."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """An authority; ``bundle`` is the file with its own certificate, for those who trust it."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        self.bundle = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.bundle))

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
