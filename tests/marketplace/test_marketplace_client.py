"""The Marketplace over real HTTP and HTTPS: what is asked, and what comes of every kind of answer."""

from __future__ import annotations

import gzip
import socket
import time
from base64 import b64encode
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

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
from stratuslab.marketplace.marketplace_client import Marketplace
from stratuslab.marketplace.marketplace_transport import MarketplaceConnection, normalise_endpoint
from tests.fakes import scripted_server as servers
from tests.fakes.certificate_authority import Authority
from tests.fakes.scripted_server import Answer, Scripted

TTYLINUX = "BN1EEkPiBx87_uLj2-sdybSI-Xb"
OTHER = "MMZu9WvwKIro-rtBQfDk4PsKO7_"
TYPE = "application/rdf+xml"


def document(identifier: str = TTYLINUX) -> bytes:
    return (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/">'
        f"<rdf:Description><dcterms:identifier>{identifier}</dcterms:identifier>"
        "<dcterms:title>ttylinux</dcterms:title></rdf:Description></rdf:RDF>"
    ).encode()


def answered(status: str, body: bytes = b"", kind: str = TYPE, **headers: str) -> Answer:
    return servers.document(body, status, kind, **headers)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


good = answered("200 OK", document())


def asked(url: str, timeout: float = 5, **details: Any) -> Marketplace:
    return Marketplace(MarketplaceConnection(url, timeout, **details))


def test_one_request_and_its_headers(scripted: Scripted) -> None:
    server = scripted(good)
    marketplace = asked(server.url + "/")
    assert marketplace.url(TTYLINUX) == f"{server.url}/metadata/{TTYLINUX}"
    assert marketplace.find(TTYLINUX).title == "ttylinux"
    [request] = server.requests
    assert request.target == f"/metadata/{TTYLINUX}"
    assert request.headers["accept"] == "application/rdf+xml, application/xml;q=0.9"
    assert "authorization" not in request.headers


def test_endpoint_below_a_path(scripted: Scripted) -> None:
    server = scripted(good)
    asked(f"{server.url}/marketplace//").find(TTYLINUX)
    assert server.requests[0].target == f"/marketplace/metadata/{TTYLINUX}"


def test_trace_tells_the_exchange(scripted: Scripted) -> None:
    server, lines = scripted(good), list[str]()
    asked(server.url.replace("//", "//ann:s3cret@"), trace=lines.append).find(TTYLINUX)
    assert lines[0] == f"> GET {server.url}/metadata/{TTYLINUX}"
    assert lines[1] == "< 200 OK, application/rdf+xml"
    assert lines[2].startswith(f"< {len(document())} bytes in 0.")
    assert "s3cret" not in "".join(lines)


def test_user_and_password_are_sent_and_never_shown(scripted: Scripted) -> None:
    server = scripted(answered("500 Internal Server Error"))
    marketplace = asked(server.url.replace("//", "//ann:s3%2Fcret@"))
    with pytest.raises(Unreachable) as caught:
        marketplace.find(TTYLINUX)
    assert server.requests[0].headers["authorization"] == "Basic YW5uOnMzL2NyZXQ="
    assert "cret" not in str(caught.value) + marketplace.url(TTYLINUX) + marketplace.endpoint


def test_unknown_image(scripted: Scripted) -> None:
    server = scripted(answered("404 Not Found", b"<error>no entry</error>"))
    with pytest.raises(NotFound) as caught:
        asked(server.url).find(TTYLINUX)
    assert caught.value.message == f"no image {TTYLINUX} in the Marketplace {server.url}"
    assert caught.value.status == ExitStatus.NOT_FOUND


def test_no_identifier_is_not_asked_for(scripted: Scripted) -> None:
    server = scripted(good)
    with pytest.raises(UsageError):
        asked(server.url).find("../../etc")
    assert server.requests == []


ENDLESS_CHUNKS = servers.endless(b"", b"10000\r\n" + b" " * 0x10000 + b"\r\n", servers.head(Transfer_Encoding="chunked"))
TEN_GIGABYTES = servers.endless(b"", b" " * 0x10000, servers.head(Content_Length=10 << 30))
ENDLESS_REDIRECT = servers.endless(b"", b" " * 0x10000, servers.head("302 Found", Location="/elsewhere"))
BOMB = answered("200 OK", gzip.compress(bytes(20 << 20)), Content_Encoding="gzip")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ENDLESS_CHUNKS, "larger than 4 MiB"),
        (TEN_GIGABYTES, "larger than 4 MiB"),
        (BOMB, "larger than 4 MiB"),
        (ENDLESS_REDIRECT, "circles"),
        (servers.half(document()[:100], len(document())), "incomplete"),
        (servers.raw(b"220 mail.example.org ESMTP\r\n"), "does not speak HTTP"),
        (servers.closes, "does not speak HTTP"),
        (answered("500 Internal Server Error", b"<html>oops", "text/html"), "answered 500 Internal Server Error"),
        (answered("503 Service Unavailable"), "answered 503"),
        (answered("204 No Content"), "answered 204"),
        (answered("200 OK", b"<!DOCTYPE html>\n<html><body>Welcome", "text/html"), "web page"),
        (answered("200 OK", b"<html>portal", TYPE), "web page"),
        (answered("302 Found", Location="/elsewhere"), "circles"),
        (answered("302 Found", Location="file:///etc/passwd"), "not allowed"),
        (answered("302 Found", Location="local://marketplace/metadata/x"), "not allowed"),
        (answered("302 Found", Location="http://[broken"), "not allowed"),
    ],
)
def test_what_answers_is_no_marketplace(scripted: Scripted, answer: Answer, why: str) -> None:
    started = time.monotonic()
    server = scripted(answer)
    with pytest.raises(Unreachable) as caught:
        asked(server.url).find(TTYLINUX)
    assert why in str(caught.value)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(("status", "kind"), [("401 Unauthorized", AuthenticationError), ("403 Forbidden", PermissionDenied)])
def test_refused(scripted: Scripted, status: str, kind: type[StratusLabError]) -> None:
    with pytest.raises(kind):
        asked(scripted(answered(status)).url).find(TTYLINUX)


@pytest.mark.parametrize("body", [document()[:100], b"", document(OTHER), b"<error>x</error>"])
def test_the_document_is_none_of_this_image(scripted: Scripted, body: bytes) -> None:
    server = scripted(answered("200 OK", body))
    with pytest.raises(StratusLabError) as caught:
        asked(server.url).find(TTYLINUX)
    assert caught.value.message.startswith(f"the Marketplace {server.url} has no usable metadata for {TTYLINUX}: ")
    assert caught.value.status == ExitStatus.FAILED


def test_redirects_are_followed_without_the_password(scripted: Scripted) -> None:
    target = scripted(good)
    server = scripted(answered("301 Moved Permanently", Location=target.url.replace("//", "//eve:x@") + "/moved"))
    found = asked(server.url.replace("//", "//ann:s3cret@")).find(TTYLINUX)
    assert found.identifier == TTYLINUX
    assert "authorization" in server.requests[0].headers
    assert target.requests[0].target == "/moved"
    assert "authorization" not in target.requests[0].headers


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="refused"):
            asked(f"http://127.0.0.1:{unused.getsockname()[1]}").find(TTYLINUX)


def test_unknown_host() -> None:
    with pytest.raises(Unreachable, match=r"host name is unknown|no answer"):
        asked("https://marketplace.invalid").find(TTYLINUX)


def drips(begin: bytes) -> Answer:
    """The beginning of an answer, and a byte from time to time that never ends it."""

    def answer(conversation: servers.Conversation) -> None:
        conversation.read_request()
        conversation.send(begin)
        while not conversation.closing.wait(0.05):
            conversation.send(b"x")

    return answer


@pytest.mark.parametrize(
    "answer", [servers.hangs, drips(b"HTTP/1.1 200 OK\r\nX-Slow: "), drips(servers.head(Content_Length=1_000_000))]
)
def test_the_whole_time_is_bounded(scripted: Scripted, answer: Answer) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
        asked(scripted(answer).url, timeout=0.3).find(TTYLINUX)
    assert time.monotonic() - started < 1.5


def test_netrc_is_not_sent(scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server = scripted(good)
    for session in (None, requests.Session()):
        assert asked(server.url, session=session).find(TTYLINUX)
    assert all("authorization" not in request.headers for request in server.requests)


def test_the_proxy_is_chosen_as_for_clouds(scripted: Scripted) -> None:
    server, proxy = scripted(good), scripted(servers.forwards)
    assert asked(server.url, environ={"HTTP_PROXY": proxy.url}).find(TTYLINUX)
    assert proxy.connections == 1
    assert asked(server.url, environ={"HTTP_PROXY": proxy.url, "no_proxy": "127.0.0.0/8"}).find(TTYLINUX)
    assert proxy.connections == 1


def test_tls_through_a_proxy(scripted: Scripted, authority: Authority) -> None:
    server, proxy = scripted(good, tls=authority.server("127.0.0.1")), scripted(servers.forwards)
    environ = {"https_proxy": f"http://bob:p%40ss@127.0.0.1:{proxy.port}", "REQUESTS_CA_BUNDLE": str(authority.bundle)}
    assert asked(server.url, environ=environ).find(TTYLINUX)
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic " + b64encode(b"bob:p@ss").decode()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password(scripted: Scripted, scheme: str) -> None:
    proxy = scripted(answered("407 Proxy Authentication Required"))
    marketplace = asked(f"{scheme}://marketplace.example.org", environ={f"{scheme}_proxy": proxy.url})
    with pytest.raises(Unreachable, match=rf"^the proxy 127\.0\.0\.1:{proxy.port} requires a user name and password") as raised:
        marketplace.find(TTYLINUX)
    assert "USER:PASSWORD@HOST:PORT in HTTPS_PROXY" in str(raised.value)


def test_foreign_certificate_is_refused(scripted: Scripted, authority: Authority) -> None:
    server = scripted(good, tls=authority.server("127.0.0.1"))
    with pytest.raises(Unreachable, match="not trusted: "):
        asked(server.url).find(TTYLINUX)
    assert server.requests == []


def test_expired_certificate_is_refused(scripted: Scripted, authority: Authority) -> None:
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    expired = authority.server("127.0.0.1", not_before=yesterday - timedelta(days=9), not_after=yesterday)
    with pytest.raises(Unreachable, match="certificate has expired"):
        asked(scripted(good, tls=expired).url, verify=str(authority.bundle)).find(TTYLINUX)


def test_certificates_to_trust(scripted: Scripted, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    server = scripted(good, tls=authority.server("127.0.0.1"))
    assert asked(server.url, verify=str(authority.bundle)).find(TTYLINUX)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    assert asked(server.url).find(TTYLINUX)


def test_what_the_user_set_wins_over_the_environment(
    scripted: Scripted,
    authority: Authority,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    server = scripted(good, tls=authority.server("127.0.0.1"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger.bundle))
    assert asked(server.url, verify=str(authority.bundle)).find(TTYLINUX)
    assert asked(server.url, verify=False).find(TTYLINUX)
    assert not recwarn.list
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
    with pytest.raises(Unreachable, match="not trusted"):
        asked(server.url, verify=str(stranger.bundle)).find(TTYLINUX)


def test_tls_where_there_is_none(scripted: Scripted) -> None:
    server = scripted(lambda conversation: conversation.send(servers.head("400 Bad Request")))
    with pytest.raises(Unreachable, match="TLS failed"):
        asked(server.url.replace("http:", "https:")).find(TTYLINUX)


def test_never_from_https_down_to_http(scripted: Scripted, authority: Authority) -> None:
    plain = scripted(good)
    server = scripted(answered("302 Found", Location=plain.url), tls=authority.server("127.0.0.1"))
    with pytest.raises(Unreachable, match="not allowed"):
        asked(server.url, verify=str(authority.bundle)).find(TTYLINUX)
    assert plain.requests == []


def test_a_file_of_certificates_that_is_missing(scripted: Scripted, authority: Authority) -> None:
    with pytest.raises(ConfigurationError, match="/nowhere/"):
        asked(scripted(good, tls=authority.server("127.0.0.1")).url, verify="/nowhere/ca.pem").find(TTYLINUX)


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
    with pytest.raises(UsageError, match="not the address of a Marketplace"):
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
