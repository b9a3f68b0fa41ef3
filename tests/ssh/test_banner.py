"""Waiting for SSH through everything that may be there instead."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from stratuslab.errors import Unreachable
from stratuslab.ssh.banner import Knocking, read_banner

Answer = Callable[[socket.socket], None]


class Port:
    """A port of loopback with something behind it. The n-th connection gets the n-th answer, later ones the last."""

    def __init__(self, *answers: Answer) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.point: tuple[str, int] = ("127.0.0.1", self.listening.getsockname()[1])
        self.answers = list(answers)
        self.held: list[socket.socket] = []
        self.over = False
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            self.held.append(connection)
            if self.over:
                return
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            threading.Thread(target=self._answer, args=(answer, connection), daemon=True).start()

    def _answer(self, answer: Answer, connection: socket.socket) -> None:
        with suppress(OSError):
            answer(connection)

    def close(self) -> None:
        # Closing the socket under a thread that waits in accept() could give that thread the next test's socket.
        self.over = True
        socket.create_connection(self.point, 5).close()
        self.accepting.join(5)
        self.listening.close()
        for connection in self.held:
            connection.close()


@pytest.fixture
def port() -> Iterator[Callable[..., Port]]:
    opened: list[Port] = []

    def make(*answers: Answer) -> Port:
        opened.append(Port(*answers))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def says(*pieces: bytes, close: bool = False) -> Answer:
    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        if close:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    return answer


ssh = says(b"SSH-2.0-OpenSSH_9.2\r\n")
silence = says()
hangs_up = says(close=True)
web_server = says(b"HTTP/1.1 400 Bad Request\r\n\r\n", close=True)


def chatter(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"noise\r\n" * 1000)


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


@pytest.fixture
def refused() -> Iterator[tuple[str, int]]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield "127.0.0.1", unused.getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "banner"),
    [
        (ssh, "SSH-2.0-OpenSSH_9.2"),
        (says(b"SSH-", b"2.0-drop", b"bear\n"), "SSH-2.0-dropbear"),
        (says(b"Welcome\r\nto the cloud\r\n", b"SSH-1.99-x\r\n"), "SSH-1.99-x"),
        (says(b"SSH-2.0-\xff\x1b[2J\r\n"), "SSH-2.0-\\xff\x1b[2J"),
        (says(b"SSH-2.0-brief\r\n", close=True), "SSH-2.0-brief"),
    ],
)
def test_banners(port: Callable[..., Port], answer: Answer, banner: str) -> None:
    assert read_banner(*port(answer).point, timeout=5) == banner


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (silence, "sends nothing"),
        (hangs_up, "closed the connection"),
        (web_server, "not an SSH server, it sent 'HTTP/1.1 400 Bad Request'"),
        (says(b"SSH-2.0-half", close=True), "it sent 'SSH-2.0-half'"),
        (says(b"\x1b[2J\x00" * 50), r"it sent '\x1b[2J\x00"),
        (chatter, "it sent 'noise'"),
        (drip, "it sent 'x"),
    ],
)
def test_what_exists_instead(port: Callable[..., Port], answer: Answer, what: str) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        read_banner(*port(answer).point, timeout=0.3)
    assert what in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message.isprintable()
    assert time.monotonic() - started < 2


def test_nobody_listens(refused: tuple[str, int]) -> None:
    with pytest.raises(Unreachable, match="Connection refused"):
        read_banner(*refused, timeout=2)
    with pytest.raises(Unreachable):
        read_banner("", 0, timeout=1)
    with pytest.raises(Unreachable):
        read_banner("x" * 300, 22, timeout=1)


@pytest.fixture
def knocking() -> Iterator[Knocking]:
    with closing(Knocking(time.monotonic() + 20)) as made:
        yield made


def test_waiting_through_a_boot(port: Callable[..., Port], knocking: Knocking) -> None:
    booting = port(hangs_up, web_server, says(b"SSH-2.0-half", close=True), ssh)
    knocking.begin(7, [booting.point])
    assert knocking.seen(7).startswith(f"127.0.0.1 port {booting.point[1]}: ")
    knocking.wait(20)
    assert knocking.answered == {7: booting.point}


def test_several_points_in_parallel(port: Callable[..., Port], refused: tuple[str, int], knocking: Knocking) -> None:
    good = port(ssh)
    started = time.monotonic()
    knocking.begin(7, [refused, port(silence).point, ("host.invalid", 22), good.point])
    knocking.wait(20)
    assert knocking.answered == {7: good.point}
    assert time.monotonic() - started < 1


def test_several_instances(port: Callable[..., Port], knocking: Knocking) -> None:
    """More than are tried at once, of which many are silent: those do not keep the others from being tried."""
    there = [port(silence) for _ in range(3)] + [port(ssh) for _ in range(40)]
    for number, one in enumerate(there):
        knocking.begin(number, [one.point])
    deadline = time.monotonic() + 20
    while len(knocking.answered) < 40 and time.monotonic() < deadline:
        knocking.wait(1)
    assert knocking.answered == {number: one.point for number, one in enumerate(there) if number > 2}


def test_waited_in_vain(port: Callable[..., Port], refused: tuple[str, int], knocking: Knocking) -> None:
    started = time.monotonic()
    knocking.begin(7, [refused, port(web_server).point])
    knocking.wait(0.6)
    assert knocking.answered == {}
    assert f"127.0.0.1 port {refused[1]}: Connection refused; " in knocking.seen(7)
    assert "it sent 'HTTP/1.1 400 Bad Request'" in knocking.seen(7)
    assert time.monotonic() - started < 2


def test_the_patient_leave_a_slow_server_to_its_work(port: Callable[..., Port], knocking: Knocking) -> None:
    there = port(silence)
    knocking.begin(7, [there.point])
    knocking.wait(1.5)
    assert knocking.answered == {}
    assert len(there.held) <= 2
