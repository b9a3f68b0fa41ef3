"""The embedded cloud over real HTTP: its doors, who may come in, and what the daemon's HTTP library would answer."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.api.accounts import Accounts, administrator_password
from stratuslab.local.api.http_request_response import HttpRequest
from stratuslab.local.api.http_server import open_server
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX
from tests.local.templates import SMALL

VERSION_CALL = xmlrpc.client.dumps(("alice:secret",), "one.system.version").encode()


def exchange(url: str, raw: bytes) -> bytes:
    """All that a server answers to bytes on a connection of their own."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def request(
    url: str, method: str = "POST", body: bytes | None = VERSION_CALL, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


class TestDoors:
    def test_opennebula_s_door(self, serve: Serve) -> None:
        proxy = xmlrpc.client.ServerProxy(serve().rpc)
        assert proxy.one.system.version("alice:secret") == [True, "7.4.0", 0]
        for session in ("alice:wrong", "nobody:secret", "alice", ":", ""):
            message = "[one.system.version] User couldn't be authenticated, aborting call."
            assert proxy.one.system.version(session) == [False, message, 256, -1, -1]
        older = xmlrpc.client.ServerProxy(serve(profile="opennebula-4").rpc)
        assert older.one.system.version("alice") == [False, "[SystemVersion] User couldn't be authenticated, aborting call.", 256]

    def test_what_is_printed_is_what_clients_are_configured_with(self, serve: Serve) -> None:
        urls = serve()
        base = urls.rpc.removesuffix("/RPC2")
        assert str(urls) == f"{base}/RPC2 {base}/xmlrpc {base}/marketplace"

    def test_a_whole_url_as_the_target(self, serve: Serve) -> None:
        urls = serve()
        for url in (urls.rpc, urls.rpc.replace("http://", "HTTP://"), urls.rpc.replace("127.0.0.1", "cloud.example.org")):
            head = f"POST {url} HTTP/1.1\r\nHost: [::1]\r\nContent-Type: text/xml\r\nContent-Length: {len(VERSION_CALL)}\r\n\r\n"
            assert b"7.4.0" in exchange(urls.rpc, head.encode() + VERSION_CALL)
        for target, status in ((f"{urls.marketplace}/metadata?identifier={TTYLINUX}", b" 200 "), ("http://[", b" 404 ")):
            assert status in exchange(urls.rpc, f"GET {target} HTTP/1.1\r\nHost: [::1]\r\n\r\n".encode()).splitlines()[0]

    def test_stratuslab_s_door(self, serve: Serve) -> None:
        urls = serve({"alice": "s:e@c/ret"})
        call = xmlrpc.client.dumps(("dummy:pass", -1), "one.user.info")
        status, _, body = request(urls.proxy, body=call.encode(), Authorization=basic("alice:s:e@c/ret"))
        assert (status, b"&lt;NAME&gt;alice&lt;/NAME&gt;" in body) == (200, True)
        for authorization in (basic("alice:wrong"), basic("alice"), "Basic !!!", "Bearer x", "Basic", ""):
            status, headers, _ = request(urls.proxy, body=call.encode(), Authorization=authorization)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="StratusLab"')
        assert request(urls.proxy)[0] == 401

    @pytest.mark.parametrize("path", ["/", "/RPC2/", "/rpc2", "/pswd/xmlrpc/", "/xmlrpc", "/market", "/metadata", "/%ff"])
    def test_nothing_elsewhere(self, serve: Serve, path: str) -> None:
        base = serve().rpc.removesuffix("/RPC2")
        assert request(base + path)[0] == 404
        assert request(base + path, "GET", None)[0] == 404

    def test_methods(self, serve: Serve) -> None:
        urls = serve()
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            status, headers, _ = request(urls.rpc, method, None)
            assert (status, headers["Allow"]) == (405, "POST")
        assert request(urls.proxy, "GET", None, Authorization=basic("alice:secret"))[0] == 405
        assert request(f"{urls.marketplace}/metadata", "DELETE", None)[0] == 405

    def test_owners_by_user(self, serve: Serve, stage: Stage) -> None:
        proxy = xmlrpc.client.ServerProxy(serve({"alice": "a", "bob": "b", "oneadmin": "o"}).rpc)
        assert proxy.one.vm.allocate("alice:a", SMALL) == [True, 1, 0]
        message = "[one.vm.info] User [3] : Not authorized to perform USE VM [1]."
        assert proxy.one.vm.info("bob:b", 1) == [False, message, 512, -1, -1]
        stage.runs(1)
        assert proxy.one.vm.action("oneadmin:o", "terminate-hard", 1) == [True, 1, 0]

    def test_profiles(self, serve: Serve) -> None:
        proxy = xmlrpc.client.ServerProxy(serve(profile="stratuslab-3").rpc)
        with pytest.raises(xmlrpc.client.Fault, match="-506"):
            proxy.one.system.version("alice:secret")


class TestWire:
    def test_as_the_daemon_answers(self, serve: Serve) -> None:
        status, headers, body = request(serve().rpc, Content_Type="text/xml", Accept_Encoding="gzip")
        assert (status, headers["Connection"], headers["Content-Type"]) == (200, "close", "text/xml; charset=utf-8")
        assert int(headers["Content-Length"]) == len(body)
        assert headers["Content-Encoding"] is None
        raw = exchange(serve().rpc, b"POST /RPC2 HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 0\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 200 OK\r\n")

    def test_chunked_requests_are_refused(self, serve: Serve) -> None:
        chunked = b"POST /RPC2 HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        assert exchange(serve().rpc, chunked).startswith(b"HTTP/1.1 411 ")
        assert exchange(serve().rpc, b"POST /RPC2 HTTP/1.1\r\nHost: [::1]\r\n\r\n").startswith(b"HTTP/1.1 411 ")

    @pytest.mark.parametrize(("length", "status"), [("8388609", 413), ("9" * 30, 413), ("-5", 400), ("x", 400)])
    def test_lengths(self, serve: Serve, length: str, status: int) -> None:
        raw = f"POST /RPC2 HTTP/1.1\r\nHost: [::1]\r\nContent-Length: {length}\r\n\r\n".encode()
        assert exchange(serve().rpc, raw).startswith(f"HTTP/1.1 {status} ".encode())

    def test_a_body_that_ends_early(self, serve: Serve) -> None:
        parts = urlsplit(serve().rpc)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as connection:
            connection.sendall(b"POST /RPC2 HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 50\r\n\r\n<method")
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")

    def test_expect_and_old_http(self, serve: Serve) -> None:
        urls = serve()
        length = f"Content-Length: {len(VERSION_CALL)}\r\n\r\n".encode()
        waiting = exchange(urls.rpc, b"POST /RPC2 HTTP/1.1\r\nHost: [::1]\r\nExpect: 100-continue\r\n" + length + VERSION_CALL)
        assert waiting.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert b"7.4.0" in exchange(urls.rpc, b"POST /RPC2 HTTP/1.0\r\n" + length + VERSION_CALL)

    def test_rubbish_is_answered(self, serve: Serve) -> None:
        urls = serve()
        assert b"Error code: 400" in exchange(urls.rpc, b"\x16\x03\x01\x02\x00 hello\r\n\r\n")
        assert b" 414 " in exchange(urls.rpc, b"POST /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n").splitlines()[0]
        assert request(urls.rpc)[0] == 200

    def test_fifteen_at_once_and_the_others_wait(self, serve: Serve) -> None:
        urls = serve()
        parts = urlsplit(urls.rpc)
        address = (parts.hostname or "", parts.port or 0)
        silent = [socket.create_connection(address, timeout=10) for _ in range(15)]
        time.sleep(0.1)  # so that they are all taken on; whether they are changes nothing about what must hold
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(request, urls.rpc)
            silent.pop().close()
            assert waiting.result(timeout=10)[0] == 200
        for connection in silent:
            connection.close()

    def test_many_calls_side_by_side(self, serve: Serve, stage: Stage) -> None:
        url = serve().rpc

        def allocate(_: int) -> int:
            answered: Any = xmlrpc.client.ServerProxy(url).one.vm.allocate("alice:secret", SMALL + "NIC=[NETWORK_ID=0]")
            assert answered[0]
            return int(answered[1])

        with ThreadPoolExecutor(12) as pool:
            numbers = list(pool.map(allocate, range(36)))
        assert sorted(numbers) == list(range(1, 37))
        public = stage.engine.leases.networks()[-1]
        assert len({address for address, _ in stage.engine.leases.leased(public)}) == 36


def test_silent_clients_do_not_keep_a_server_from_ending(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratuslab.local.api.http_server._SHUTDOWN_SECONDS", 0.3)
    server = open_server(stage.engine, "127.0.0.1", 0, Accounts({"alice": "secret"}))
    begin = time.monotonic()
    with server.running() as urls:
        parts = urlsplit(urls.rpc)
        silent = [socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) for _ in range(20)]
    assert time.monotonic() - begin < 15
    for connection in silent:
        connection.close()


LOGIN = basic("alice:secret")


class TestMarketplaceOverHttp:
    def test_reading(self, serve: Serve) -> None:
        urls = serve()
        status, headers, body = request(f"{urls.marketplace}/metadata/{TTYLINUX}", "GET", None)
        assert (status, headers["Content-Type"]) == (200, "application/xml; charset=utf-8")
        assert TTYLINUX.encode() in body
        for query in (f"/metadata?identifier={TTYLINUX}", "/metadata/images%40stratuslab.eu", "/metadata", "/metadata/"):
            assert TTYLINUX.encode() in request(urls.marketplace + query, "GET", None)[2]
        status, _, body = request(f"{urls.marketplace}/metadata/MMZu9WvwKIro-rtBQfDk4PsKO7_", "GET", None)
        assert (status, b"<error>" in body) == (404, True)

    def test_uploads_of_stratuslab_s_clients_have_no_password(self, serve: Serve, entry: bytes) -> None:
        urls = serve(profile="stratuslab-3")

        def upload(document: bytes, **headers: str) -> int:
            return request(f"{urls.marketplace}/metadata", body=document, Content_Type="application/xml", **headers)[0]

        assert upload(entry, Authorization=basic("alice:wrong")) == 401
        # It takes no name that machines are started by, and no place.
        assert upload(entry.replace(b"mine &amp; yours", b"ttylinux")) == 403
        assert upload(entry) == 201
        assert upload(entry) == 403
        assert upload(entry.replace(b"created>2026", b"created>2027")) == 403
        assert upload(entry, Authorization=LOGIN) == 403
        assert upload(entry + b" " * 70000) == 413

    def test_users_and_the_administrator(self, serve: Serve, entry: bytes) -> None:
        urls = serve({"alice": "a", "bob": "b", "oneadmin": "o"})

        def upload(document: bytes, user: str) -> int:
            kind = {"Content_Type": "application/xml", "Authorization": basic(user)}
            return request(f"{urls.marketplace}/metadata", "POST", document, **kind)[0]

        assert [upload(entry, user) for user in ("alice:a", "alice:a", "bob:b", "oneadmin:o", "alice:a")] == [
            201,
            201,
            403,
            201,
            403,
        ]
        assert upload(entry.replace(b"alice@", b"bob@"), "bob:b") == 403

    def test_adding(self, serve: Serve, entry: bytes) -> None:
        urls = serve()
        assert request(f"{urls.marketplace}/metadata", body=entry, Content_Type="application/xml")[0] == 401
        for kind in ("application/xml", "application/rdf+xml; charset=utf-8"):
            status, headers, _ = request(f"{urls.marketplace}/metadata", body=entry, Content_Type=kind, Authorization=LOGIN)
            assert (status, headers["Location"]) == (
                201,
                "/marketplace/metadata/GOaxJFdoEXvqAm9ArJgnZ0_ky6F/alice@example.org/2026-11-22T10:00:00Z",
            )
        base = urls.rpc.removesuffix("/RPC2")
        assert request(base + headers["Location"], "GET", None)[0] == 200
        odd = entry.replace(b"alice@", "a\n\N{SNOWMAN}@".encode())
        status, headers, _ = request(f"{urls.marketplace}/metadata", body=odd, Content_Type="text/xml", Authorization=LOGIN)
        assert (status, headers["Location"].split("/")[4]) == (201, "a%0A%E2%98%83@example.org")
        assert request(base + headers["Location"], "GET", None)[0] == 200
        status, _, body = request(
            f"{urls.marketplace}/metadata", body=b"<x/>", Content_Type="application/xml", Authorization=LOGIN
        )
        assert (status, b"<error>" in body) == (400, True)
        assert request(f"{urls.marketplace}/metadata", body=entry, Content_Type="text/plain", Authorization=LOGIN)[0] == 400
        large = f"POST /marketplace/metadata HTTP/1.1\r\nContent-Type: text/xml\r\nAuthorization: {LOGIN}\r\n"
        large += f"Content-Length: {2**20 + 1}\r\n\r\n"
        assert b" 413 " in exchange(urls.rpc, large.encode()).splitlines()[0]


class TestServer:
    def test_a_port_that_is_in_use(self, stage: Stage, serve: Serve) -> None:
        port = urlsplit(serve().rpc).port or 0
        with pytest.raises(StratusLabError, match=f"port {port} of 127.0.0.1 is in use"):
            open_server(stage.engine, "127.0.0.1", port, Accounts({"a": "b"}))

    @pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no.such.host.invalid", 0), ("127.0.0.1", 99999)])
    def test_a_place_where_nobody_can_listen(self, stage: Stage, host: str, port: int) -> None:
        with pytest.raises(UsageError):
            open_server(stage.engine, host, port, Accounts({"a": "b"}))

    def test_ipv6(self, serve: Serve) -> None:
        if not socket.has_ipv6:
            pytest.skip("no IPv6")
        try:
            urls = serve(host="::1")
        except UsageError:
            pytest.skip("no IPv6 here")
        assert urls.rpc.startswith("http://[::1]:")
        assert request(urls.rpc)[0] == 200

    def test_a_mistake_in_it_is_answered(self, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
        def mistaken(request: HttpRequest) -> NoReturn:
            raise LookupError(request.path)

        server = open_server(stage.engine, "127.0.0.1", 0, Accounts({"a": "b"}))
        server.respond = mistaken
        with server.running() as urls:
            assert request(urls.rpc)[0] == 500
        assert "LookupError: /RPC2" in capsys.readouterr().err

    def test_a_store_that_cannot_be_used_is_said(self, stage: Stage, serve: Serve) -> None:
        urls = serve()
        stage.engine.store.query("DROP TABLE entries")
        status, _, body = request(f"{urls.marketplace}/metadata", "GET", None)
        assert (status, b"cannot use" in body) == (500, True)


SERVE = """
import os, sys
from pathlib import Path
from stratuslab.local.api.http_server import serving
with serving(Path(sys.argv[1]), "127.0.0.1", 0, dict(), os.environ) as server:
    print(server.urls, flush=True)
    server.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_s_life(tmp_path: Path, number: signal.Signals) -> None:
    """Ready with one line of URLs; the administrator comes in with the password file; a signal ends it cleanly."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "cloud")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        text=True,
    )
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        rpc, proxy, marketplace = process.stdout.readline().split()
        assert (urlsplit(proxy).path, urlsplit(marketplace).path) == ("/xmlrpc", "/marketplace")
        path = tmp_path / "cloud" / "one_auth"
        assert path.stat().st_mode & 0o777 == 0o600
        session = path.read_text().strip()
        assert session.startswith("oneadmin:")
        assert xmlrpc.client.ServerProxy(rpc).one.system.version(session)[0]  # type: ignore[index]
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


class TestAccounts:
    @pytest.mark.parametrize("users", [{"": "x"}, {"a:b": "x"}, {"a b": "x"}, {"a": ""}, {"a\n": "x"}])
    def test_what_cannot_be_a_user(self, users: dict[str, str]) -> None:
        with pytest.raises(UsageError):
            Accounts(users)

    def test_passwords(self) -> None:
        accounts = Accounts({"alice": "a:b", "bob": "\N{SNOWMAN}"})
        assert (accounts.authenticate("alice:a:b"), accounts.authenticate("bob:\N{SNOWMAN}")) == ("alice", "bob")
        assert [accounts.authenticate(text) for text in ("alice:", "alice:a", "carol:", ":", "bob:\udcff")] == [None] * 5

    def test_the_administrator_s_password_is_made_once(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            passwords = set(pool.map(lambda _: administrator_password(tmp_path), range(8)))
        assert len(passwords) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["one_auth"]
        (tmp_path / "one_auth").write_text("rubbish")
        with pytest.raises(StratusLabError, match="does not hold"):
            administrator_password(tmp_path)
