"""A floor under the pace of a download: a server that sends a byte now and then is never silent, and never done."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from stratuslab.local.images.space import amount

P = ParamSpec("P")
T = TypeVar("T")

LEAST = 250_000
"""Bytes that must come in each period of so many seconds."""

SECONDS = 120.0


class TooSlow(Exception):
    """Less came."""


def in_time(ask: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What ``ask`` gives for these. Raises what it raises, and TooSlow where one period is not enough for it.

    Until there is an answer nothing can be hung up: the thread that waits for it is left to itself then.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask(*arguments, **options))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([answer], SECONDS).done:
        raise TooSlow(f"it did not begin to send within {SECONDS:g} s")
    return answer.result()


@contextmanager
def keeping_pace(arrived: Callable[[], int], connection: Callable[[], int]) -> Iterator[None]:
    """Hang up where too little arrives while the block reads from a connection, and raise TooSlow then.

    ``arrived`` is the number of bytes so far, ``connection`` the socket's descriptor.
    """
    done, slow = threading.Event(), threading.Event()

    def watch() -> None:
        before = arrived()
        while not done.wait(SECONDS):
            now = arrived()
            if now - before < LEAST:
                slow.set()
                return _hang_up(connection)
            before = now

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        # What the block met is the connection's end, or nothing where an end says that all has come.
        if slow.is_set():
            raise TooSlow(f"it sent less than {amount(LEAST)} in {SECONDS:g} s")


def _hang_up(connection: Callable[[], int]) -> None:
    """End what waits for the other side; it stays open for the one who reads from it."""
    with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection())) as line:
        line.shutdown(socket.SHUT_RDWR)
