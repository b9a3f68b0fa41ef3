"""A TLS front for a served cloud, as sites put before OpenNebula and as StratusLab's proxy is.

It ends TLS, and where a client certificate is asked for, ``/cert/xmlrpc`` leads to the cloud as the user whom the certificate
names; other paths are passed on as they are.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme


class TlsFront:
    """A running front; ``url`` is its base, ``ca`` the file of the authority that signed it."""

    def __init__(self, cloud: str, directory: Path, users: dict[str, str] | None = None) -> None:
        self.authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(urlsplit(cloud).netloc, users or {}))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def client_certificate(self, name: str, directory: Path) -> tuple[Path, Path]:
        """Files with a certificate for a user, and its key."""
        certificate, key = directory / f"{name}-cert.pem", directory / f"{name}-key.pem"
        issued = self.authority.issue_cert(f"{name}@example.org", common_name=name)
        issued.cert_chain_pems[0].write_to_path(certificate)
        issued.private_key_pem.write_to_path(key)
        return certificate, key

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(cloud: str, users: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._pass_on("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            self._pass_on("GET", None)

        def _pass_on(self, method: str, body: bytes | None) -> None:
            headers = {name: self.headers[name] for name in ("Content-Type", "Authorization") if self.headers[name]}
            path = self.path
            if path == "/cert/xmlrpc":
                name = self._name_in_certificate()
                if name not in users:
                    self.send_error(401)
                    return
                path = "/pswd/xmlrpc"
                headers["Authorization"] = "Basic " + b64encode(f"{name}:{users[name]}".encode()).decode()
            onward = http.client.HTTPConnection(cloud, timeout=20)
            onward.request(method, path, body, headers)
            answer = onward.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _name_in_certificate(self) -> str:
            assert isinstance(self.connection, ssl.SSLSocket)
            certificate: Any = self.connection.getpeercert() or {}
            subject = dict(pair for part in certificate.get("subject", ()) for pair in part)
            return str(subject.get("commonName", ""))

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
