"""Waiting for SSH through everything that may be there instead."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from stratuslab.errors import ExitStatus, TimedOut, Unreachable
from stratuslab.ssh.banner import read_banner, wait_for_ssh

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


def test_waiting_through_a_boot(port: Callable[..., Port]) -> None:
    booting = port(hangs_up, web_server, says(b"SSH-2.0-half", close=True), ssh)
    seen: list[str] = []
    assert wait_for_ssh([booting.point], time.monotonic() + 20, on_wait=seen.append) == booting.point
    assert all(f"127.0.0.1 port {booting.point[1]}: " in text for text in seen)


def test_several_points_side_by_side(port: Callable[..., Port], refused: tuple[str, int]) -> None:
    good = port(ssh)
    started = time.monotonic()
    points = [refused, port(silence).point, ("host.invalid", 22), good.point]
    assert wait_for_ssh(points, time.monotonic() + 20) == good.point
    assert time.monotonic() - started < 1


def test_waited_in_vain(port: Callable[..., Port], refused: tuple[str, int]) -> None:
    started = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        wait_for_ssh([refused, port(web_server).point], time.monotonic() + 0.6)
    assert f"127.0.0.1 port {refused[1]}: Connection refused; " in caught.value.message
    assert "it sent 'HTTP/1.1 400 Bad Request'" in caught.value.message
    assert caught.value.status == ExitStatus.TIMED_OUT
    assert time.monotonic() - started < 2


def test_one_try_is_made_even_when_the_time_is_over(port: Callable[..., Port]) -> None:
    good = port(ssh)
    assert wait_for_ssh([good.point], time.monotonic() - 5) == good.point


def test_no_point_at_all() -> None:
    with pytest.raises(Unreachable, match="no address"):
        wait_for_ssh([], time.monotonic() + 5)


def test_the_patient_leave_a_slow_server_to_its_work(port: Callable[..., Port]) -> None:
    there = port(silence)
    with pytest.raises(TimedOut):
        wait_for_ssh([there.point], time.monotonic() + 1.5)
    assert len(there.held) <= 2
