"""Servers that keep their clients waiting for ever, with a byte from time to time or without a pause."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from stratuslab.cloud.delivery_failures import AnswerLost
from stratuslab.cloud.endpoint import Credentials, resolve
from stratuslab.cloud.http_transport import HttpTransport
from stratuslab.errors import Unreachable
from stratuslab.local.images import download
from stratuslab.local.images.download import Download
from stratuslab.marketplace.marketplace_client import Marketplace
from stratuslab.marketplace.marketplace_transport import MarketplaceConnection
from stratuslab.ssh.port_translation_client import translated_port
from tests.fakes import scripted_server as servers
from tests.fakes.scripted_server import Answer, Conversation, Scripted
from tests.harness import TTYLINUX

TIMEOUT = 0.3
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = servers.head(Transfer_Encoding="chunked")


def goes_on(begin: bytes, piece: bytes, pause: float = 0.05) -> Answer:
    """The beginning of an answer, and pieces that never end it."""

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(begin)
        while not conversation.closing.wait(pause):
            conversation.send(piece)

    return answer


HOSTILE = {
    "status": goes_on(b"HTTP/1.1 200 ", b"O"),
    "headers": goes_on(OK, b"X: y\r\n"),
    "a header": goes_on(OK + b"X: ", b"y"),
    "100 Continue": goes_on(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0),
    "100 Continue with headers": goes_on(b"HTTP/1.1 100 Continue\r\n", b"X: y\r\n\r\nHTTP/1.1 100 Continue\r\n"),
    "body": goes_on(servers.head(Content_Length=1 << 20), b"x"),
    "body without a length": goes_on(servers.head(), b" "),
    "size of a chunk": goes_on(CHUNKED, b"0"),
    "extension of a chunk": goes_on(CHUNKED + b"1;a=", b"b"),
    "extensions of chunks": goes_on(CHUNKED, b"1;a=" + b"b" * 60_000 + b"\r\n \r\n", pause=0),
    "chunks": goes_on(CHUNKED, b"1\r\n \r\n"),
    "trailers": goes_on(CHUNKED + b"0\r\n", b"X: y\r\n", pause=0),
}


def call(url: str, _: Path) -> object:
    return list(pieces_of(url, TIMEOUT))


def pieces_of(url: str, timeout: float) -> Iterator[bytes]:
    transport = HttpTransport(resolve(f"{url}/RPC2", Credentials("a", "b")), Credentials("a", "b"), timeout, {})
    return transport.post(b"<call/>")


def find(url: str, _: Path) -> object:
    return Marketplace(MarketplaceConnection(url, TIMEOUT)).find(TTYLINUX)


def fetch(url: str, directory: Path) -> object:
    with Download(directory, f"{url}/image") as one:
        one.fetch()
    return None


def translate(url: str, _: Path) -> object:
    return translated_port(url.removeprefix("http://"), 7, 22, TIMEOUT, {})


@pytest.mark.parametrize("client", [call, find, fetch, translate])
@pytest.mark.parametrize("what", HOSTILE)
def test_nobody_waits_for_ever(
    what: str, client: Callable[[str, Path], object], scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_TIMEOUT", (TIMEOUT, TIMEOUT))
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server = scripted(HOSTILE[what])
    begin = time.monotonic()
    with pytest.raises(Unreachable):
        client(server.url, tmp_path / "cloud")
    assert time.monotonic() - begin < 20 * TIMEOUT


def test_the_reason(scripted: Scripted) -> None:
    with pytest.raises(AnswerLost, match=r"answers too slowly, or without end \(see --timeout\)"):
        call(scripted(HOSTILE["headers"]).url, Path())


@pytest.mark.parametrize("head", [servers.head(Content_Length=30_000), servers.head()])
def test_a_long_answer_that_moves_on_is_read_to_its_end(scripted: Scripted, head: bytes) -> None:
    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(head)
        for piece in repeat(b"x" * 2000, 15):
            conversation.closing.wait(timeout / 6)
            conversation.send(piece)

    timeout = 5 * TIMEOUT  # a busy computer is no silent server
    begin = time.monotonic()
    assert b"".join(pieces_of(scripted(answer).url, timeout)) == b"x" * 30_000
    assert time.monotonic() - begin > 2 * timeout
