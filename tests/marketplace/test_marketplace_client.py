"""The Marketplace over real HTTP and HTTPS: what is asked, and what comes of every kind of answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stratuslab.errors import (
    AuthenticationError,
    ConfigurationError,
    ExitStatus,
    NotFound,
    PermissionDenied,
    StratusLabError,
    Unreachable,
    UsageError,
)
from stratuslab.marketplace.marketplace_client import Marketplace, normalise_endpoint

TTYLINUX = "BN1EEkPiBx87_uLj2-sdybSI-Xb"
OTHER = "MMZu9WvwKIro-rtBQfDk4PsKO7_"
TYPE = "application/rdf+xml"


def document(identifier: str = TTYLINUX) -> bytes:
    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/">'
        f"<rdf:Description><dcterms:identifier>{identifier}</dcterms:identifier>"
        "<dcterms:title>ttylinux</dcterms:title></rdf:Description></rdf:RDF>"
    ).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers.items())))
        self.close_connection = True
        self.server.answer(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send(self, status: int, body: bytes = b"", kind: str = TYPE, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


Answer = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.seen: list[tuple[str, dict[str, str]]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        # The client hangs up on what it does not like; that is what the tests are about.
        pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@dataclass
class Servers:
    running: list[Server] = field(default_factory=list)

    def __call__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> Server:
        server = Server(answer)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.running.append(server)
        return server


@pytest.fixture
def serve() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    for server in servers.running:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def good(handler: Handler) -> None:
    handler.send(200, document())


def test_one_request_and_its_headers(serve: Servers) -> None:
    server = serve(good)
    marketplace = Marketplace(server.url + "/", timeout=5)
    assert marketplace.url(TTYLINUX) == f"{server.url}/metadata/{TTYLINUX}"
    assert marketplace.find(TTYLINUX).title == "ttylinux"
    [(path, headers)] = server.seen
    assert path == f"/metadata/{TTYLINUX}"
    assert headers["Accept"] == "application/rdf+xml, application/xml;q=0.9"
    assert "Authorization" not in headers


def test_endpoint_below_a_path(serve: Servers) -> None:
    server = serve(good)
    Marketplace(f"{server.url}/marketplace//", timeout=5).find(TTYLINUX)
    assert server.seen[0][0] == f"/marketplace/metadata/{TTYLINUX}"


def test_trace_tells_the_exchange(serve: Servers) -> None:
    server, lines = serve(good), list[str]()
    Marketplace(server.url.replace("//", "//ann:s3cret@"), timeout=5, trace=lines.append).find(TTYLINUX)
    assert lines[0] == f"> GET {server.url}/metadata/{TTYLINUX}"
    assert lines[1] == "< 200 OK, application/rdf+xml"
    assert lines[2].startswith(f"< {len(document())} bytes in 0.")
    assert "s3cret" not in "".join(lines)


def test_user_and_password_are_sent_and_never_shown(serve: Servers) -> None:
    server = serve(lambda handler: handler.send(500))
    marketplace = Marketplace(server.url.replace("//", "//ann:s3%2Fcret@"), timeout=5)
    with pytest.raises(Unreachable) as caught:
        marketplace.find(TTYLINUX)
    assert server.seen[0][1]["Authorization"] == "Basic YW5uOnMzL2NyZXQ="
    assert "cret" not in str(caught.value) + marketplace.url(TTYLINUX) + marketplace.endpoint


def test_unknown_image(serve: Servers) -> None:
    server = serve(lambda handler: handler.send(404, b"<error>no entry</error>"))
    with pytest.raises(NotFound) as caught:
        Marketplace(server.url, timeout=5).find(TTYLINUX)
    assert caught.value.message == f"no image {TTYLINUX} in the Marketplace {server.url}"
    assert caught.value.status == ExitStatus.NOT_FOUND


def test_no_identifier_is_not_asked_for(serve: Servers) -> None:
    server = serve(good)
    with pytest.raises(UsageError):
        Marketplace(server.url, timeout=5).find("../../etc")
    assert server.seen == []


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")


def ten_gigabytes(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(10 << 30))
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 0x10000)


def endless_redirect(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/elsewhere")
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 0x10000)


def compressed_bomb(handler: Handler) -> None:
    import gzip

    handler.send(200, gzip.compress(bytes(20 << 20)), Content_Encoding="gzip")


def half(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(document())))
    handler.end_headers()
    handler.wfile.write(document()[:100])


def rubbish(handler: Handler) -> None:
    handler.wfile.write(b"220 mail.example.org ESMTP\r\n")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (endless, "larger than 4 MiB"),
        (ten_gigabytes, "larger than 4 MiB"),
        (compressed_bomb, "larger than 4 MiB"),
        (endless_redirect, "circles"),
        (half, "breaks off"),
        (rubbish, "no HTTP"),
        (lambda handler: None, "no HTTP"),
        (lambda handler: handler.send(500, b"<html>oops", "text/html"), "answered 500 Internal Server Error"),
        (lambda handler: handler.send(503), "answered 503"),
        (lambda handler: handler.send(204), "answered 204"),
        (lambda handler: handler.send(200, b"<!DOCTYPE html>\n<html><body>Welcome", "text/html"), "web page"),
        (lambda handler: handler.send(200, b"<html>portal", TYPE), "web page"),
        (lambda handler: handler.send(302, Location="/elsewhere"), "circles"),
        (lambda handler: handler.send(302, Location="file:///etc/passwd"), "not followed"),
        (lambda handler: handler.send(302, Location="local://marketplace/metadata/x"), "not followed"),
        (lambda handler: handler.send(302, Location="http://[broken"), "not followed"),
    ],
)
def test_what_answers_is_no_marketplace(serve: Servers, answer: Answer, why: str) -> None:
    started = time.monotonic()
    server = serve(answer)
    with pytest.raises(Unreachable) as caught:
        Marketplace(server.url, timeout=5).find(TTYLINUX)
    assert why in str(caught.value)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, PermissionDenied)])
def test_refused(serve: Servers, status: int, kind: type[StratusLabError]) -> None:
    with pytest.raises(kind):
        Marketplace(serve(lambda handler: handler.send(status)).url, timeout=5).find(TTYLINUX)


@pytest.mark.parametrize("body", [document()[:100], b"", document(OTHER), b"<error>x</error>"])
def test_the_document_is_none_of_this_image(serve: Servers, body: bytes) -> None:
    server = serve(lambda handler: handler.send(200, body))
    with pytest.raises(StratusLabError) as caught:
        Marketplace(server.url, timeout=5).find(TTYLINUX)
    assert caught.value.message.startswith(f"the Marketplace {server.url} has no usable metadata of {TTYLINUX}: ")
    assert caught.value.status == ExitStatus.FAILED


def test_redirects_are_followed_without_the_password(serve: Servers) -> None:
    target = serve(good)
    server = serve(lambda handler: handler.send(301, Location=target.url.replace("//", "//eve:x@") + "/moved"))
    found = Marketplace(server.url.replace("//", "//ann:s3cret@"), timeout=5).find(TTYLINUX)
    assert found.identifier == TTYLINUX
    assert "Authorization" in server.seen[0][1]
    assert target.seen[0][0] == "/moved"
    assert "Authorization" not in target.seen[0][1]


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="refused"):
            Marketplace(f"http://127.0.0.1:{unused.getsockname()[1]}", timeout=5).find(TTYLINUX)


def test_unknown_host() -> None:
    with pytest.raises(Unreachable, match=r"host name is not known|no answer"):
        Marketplace("https://marketplace.invalid", timeout=5).find(TTYLINUX)


def silent(handler: Handler) -> None:
    handler.rfile.read(1)


def dripping_head(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.wfile.closed:
        handler.wfile.write(b"x")
        time.sleep(0.05)


def dripping_body(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.wfile.closed:
        handler.wfile.write(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [silent, dripping_head, dripping_body])
def test_the_whole_time_is_bounded(serve: Servers, answer: Answer) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
        Marketplace(serve(answer).url, timeout=0.3).find(TTYLINUX)
    assert time.monotonic() - started < 1.5


@dataclass
class Authority:
    """A certificate that certifies itself, for 127.0.0.1."""

    pem: Path
    tls: ssl.SSLContext


def certificate(path: Path, ends: datetime) -> Authority:
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=10))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = path / "certificate.pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    return Authority(pem, tls)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return certificate(tmp_path, datetime.now(timezone.utc) + timedelta(days=5))


def secure(server: Server) -> str:
    return server.url.replace("http:", "https:")


def test_foreign_certificate_is_refused(serve: Servers, authority: Authority) -> None:
    server = serve(good, authority.tls)
    with pytest.raises(Unreachable, match="not trusted: self-signed certificate"):
        Marketplace(secure(server), timeout=5).find(TTYLINUX)
    assert server.seen == []


def test_expired_certificate_is_refused(serve: Servers, tmp_path: Path) -> None:
    expired = certificate(tmp_path, datetime.now(timezone.utc) - timedelta(days=1))
    with pytest.raises(Unreachable, match="certificate has expired"):
        Marketplace(secure(serve(good, expired.tls)), timeout=5, verify=str(expired.pem)).find(TTYLINUX)


def test_certificates_to_trust(serve: Servers, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(good, authority.tls)
    assert Marketplace(secure(server), timeout=5, verify=str(authority.pem)).find(TTYLINUX)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.pem))
    assert Marketplace(secure(server), timeout=5).find(TTYLINUX)


def test_what_the_user_set_wins_over_the_environment(
    serve: Servers, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "another").mkdir()
    another = certificate(tmp_path / "another", datetime.now(timezone.utc) + timedelta(days=5))
    server = serve(good, authority.tls)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(another.pem))
    assert Marketplace(secure(server), timeout=5, verify=str(authority.pem)).find(TTYLINUX)
    assert Marketplace(secure(server), timeout=5, verify=False).find(TTYLINUX)
    assert not recwarn.list
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.pem))
    with pytest.raises(Unreachable, match="not trusted"):
        Marketplace(secure(server), timeout=5, verify=str(another.pem)).find(TTYLINUX)


def test_tls_where_there_is_none(serve: Servers) -> None:
    with pytest.raises(Unreachable, match="TLS failed"):
        Marketplace(secure(serve(good)), timeout=5).find(TTYLINUX)


def test_never_from_https_down_to_http(serve: Servers, authority: Authority) -> None:
    plain = serve(good)
    server = serve(lambda handler: handler.send(302, Location=plain.url), authority.tls)
    with pytest.raises(Unreachable, match="not followed"):
        Marketplace(secure(server), timeout=5, verify=str(authority.pem)).find(TTYLINUX)
    assert plain.seen == []


@pytest.mark.parametrize("settings", [{"verify": "/nowhere/ca.pem"}, {"cert": "/nowhere/me.pem"}])
def test_certificate_files_that_are_missing(serve: Servers, authority: Authority, settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="/nowhere/"):
        Marketplace(secure(serve(good, authority.tls)), timeout=5, **settings).find(TTYLINUX)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("marketplace.stratuslab.eu", "https://marketplace.stratuslab.eu"),
        ("marketplace.stratuslab.eu/marketplace/", "https://marketplace.stratuslab.eu/marketplace"),
        ("http://example.org//", "http://example.org"),
        (" https://example.org/a/b/ ", "https://example.org/a/b"),
        ("localhost:8080", "https://localhost:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("https://ann:s3cret@example.org/", "https://ann:s3cret@example.org"),
        ("httpd.example.org", "https://httpd.example.org"),
        ("b\u00fccher.example", "https://b\u00fccher.example"),
        ("local://marketplace", "local://marketplace"),
        ("local", "local://marketplace"),
    ],
)
def test_endpoint_forms(given: str, endpoint: str) -> None:
    assert normalise_endpoint(given) == endpoint
    assert normalise_endpoint(endpoint) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "/", "https://", "ftp://example.org", "file:///etc/passwd", "http://exa mple.org", "a b", "-x.org"),
        *("http://example.org:99999", "http://example.org:port", "http://example.org:0", "http://[::1", "http://h/\x1b[2J"),
        *("https://example.org?x=1", "https://example.org#x", "local://elsewhere", "https://https://example.org"),
    ],
)
def test_no_endpoint(text: str) -> None:
    with pytest.raises(UsageError, match="no address of a Marketplace"):
        normalise_endpoint(text)


@pytest.mark.parametrize(
    "text", ["https://ann:s3/cret@host", "ann:s3cret@ho st", "https://ann:s3cret@", "ftp://ann:s3@cret@host"]
)
def test_no_endpoint_is_named_without_the_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise_endpoint(text)
    assert "cret" not in str(caught.value)
    assert "s3" not in str(caught.value)


def test_import_is_light() -> None:
    import subprocess
    import sys

    heavy = "{'requests', 'lxml', 'concurrent.futures', 'ssl', 'hashlib', 'lzma'} & sys.modules.keys()"
    import stratuslab

    root = Path(stratuslab.__file__).parent.parent
    code = f"import sys; from stratuslab.marketplace import marketplace_client, identifier, metadata; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout == "set()\n"
