"""stratus-search-image and the Marketplace's own search: used where it helps, and never seen in the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests

from stratuslab.errors import ExitStatus
from stratuslab.marketplace.table_search import hits_of
from tests.fakes.scripted_server import Conversation, ScriptedServer, head
from tests.harness import TTYLINUX, Shell

Answer = Callable[[requests.Response], tuple[str, bytes]]


class Front:
    """In front of a Marketplace, whose answers to its search it can change."""

    def __init__(self, marketplace: str, change: Answer | None = None) -> None:
        self._marketplace = marketplace
        self._change = change
        self.server = ScriptedServer(self.answer)

    def answer(self, conversation: Conversation) -> None:
        asked = conversation.read_request()
        names = ("accept", "content-type", "if-none-match")
        headers = {name: asked.headers[name] for name in names if name in asked.headers}
        url = f"{self._marketplace}{asked.target}"
        response = requests.request(asked.method, url, headers=headers, data=asked.body, timeout=10)
        status, body = f"{response.status_code} x", response.content
        if asked.method == "POST" and self._change:
            status, body = self._change(response)
        kept = {name.replace("-", "_"): response.headers[name] for name in ("Content-Type", "ETag") if name in response.headers}
        conversation.send(head(status, Content_Length=len(body), **kept) + body)

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.target.partition('?')[0]}" for request in self.server.requests]


Fronts = Callable[..., Front]


@pytest.fixture
def front(own: Shell) -> Iterator[Fronts]:
    """Put something in front of the Marketplace of ``own``."""
    real = own.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"]
    with ExitStack() as running:

        def start(change: Answer | None = None) -> Front:
            begun = Front(real, change)
            running.callback(begun.server.close)
            own.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"] = begun.server.url
            return begun

        yield start


def edited(change: Callable[[dict[str, object]], object]) -> Answer:
    def answer(response: requests.Response) -> tuple[str, bytes]:
        found = response.json()
        change(found)
        return "200 OK", json.dumps(found).encode()

    return answer


REFUSALS: dict[str, Answer] = {
    "405": lambda _: ("405 Method Not Allowed", b""),
    "404": lambda _: ("404 Not Found", b"<error>no</error>"),
    "403": lambda _: ("403 Forbidden", b""),
    "500": lambda _: ("500 Internal Server Error", b""),
    "redirect": lambda _: ("302 Found\r\nLocation: file:///etc/passwd", b""),
    "web page": lambda _: ("200 OK", b"<!DOCTYPE html><html><body>a form</body></html>"),
    "other JSON": lambda _: ("200 OK", b'{"rows": []}'),
    "a list": lambda _: ("200 OK", b"[[]]"),
    "deep": lambda _: ("200 OK", b"[" * 100_000),
    "half": lambda response: ("200 OK", response.content[:-9]),
    "broken off": lambda _: ("200 OK\r\nTransfer-Encoding: chunked", b'ff\r\n{"a'),
    "of many": edited(lambda found: found.update(iTotalDisplayRecords=21)),
    "other rows": edited(lambda found: found.update(aaData=[["", "a"]], iTotalDisplayRecords=1)),
    "paths": edited(lambda found: found.update(aaData=[["x"] * 7 + ["../../etc", "", "", ""]], iTotalDisplayRecords=1)),
    "gone since": edited(
        lambda found: found.update(aaData=[[*[""] * 4, "a@b.c", "", "2020-01-01T00:00:00Z", "A" * 27]], iTotalDisplayRecords=1)
    ),
}

SEARCHES = [
    ("mine",),
    ("MINE", "É"),
    ("tty", "small"),
    ("mine & yours",),
    ("a.c",),
    ("(x", "*"),
    ("base",),
    ("--os", "Debian"),
    ("--os-version", "12"),
    ("--arch", "X86_64"),
    ("-e", "example"),
    ("mine", "--image-format", "raw", "--tag", "base"),
    ("mine", "--kind", "disk"),
    ("--os", "debian", "--since", "2026-11-22"),
]


def rows(shell: Shell, *arguments: str) -> list[str]:
    ran = shell("search_image", "--no-cache", "--format", "json", *arguments)
    assert (ran.status, ran.err) == (0, "")
    return sorted(json.dumps(row) for row in json.loads(ran.out)["catalogue"])


@pytest.mark.parametrize("arguments", SEARCHES)
def test_the_rows_are_those_of_the_catalogue(own: Shell, front: Fronts, arguments: tuple[str, ...]) -> None:
    with_search = front()
    found = rows(own, *arguments)
    assert with_search.asked[0] == "POST /metadata"
    assert "GET /metadata" not in with_search.asked
    without = front(REFUSALS["405"])
    assert rows(own, *arguments) == found
    assert without.asked == ["POST /metadata", "GET /metadata"]


def test_something_is_found(own: Shell, front: Fronts) -> None:
    """Else the test before would compare nothing."""
    front()
    assert [len(rows(own, *arguments)) > 0 for arguments in SEARCHES] == [*[True] * 4, False, False, *[True] * 6, False, True]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_marketplace_without_the_search(own: Shell, front: Fronts, refusal: str) -> None:
    started = front(REFUSALS[refusal])
    ran = own("search_image", "--format", "ids", "tty")
    assert (ran.status, ran.out, ran.err) == (0, f"{TTYLINUX}\n", "")
    assert started.asked[-1] == "GET /metadata"


@pytest.mark.parametrize(
    "arguments", [(), ("--status", "all", "mine"), ("--tag", "base"), ("--image-format", "raw"), ("-e", "alice@example.org")]
)
def test_what_the_search_cannot_answer_is_not_asked(own: Shell, front: Fronts, arguments: tuple[str, ...]) -> None:
    started = front()
    assert own("search_image", *arguments).status == 0
    assert started.asked == ["GET /metadata"]


def test_what_is_sent(own: Shell, front: Fronts) -> None:
    started = front()
    own("search_image", "a+b", "é\\", "x y", "--os", "Debian (12)", "-e", "ali")
    [post, *_] = started.server.requests
    assert post.headers["content-type"] == "application/x-www-form-urlencoded"
    assert post.headers["accept"] == "application/json"
    fields = dict(re.findall(r"(\w+)=([^&]*)", post.body.decode()))
    assert fields == {
        "sEcho": "1",
        "iDisplayStart": "0",
        "iDisplayLength": "20",
        "iSortCol_0": "6",
        "sSortDir_0": "desc",
        "sSearch": "a.b+..+x+y",
        "sSearch_1": "Debian+.12.",
        "sSearch_4": "ali",
    }


def test_the_cached_catalogue_is_preferred_and_a_search_can_be_repeated_offline(own: Shell, front: Fronts) -> None:
    started = front()
    found = own("search_image", "tty")
    assert found.status == 0
    started.server.close()
    again = own("search_image", "tty")
    assert (again.out, "using its catalogue as of" in again.err) == (found.out, True)
    assert own("search_image", "mine").status == ExitStatus.UNREACHABLE


def test_with_a_current_catalogue_nothing_is_searched_there(own: Shell, front: Fronts) -> None:
    started = front()
    assert own("search_image").status == 0
    assert own("search_image", "mine").status == 0
    assert started.asked[0] == "GET /metadata"


@pytest.mark.parametrize(
    "answer", [b"", b"null", b"1", b'{"aaData": 1}', b'{"aaData": [], "iTotalDisplayRecords": "many"}', b"\xff"]
)
def test_answers_that_are_none(answer: bytes) -> None:
    assert hits_of(answer) is None
