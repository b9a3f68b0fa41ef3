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
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.certificate_authority import Authority


class TlsFront:
    """A running front whose certificate an authority issued; ``url`` is its base."""

    def __init__(self, cloud: str, authority: Authority, users: dict[str, str] | None = None) -> None:
        context = authority.server("127.0.0.1")
        authority.ca.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(urlsplit(cloud).netloc, users or {}))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

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
