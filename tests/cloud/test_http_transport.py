"""The transport over real sockets: every way in which a server may answer, or not answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from stratuslab.cloud import reply
from stratuslab.cloud.bounded_parser import InvalidAnswer
from stratuslab.cloud.delivery_failures import AnswerLost, ConnectionDropped, DroppedEarly, NeverSent
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.errors import AuthenticationError, PermissionDenied, StratusLabError, Unreachable, UsageError
from tests.fakes import scripted_server as servers
from tests.fakes.opennebula_answers import machine, pool, success
from tests.fakes.scripted_server import Scripted

ALICE = Credentials("alice", "secret")
ANSWER = success(165)
LISTING = pool(machine(number) for number in range(200))


def transport(url: str, *, timeout: float = 5.0, credentials: Credentials = ALICE, **environ: str) -> HttpTransport:
    return HttpTransport(resolve(url, credentials), credentials, timeout, environ)


def fetch(url: str, **options: object) -> bytes:
    return b"".join(transport(url, **options).post(b"<call/>"))  # type: ignore[arg-type]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


# --- what is sent ---------------------------------------------------------------------------------------------------------


def test_what_is_sent(scripted: Scripted) -> None:
    server = scripted(servers.document(ANSWER))
    assert fetch(f"{server.url}/RPC2") == ANSWER
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", "/RPC2", b"<call/>")
    assert request.headers["content-type"] == "text/xml"
    assert request.headers["content-length"] == "7"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert "transfer-encoding" not in request.headers
    assert "authorization" not in request.headers


def test_http_basic_goes_to_the_authentication_proxy_only(scripted: Scripted) -> None:
    server = scripted(servers.document(ANSWER))
    credentials = Credentials("zoë", "p:ä ss")
    fetch(f"{server.url}/pswd/xmlrpc", credentials=credentials)
    fetch(f"{server.url}/RPC2", credentials=credentials)
    behind_proxy, plain = server.requests
    assert behind_proxy.headers["authorization"] == "Basic " + b64encode("zoë:p:ä ss".encode()).decode()
    assert "authorization" not in plain.headers


def test_the_trace_tells_status_and_type(scripted: Scripted) -> None:
    told: list[str] = []
    server = scripted(servers.document(ANSWER))
    carrier = HttpTransport(resolve(f"{server.url}/RPC2", ALICE), ALICE, 5.0, {}, trace=told.append)
    assert b"".join(carrier.post(b"<call/>")) == ANSWER
    assert told == ["< HTTP 200 OK, text/xml"]


# --- answers of all shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(servers.document(ANSWER), id="with length"),
        pytest.param(servers.without_length(ANSWER), id="without length"),
        pytest.param(servers.chunked([ANSWER[:10], ANSWER[10:]]), id="chunked"),
        pytest.param(servers.chunked([bytes([byte]) for byte in ANSWER]), id="chunks of a byte"),
        pytest.param(servers.byte_by_byte(servers.head(Content_Length=len(ANSWER)) + ANSWER), id="byte by byte"),
        pytest.param(servers.document(ANSWER, kind="text/html"), id="called HTML"),
        pytest.param(servers.document(ANSWER, kind="application/octet-stream"), id="called bytes"),
        pytest.param(servers.raw(b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER), id="HTTP 1.0 without headers"),
        pytest.param(
            servers.raw(b"HTTP/1.1 100 Continue\r\n\r\n" + servers.head(Content_Length=len(ANSWER)) + ANSWER), id="after a 100"
        ),
        pytest.param(servers.document(ANSWER, Connection="keep-alive"), id="keep-alive"),
    ],
)
def test_whole_answers(scripted: Scripted, answer: servers.Answer) -> None:
    server = scripted(answer)
    assert fetch(f"{server.url}/RPC2") == ANSWER
    assert server.connections == 1


def test_an_answer_is_read_as_it_arrives_unchanged(scripted: Scripted) -> None:
    server = scripted(servers.hangs_in_the_middle(servers.head(Content_Length=1 << 20) + b"begin"))
    pieces = transport(f"{server.url}/RPC2").post(b"<call/>")
    assert next(pieces) == b"begin"
    pieces.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "answer, message",
    [
        pytest.param(servers.half(ANSWER[:50], len(ANSWER)), f"is incomplete: {len(ANSWER) - 50} bytes are missing", id="half"),
        pytest.param(servers.half(b"", 7), "is incomplete: 7 bytes are missing", id="nothing"),
        pytest.param(servers.half(ANSWER[:-1], len(ANSWER)), "is incomplete: 1 bytes are missing", id="all but one byte"),
        pytest.param(servers.half(ANSWER[:50], 10 << 30), "is incomplete: 10737418190 bytes are missing", id="of ten gigabytes"),
        pytest.param(servers.chunked([ANSWER[:50]], finished=False), "incomplete", id="without the last chunk"),
        pytest.param(
            servers.raw(servers.head(Transfer_Encoding="chunked") + b"ff\r\n" + ANSWER[:50]), "incomplete", id="half a chunk"
        ),
        pytest.param(
            servers.raw(servers.head(Transfer_Encoding="chunked") + b"many\r\n"), "incomplete|does not speak HTTP", id="no chunk"
        ),
        pytest.param(servers.resets_after(servers.head(Content_Length=999) + ANSWER[:50]), "broke", id="reset in the middle"),
    ],
)
def test_answers_that_break_off(scripted: Scripted, answer: servers.Answer, message: str) -> None:
    server = scripted(answer)
    with pytest.raises(AnswerLost, match=message) as raised:
        fetch(f"{server.url}/RPC2")
    assert not isinstance(raised.value, ConnectionDropped)
    assert raised.value.status == 8
    assert server.url in raised.value.message
    assert server.connections == 1


def test_half_an_answer_without_a_length_is_noticed_by_the_reader(scripted: Scripted) -> None:
    server = scripted(servers.without_length(ANSWER[:-30]))
    with pytest.raises(InvalidAnswer, match="incomplete"):
        reply.value(transport(f"{server.url}/RPC2").post(b"<call/>"))


@pytest.mark.parametrize("answer", [servers.closes, servers.resets, servers.closes_unread])
def test_dropped_connections(scripted: Scripted, answer: servers.Answer) -> None:
    server = scripted(answer)
    # A server that hangs up at once can be quicker than the end of our connect().
    with pytest.raises((ConnectionDropped, DroppedEarly), match=r"closed the connection|broke: |dropped the connection"):
        fetch(f"{server.url}/RPC2")
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        servers.hangs,
        servers.hangs_in_the_middle(b"HTTP/1.1 200"),
        servers.hangs_in_the_middle(servers.head(Content_Length=len(ANSWER)) + ANSWER[:50]),
        servers.hangs_in_the_middle(servers.head(Transfer_Encoding="chunked") + b"5\r\n<?xml"),
    ],
)
def test_silence_ends_with_the_time_out(scripted: Scripted, answer: servers.Answer) -> None:
    server = scripted(answer)
    with pytest.raises(AnswerLost, match=r"sent no data for 0\.2 s \(see --timeout\)") as raised:
        fetch(f"{server.url}/RPC2", timeout=0.2)
    assert not isinstance(raised.value, ConnectionDropped)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"220 mail.example.org ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 huh\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n",
        b"\x00" * 1000,
    ],
)
def test_what_is_no_http(scripted: Scripted, data: bytes) -> None:
    server = scripted(servers.raw(data))
    with pytest.raises(AnswerLost, match=r"does not speak HTTP|broke"):
        fetch(f"{server.url}/RPC2")


@pytest.mark.parametrize(
    "status, kind, exit_status, message",
    [
        ("401 Unauthorized", AuthenticationError, 3, "HTTP 401"),
        ("403 Forbidden", PermissionDenied, 3, "HTTP 403"),
        (
            "404 Not Found",
            Unreachable,
            8,
            "does not speak XML-RPC (HTTP 404 Not Found) (usually http://HOST:2633/RPC2",
        ),
        ("405 Method Not Allowed", Unreachable, 8, "HTTP 405 Method Not Allowed"),
        ("411 Length Required", Unreachable, 8, "answers HTTP 411 Length Required"),
        ("500 Internal Server Error", Unreachable, 8, "answers HTTP 500 Internal Server Error"),
        ("502 Bad Gateway", Unreachable, 8, "answers HTTP 502 Bad Gateway"),
        ("503 Service Unavailable", Unreachable, 8, "answers HTTP 503"),
        ("301 Moved Permanently", Unreachable, 8, "answers HTTP 301 Moved Permanently"),
        ("204 No Content", Unreachable, 8, "answers HTTP 204"),
    ],
)
def test_http_statuses(scripted: Scripted, status: str, kind: type[StratusLabError], exit_status: int, message: str) -> None:
    server = scripted(servers.document(b"<html>sorry</html>", status, "text/html"))
    with pytest.raises(StratusLabError) as raised:
        fetch(f"{server.url}/RPC2")
    assert type(raised.value) is kind
    assert raised.value.status == exit_status
    assert message in str(raised.value)


def test_a_redirect_is_not_followed_but_told(scripted: Scripted) -> None:
    elsewhere = scripted(servers.document(ANSWER))
    server = scripted(servers.document(b"", "301 Moved Permanently", Location=f"{elsewhere.url}/RPC2"))
    with pytest.raises(Unreachable, match=f"it redirects to {elsewhere.url}/RPC2, see --endpoint"):
        fetch(f"{server.url}/RPC2")
    assert elsewhere.connections == 0


def test_the_web_interface(scripted: Scripted) -> None:
    server = scripted(servers.document(b"<!DOCTYPE html><html><body>Sunstone</body></html>", kind="text/html"))
    with pytest.raises(InvalidAnswer, match="web page"):
        reply.value(transport(f"{server.url}/RPC2").post(b"<call/>"))


# --- connections that are kept --------------------------------------------------------------------------------------------


def keeps(requests: int) -> servers.Answer:
    """Answers so many requests on one connection, and closes it without saying so."""

    def answer(conversation: servers.Conversation) -> None:
        for _ in range(requests):
            conversation.read_request()
            conversation.send(servers.head(Connection="keep-alive", Content_Length=len(ANSWER)) + ANSWER)

    return answer


def test_a_connection_is_kept_where_the_server_keeps_it(scripted: Scripted) -> None:
    server = scripted(keeps(3))
    carrier = transport(f"{server.url}/RPC2")
    assert [b"".join(carrier.post(b"<call/>")) for _ in range(3)] == [ANSWER] * 3
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_connection_that_the_server_closed_meanwhile_is_made_again(scripted: Scripted) -> None:
    server = scripted(keeps(1))
    carrier = transport(f"{server.url}/RPC2")
    assert [b"".join(carrier.post(b"<call/>")) for _ in range(4)] == [ANSWER] * 4
    assert len(server.requests) == 4


def test_a_kept_connection_that_drops_with_the_request(scripted: Scripted) -> None:
    def drops_the_second(conversation: servers.Conversation) -> None:
        keeps(1)(conversation)
        conversation.read_request()

    server = scripted(drops_the_second, keeps(1))
    carrier = transport(f"{server.url}/RPC2")
    assert [b"".join(carrier.post(b"<call/>")) for _ in range(2)] == [ANSWER] * 2
    assert (server.connections, len(server.requests)) == (2, 3)


def test_what_must_not_be_sent_twice_goes_on_a_new_connection_in_the_place_of_the_old_one(scripted: Scripted) -> None:
    """OpenNebula's daemon serves 15 connections: 50 requests for machines would wait for it to give up their own idle ones."""
    ended = threading.Event()

    def first(conversation: servers.Conversation) -> None:
        keeps(1)(conversation)
        with pytest.raises(ConnectionError):
            conversation.read_request()
        ended.set()

    def second(conversation: servers.Conversation) -> None:
        assert ended.wait(4)  # less than the client's patience
        keeps(1)(conversation)

    server = scripted(first, second)
    carrier = transport(f"{server.url}/RPC2")
    assert [b"".join(carrier.post(b"<call/>", once=once)) for once in (False, True)] == [ANSWER] * 2
    assert server.connections == 2


def test_each_thread_has_a_connection_of_its_own(scripted: Scripted) -> None:
    server = scripted(keeps(9))
    carrier = transport(f"{server.url}/RPC2")
    first, second = carrier.post(b"<call/>"), carrier.post(b"<call/>")
    assert [next(first), next(second)] == [ANSWER] * 2  # both are open
    assert [*first, *second] == []
    assert [b"".join(carrier.post(b"<call/>")) for _ in range(2)] == [ANSWER] * 2
    assert server.connections == 2


def test_an_answer_that_is_not_read_to_its_end_ends_the_connection(scripted: Scripted) -> None:
    server = scripted(keeps(2))
    carrier = transport(f"{server.url}/RPC2")
    pieces = carrier.post(b"<call/>")
    assert next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert b"".join(carrier.post(b"<call/>")) == ANSWER
    assert server.connections == 2


# --- answers that never end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(servers.endless(b"<html>", b"z" * 65536), id="endless HTML"),
        pytest.param(servers.endless(ANSWER, b"<p/>" * 1000), id="endless after the end"),
        pytest.param(servers.endless(ANSWER[: ANSWER.index(b"165")], b"<array><data><value>" * 1000), id="endless depth"),
    ],
)
def test_an_endless_answer_is_left_as_soon_as_it_is_seen_to_be_none(scripted: Scripted, answer: servers.Answer) -> None:
    server = scripted(answer)
    with pytest.raises(InvalidAnswer):
        reply.value(transport(f"{server.url}/RPC2").post(b"<call/>"))


def test_ten_gigabytes(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is announced is not believed and not refused; what is too much is left."""
    monkeypatch.setattr(reply, "LARGEST_ANSWER", 1 << 23)
    ten = 10 << 30
    opening = LISTING[: LISTING.index(b"&lt;VM&gt;")]
    piece = machine(1).replace("<", "&lt;").encode() * 50
    for begin in (servers.head() + opening, servers.head(Content_Length=ten) + opening):

        def answer(conversation: servers.Conversation, begin: bytes = begin) -> None:
            conversation.read_request()
            conversation.send(begin)
            for more in repeat(piece):
                conversation.send(more)

        server, seen = scripted(answer), 0
        with pytest.raises(InvalidAnswer, match="larger than 8 MiB"):
            for _ in reply.documents(transport(f"{server.url}/RPC2").post(b"<call/>"), "VM"):
                seen += 1
        assert seen > 1000


# --- no connection at all -------------------------------------------------------------------------------------------------


def test_a_refused_connection_was_never_sent() -> None:
    url = f"http://127.0.0.1:{closed_port()}/RPC2"
    with pytest.raises(NeverSent, match=r"cannot reach .*: Connection refused \(see --endpoint\)$") as raised:
        fetch(url)
    assert url in raised.value.message
    assert raised.value.status == 8


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(NeverSent, match=r"cannot reach .*not known"):
        fetch("http://[fe80::1%no-such-interface]:2633/RPC2")  # the one kind of wrong name that asks no name server


def test_a_server_that_accepts_nobody() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):  # fill the queue of those who wait to be accepted
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with pytest.raises(NeverSent, match=r"does not answer within 0\.3 s \(see --endpoint and --timeout\)"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2", timeout=0.3)


@pytest.mark.skipif(not has_ipv6(), reason="this system has no IPv6")
@pytest.mark.parametrize("host", ["[::1%251]", "[::1%1]"])
def test_an_address_with_a_zone(host: str) -> None:
    """The zone goes into the connection, not to the server."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        listener.settimeout(servers.PATIENCE)
        port = listener.getsockname()[1]
        with ThreadPoolExecutor(1) as caller:
            answer = caller.submit(fetch, f"http://{host}:{port}")
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
            assert answer.result(servers.PATIENCE) == ANSWER
    assert f"Host: [::1]:{port}\r\n".encode() in request


# --- an HTTP proxy --------------------------------------------------------------------------------------------------------


def test_plain_http_through_a_proxy(scripted: Scripted) -> None:
    origin, proxy = scripted(servers.document(ANSWER)), scripted(servers.forwards)
    url = f"{origin.url}/pswd/xmlrpc"
    assert fetch(url, http_proxy=proxy.url) == ANSWER
    assert proxy.requests[0].target == url
    assert origin.requests[0].target == "/pswd/xmlrpc"
    assert "proxy-authorization" not in origin.requests[0].headers


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": "PROXY"},
        {"http_proxy": "PROXY", "HTTP_PROXY": "http://127.0.0.1:9"},
        {"http_proxy": "BARE"},
        {"http_proxy": "PROXY/", "no_proxy": "example.org,10.0.0.0/8"},
    ],
)
def test_forms_of_the_proxy(scripted: Scripted, environ: Mapping[str, str]) -> None:
    origin, proxy = scripted(servers.document(ANSWER)), scripted(servers.forwards)
    forms = {"PROXY": proxy.url, "PROXY/": f"{proxy.url}/", "BARE": f"127.0.0.1:{proxy.port}"}
    assert fetch(f"{origin.url}/RPC2", **{name: forms.get(value, value) for name, value in environ.items()}) == ANSWER
    assert proxy.connections == 1


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "*", "example.org, 127.0.0.1", "127.0.0.0/8"])
def test_no_proxy(scripted: Scripted, no_proxy: str) -> None:
    origin, proxy = scripted(servers.document(ANSWER)), scripted(servers.forwards)
    assert fetch(f"{origin.url}/RPC2", http_proxy=proxy.url, no_proxy=no_proxy) == ANSWER
    assert proxy.connections == 0


def test_other_proxies_do_not_count(scripted: Scripted) -> None:
    origin = scripted(servers.document(ANSWER))
    assert fetch(f"{origin.url}/RPC2", https_proxy="http://127.0.0.1:9", ftp_proxy="x", http_proxy="") == ANSWER


def test_a_proxy_that_wants_a_password(scripted: Scripted) -> None:
    origin, proxy = scripted(servers.document(ANSWER)), scripted(servers.forwards)
    fetch(f"{origin.url}/RPC2", http_proxy=f"http://bob:p%40ss@127.0.0.1:{proxy.port}")
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic " + b64encode(b"bob:p@ss").decode()


@pytest.mark.parametrize(
    "named", ["socks5://127.0.0.1:1080", "http://", "http://[::1", "http://h:port", "http://h:0", "http://h:99999"]
)
def test_proxies_that_cannot_be_used(named: str) -> None:
    with pytest.raises(UsageError, match="http_proxy"):
        fetch("http://127.0.0.1:9/RPC2", http_proxy=named)


def test_a_proxy_that_is_down_is_named() -> None:
    port = closed_port()
    with pytest.raises(NeverSent, match=f"cannot reach .* through the proxy 127.0.0.1:{port}: Connection refused") as raised:
        fetch("http://cloud.example.org:2633/RPC2", http_proxy=f"http://bob:secret@127.0.0.1:{port}")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["a..b", "a" * 64])
def test_a_proxy_with_an_impossible_name(name: str) -> None:
    with pytest.raises(NeverSent, match=r"cannot reach .* through the proxy"):
        fetch("http://cloud.example.org:2633/RPC2", http_proxy=f"http://{name}:3128")


@pytest.mark.parametrize(("login", "problem"), [("", "requires a user name"), ("bob:secret@", "rejected its user name")])
def test_a_proxy_that_refuses(scripted: Scripted, login: str, problem: str) -> None:
    proxy = scripted(servers.document(b"", "407 Proxy Authentication Required"))
    named = f"http://{login}127.0.0.1:{proxy.port}"
    said = rf"^the proxy 127\.0\.0\.1:{proxy.port} {problem} and password \(HTTP 407\)"
    for scheme in ("http", "https"):
        with pytest.raises(NeverSent, match=said) as raised:
            fetch(f"{scheme}://cloud.example.org/RPC2", **{f"{scheme}_proxy": named})
        assert "http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY or HTTP_PROXY" in str(raised.value)
        assert "secret" not in str(raised.value)
        assert raised.value.lasting


def test_a_407_of_the_cloud_itself(scripted: Scripted) -> None:
    server = scripted(servers.document(b"", "407 Proxy Authentication Required"))
    with pytest.raises(Unreachable, match="answers HTTP 407 Proxy Authentication Required"):
        fetch(f"{server.url}/RPC2")


@pytest.mark.parametrize(
    "answer, words",
    [
        (servers.closes, ": the connection was closed without a response"),
        (servers.resets, ": Connection reset"),
        (servers.raw(b"SSH-2.0-x\r\n"), ": it does not answer as an HTTP proxy"),
        (servers.raw(b"HTTP/1.1 200 OK\r\nX: y"), ": it does not answer as an HTTP proxy"),
        (servers.hangs, " within"),
    ],
)
def test_a_proxy_that_tunnels_nothing(scripted: Scripted, answer: servers.Answer, words: str) -> None:
    proxy = scripted(answer)
    with pytest.raises(NeverSent, match=rf"through the proxy \S+:\d+{words}"):
        fetch("https://cloud.example.org/RPC2", https_proxy=proxy.url, timeout=0.5)
