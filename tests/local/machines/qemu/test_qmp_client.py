"""The conversation with QEMU's monitor, with a QEMU that follows a script or says anything at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.local.machines.qemu import qmp_client as module
from stratuslab.local.machines.qemu.qmp_client import LONGEST_LINE, QmpClient, QmpError

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


def spoken(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


class Qemu:
    """The other side: greets, and answers each command as ``answers`` says, with bytes or a message without its id."""

    def __init__(self, connection: socket.socket, answers: Callable[[dict[str, Any]], Any]) -> None:
        self.connection = connection
        self._answers = answers
        self.asked: list[str] = []
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()

    def _talk(self) -> None:
        with suppress(ConnectionError):
            self._answer()

    def _answer(self) -> None:
        self.connection.sendall(spoken(GREETING))
        with self.connection.makefile("rb") as lines:
            for request in map(json.loads, lines):
                self.asked.append(request["execute"])
                answer = {"return": {}} if request["execute"] == "qmp_capabilities" else self._answers(request)
                if answer is None:
                    return
                self.connection.sendall(answer if isinstance(answer, bytes) else spoken({**answer, "id": request["id"]}))


@contextmanager
def conversation(
    answers: Callable[[dict[str, Any]], Any], tell: Callable[[str, Any], None] = lambda name, data: None
) -> Iterator[QmpClient]:
    ours, its = socket.socketpair()
    qemu = Qemu(its, answers)
    monitor = QmpClient(ours, tell)
    try:
        yield monitor
    finally:
        its.shutdown(socket.SHUT_RDWR)
        monitor.watch(10)
        assert monitor.closed
        qemu.thread.join(10)
        its.close()


def test_what_is_asked_is_answered():
    with conversation(lambda request: {"return": request.get("arguments")}) as monitor:
        monitor.open()
        assert monitor.execute("query", {"a": "ä"}) == {"a": "ä"}
        assert monitor.execute("query") == {}


def test_a_refusal_is_told_in_qemus_words():
    with conversation(lambda request: {"error": {"class": "GenericError", "desc": "no such device"}}) as monitor:
        monitor.open()
        with pytest.raises(QmpError, match=r"^no such device$"):
            monitor.execute("query")


def test_events_are_told_and_are_no_answers():
    told: list[tuple[str, Any]] = []

    def answer(request: dict[str, Any]) -> bytes:
        events = [{"event": "STOP"}, {"event": "RESET", "data": {"guest": True}}, {"event": "ODD", "data": [1]}]
        return b"".join(map(spoken, [*events, {"return": 1, "id": request["id"]}]))

    with conversation(answer, lambda name, data: told.append((name, data))) as monitor:
        monitor.open()
        assert monitor.execute("query") == 1
    assert told == [("STOP", {}), ("RESET", {"guest": True}), ("ODD", {})]


def test_an_answer_to_something_else_is_none():
    def answer(request: dict[str, Any]) -> bytes:
        strange: list[object] = [{"return": 1, "id": 99}, {"return": 2}, {"id": "x"}, {"return": 3, "id": request["id"]}]
        return b"".join(map(spoken, strange))

    with conversation(answer) as monitor:
        monitor.open()
        assert monitor.execute("query") == 3


def test_an_answer_that_comes_too_late_is_not_the_next_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "REPLY_SECONDS", 0.05)

    def answer(request: dict[str, Any]) -> bytes:
        if request["execute"] == "slow":
            return b""
        return spoken({"return": "late", "id": request["id"] - 1}) + spoken({"return": "now", "id": request["id"]})

    with conversation(answer) as monitor:
        monitor.open()
        with pytest.raises(QmpError, match="QEMU does not answer slow"):
            monitor.execute("slow")
        monkeypatch.setattr(module, "REPLY_SECONDS", 10)
        assert monitor.execute("quick") == "now"


def test_a_qemu_that_goes_away_is_not_waited_for():
    def leave(request: dict[str, Any]) -> None:
        ends[0].shutdown(socket.SHUT_RDWR)

    ours, its = socket.socketpair()
    ends = [its]
    Qemu(its, leave)
    monitor = QmpClient(ours, lambda name, data: None)
    monitor.open()
    with pytest.raises(QmpError, match="QEMU does not answer quit"):
        monitor.execute("quit")
    with pytest.raises(QmpError, match="QEMU has closed its monitor"):
        monitor.execute("quit")


def test_events_are_watched_for_until_something_else_is_to_be_done():
    def answer(request: dict[str, Any]) -> bytes:
        return spoken({"return": {}, "id": request["id"]}) + spoken({"event": "LATE"})

    told: list[str] = []
    with conversation(answer, lambda name, data: told.append(name)) as monitor:
        monitor.open()
        monitor.execute("query")
        wakes, wake = socket.socketpair()
        monitor.watch(0.1, wakes)
        assert told == ["LATE"]
        wake.sendall(b"x")
        monitor.watch(1000, wakes)
        wake.close()
        wakes.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"hello\n",
        b"[1, 2]\n",
        b"[" * 200_000 + b"\n",
        b'{"return": ' + b"9" * 10_000 + b"}\n",
        b"\xff\xfe\n",
        b"\n",
        b"x" * (LONGEST_LINE + 70_000),
    ],
    ids=["no JSON", "no object", "deep", "a number", "no UTF-8", "empty", "endless"],
)
def test_nonsense_ends_the_conversation(nonsense: bytes):
    with conversation(lambda request: nonsense) as monitor:
        monitor.open()
        with pytest.raises(QmpError, match="QEMU does not answer query"):
            monitor.execute("query")


@pytest.mark.parametrize("error", ["x", None, [], {"desc": {"a": 1}}, {}])
def test_a_refusal_of_any_form_is_a_refusal(error: object):
    with conversation(lambda request: {"error": error}) as monitor:
        monitor.open()
        with pytest.raises(QmpError):
            monitor.execute("query")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["QMP", "id", "return", "error", "event", "data", "desc"]) | st.text(), inner)
    ),
    max_leaves=8,
)


@given(st.lists(st.one_of(st.binary(max_size=200), values.map(spoken)), max_size=8))
def test_whatever_is_said_listening_comes_to_an_end(said: list[bytes]):
    ours, its = socket.socketpair()
    with its:
        its.sendall(b"".join(said))
    monitor = QmpClient(ours, lambda name, data: None)
    monitor.watch(10)
    assert monitor.closed
    with pytest.raises(QmpError):
        monitor.execute("query")
