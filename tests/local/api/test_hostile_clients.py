"""Clients that nobody has let in: they can neither stop nor fill the server, nor guess fast, and no web page is one of them."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stratuslab.local.api import http_server
from stratuslab.local.api.accounts import FREE, GUESS_SECONDS, QUEUE_SECONDS, LoginThrottle
from stratuslab.local.api.client_connections import LOOPBACK, MOST_OF_CLIENT, client_of
from tests.fakes.served_cloud import Serve
from tests.harness import CHECKOUT
from tests.local.api.test_http_server import SERVE, VERSION_CALL, basic, exchange, request

HEAD = b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\n"


def connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


@pytest.mark.parametrize("begun", [b"", HEAD, HEAD + b"Content-Length: 500\r\n\r\n<method"], ids=["silent", "head", "body"])
def test_connections_that_send_nothing_more_keep_nobody_out(serve: Serve, begun: bytes) -> None:
    url = serve().rpc
    with contextlib.ExitStack() as held:
        for _ in range(2 * MOST_OF_CLIENT):
            held.enter_context(connected(url)).sendall(begun)
        began = time.monotonic()
        assert [request(url)[0] for _ in range(5)] == [200] * 5
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("begun", "end"),
    [(b"", b""), (HEAD, b""), (HEAD + b"Content-Length: 500\r\n\r\n", b"HTTP/1.1 408 ")],
    ids=["silent", "head", "body"],
)
def test_a_request_that_trickles_is_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch, begun: bytes, end: bytes) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "_DISCARD_SECONDS", 0.1)
    with connected(serve().rpc) as connection:
        connection.sendall(begun)
        stop = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not stop.wait(0.02):
                    connection.sendall(b"x")

        threading.Thread(target=trickle, daemon=True).start()
        began = time.monotonic()
        try:
            assert connection.recv(13) == end
        except ConnectionResetError:
            assert not end
        finally:
            stop.set()
        assert time.monotonic() - began < 5


def test_a_long_head_is_refused(serve: Serve) -> None:
    raw = HEAD + b"".join(b"X-%d: %s\r\n" % (number, b"x" * 60000) for number in range(5)) + b"\r\n"
    assert exchange(serve().rpc, raw).startswith(b"HTTP/1.1 431 ")


class TestMemory:
    """Calls of 8 MB, which is the most that a user may send."""

    LONG = 8 << 20
    NESTED = b"<methodCall><methodName>one.vm.info</methodName><params><param>" + b"<value><array><data>" * (LONG // 20)
    MANY = b"<methodCall>" + b"<a/>" * (LONG // 4)
    ONE = b"<methodCall><methodName>one.vm.info</methodName><params><param><value>" + b"x" * LONG
    TAG = b"<methodCall " + b"x" * LONG
    USER = b"<methodCall><methodName>one.vm.allocate</methodName><params><param><value>alice:%s</value></param><param>"

    @pytest.fixture
    def served(self, tmp_path: Path) -> Iterator[tuple[str, int]]:
        program = SERVE.replace("dict()", "dict(alice='secret')")
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "cloud")],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            text=True,
        )
        assert process.stdout is not None
        yield process.stdout.readline().split()[0], process.pid
        process.terminate()
        process.communicate(timeout=20)

    def grown(self, served: tuple[str, int], *bodies: bytes) -> tuple[int, list[bytes]]:
        """By how many MB the server has grown at most while it got so many requests at once, and their answers."""
        url, process = served
        assert request(url)[0] == 200
        before = self.peak(process)
        with ThreadPoolExecutor(len(bodies)) as pool:
            answers = list(pool.map(lambda body: self.answered(url, body[: self.LONG]), bodies))
        return (self.peak(process) - before) >> 10, answers

    @staticmethod
    def answered(url: str, body: bytes) -> bytes:
        # Large requests are taken one after the other.
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/RPC2", body)
            return connection.getresponse().read()

    @staticmethod
    def peak(process: int) -> int:
        status = Path("/proc", str(process), "status")
        if not status.exists():
            pytest.skip("the system does not say how much memory a process used")
        return int(status.read_text().partition("VmHWM:")[2].split()[0])

    @pytest.mark.parametrize("body", [NESTED, MANY, ONE, TAG], ids=["nested", "many", "one", "tag"])
    def test_strangers(self, served: tuple[str, int], body: bytes) -> None:
        grown, answers = self.grown(served, *[body] * 8)
        assert grown < 20
        assert all(b"<fault>" in answer and b"-503" in answer for answer in answers)

    def test_wrong_passwords(self, served: tuple[str, int]) -> None:
        grown, answers = self.grown(served, *[self.USER % b"guess" + b"<value>" + b"x" * self.LONG] * 8)
        assert grown < 20
        assert all(b"authenticated" in answer for answer in answers)

    @pytest.mark.parametrize(
        "rest",
        [b"<value><array><data>" * (LONG // 20), b"<value><i4>1</i4></value>" * (LONG // 25), b"<value>" + b"x" * LONG],
        ids=["nested", "many", "one"],
    )
    def test_users(self, served: tuple[str, int], rest: bytes) -> None:
        grown, answers = self.grown(served, *[self.USER % b"secret" + rest] * 8)
        assert grown < 100
        assert all(b"<fault>" in answer and b"-503" in answer for answer in answers)

    def test_several_calls_at_once(self, served: tuple[str, int]) -> None:
        call = (
            "<value><struct><member><name>methodName</name><value>system.listMethods</value></member><member><name>params</name>"
        )
        call += "<value><array><data/></array></value></member></struct></value>"
        head = "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>"
        tail = "</data></array></value></param></params></methodCall>"
        body = (head + call * ((65000 - len(head + tail)) // len(call)) + tail).encode()
        grown, answers = self.grown(served, *[body] * 8)
        assert grown < 100 and all(b"one.vm.info" in answer for answer in answers)


class Clock:
    def __init__(self) -> None:
        self.now, self.paused = 1000.0, 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.paused += seconds
        self.now += seconds


class TestGuessing:
    def test_it_takes_time(self) -> None:
        clock = Clock()
        throttle = LoginThrottle(clock, clock.pause)
        for number in range(FREE + 20):
            assert throttle.check("a", f"alice:{number}", lambda session: None) is None
        assert clock.paused == pytest.approx(19 * GUESS_SECONDS)
        # The right password is found in the same way, unless it was used before; other clients do not wait.
        assert throttle.check("b", "alice:secret", str.upper) == "ALICE:SECRET"
        paused = clock.paused
        assert throttle.check("a", "alice:secret", str.upper) and clock.paused == paused
        assert throttle.check("a", "bob:secret", str.upper) and clock.paused > paused
        clock.now += 100
        paused = clock.paused
        assert throttle.check("a", "carol:secret", str.upper) and clock.paused == paused

    def test_side_by_side_it_is_not_faster(self) -> None:
        checked: list[str] = []
        throttle = LoginThrottle(lambda: 1000.0, lambda seconds: None)
        for number in range(1000):
            throttle.check("a", f"alice:{number}", checked.append)
        assert len(checked) == FREE + QUEUE_SECONDS / GUESS_SECONDS + 1

    def test_many_right_ones_at_once_do_not_wait(self) -> None:
        clock = Clock()
        throttle = LoginThrottle(clock, clock.pause)

        def authenticate(session: str) -> str | None:
            return throttle.check("a", session[1:], authenticate) if session else "alice"

        assert (throttle.check("a", "x" * 100, authenticate), clock.paused) == ("alice", 0)

    def test_over_http(self, serve: Serve) -> None:
        url = serve().rpc
        assert request(url)[0] == 200
        wrong = VERSION_CALL.replace(b"secret", b"wrong")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda number: request(url, body=wrong), range(FREE + 4)))
        assert all(b"authenticated" in answer[2] for answer in answers)
        began = time.monotonic()
        assert b"7.4.0" in request(url)[2]
        assert time.monotonic() - began < 5

    def test_several_calls_in_one(self, serve: Serve) -> None:
        proxy = xmlrpc.client.ServerProxy(serve().rpc)
        calls = [{"methodName": "one.system.version", "params": [f"alice:{word}"]} for word in (*"abcd", "secret")]
        answers = proxy.system.multicall(calls)
        assert isinstance(answers, list)
        assert not any(answer[0][0] for answer in answers)


class TestWebPages:
    @pytest.mark.parametrize("header", [{"Origin": "http://localhost"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}])
    def test_their_requests_are_refused(self, serve: Serve, header: dict[str, str]) -> None:
        urls = serve()
        assert request(urls.rpc, "POST", VERSION_CALL, **header)[0] == 403
        assert request(f"{urls.marketplace}/metadata", "GET", None, **header)[0] == 403

    @pytest.mark.parametrize("host", ["evil.example.org:2633", "127.0.0.1.evil.example.org", "localhost.evil", "[x]"])
    def test_names_that_lead_here(self, serve: Serve, host: str) -> None:
        urls = serve()
        assert request(urls.rpc, Host=host)[0] == 421
        assert request(f"{urls.marketplace}/metadata", "GET", None, Host=host)[0] == 421
        assert request(urls.proxy, Host=host, Authorization=basic("alice:secret"))[0] == 421

    @pytest.mark.parametrize("host", ["localhost:2633", "LOCALHOST.", "127.0.0.1", "[::1]:99", socket.gethostname()])
    def test_names_of_this_computer(self, serve: Serve, host: str) -> None:
        assert request(serve().rpc, Host=host, Sec_Fetch_Site="none")[0] == 200


def test_what_counts_as_one_client() -> None:
    assert {client_of(address) for address in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1")} == {LOOPBACK}
    assert client_of("2001:db8::1") == client_of("2001:db8::2:1") != client_of("2001:db8:0:1::1")
    assert client_of("192.0.2.1") == client_of("::ffff:192.0.2.1") != client_of("192.0.2.2")
    assert client_of("fe80::1%eth0") == client_of("fe80::2")
