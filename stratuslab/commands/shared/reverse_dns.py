"""The host names of addresses, side by side and within a time budget, so that a slow name service never hangs a table."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue

BUDGET = 2.0
"""Seconds for all look-ups together; what has no name by then is shown as its address."""

_AT_ONCE = 32


def host_names(addresses: Collection[str], lookup: Callable[[str], str], budget: float = BUDGET) -> dict[str, str]:
    """The names found in time, by address. Addresses of this computer are not looked up: they have no name of their own."""
    waiting: SimpleQueue[str] = SimpleQueue()
    for address in addresses:
        if not address.startswith("127.") and address != "::1":
            waiting.put(address)
    expected = waiting.qsize()
    found: SimpleQueue[tuple[str, str]] = SimpleQueue()
    for _ in range(min(expected, _AT_ONCE)):
        # Threads of a pool would be waited for at the end of the process; these are left behind.
        threading.Thread(target=_look_up, args=(waiting, found, lookup), daemon=True).start()
    names: dict[str, str] = {}
    deadline = time.monotonic() + budget
    try:
        for _ in range(expected):
            address, name = found.get(timeout=max(0.0, deadline - time.monotonic()))
            if name:
                names[address] = name
    except Empty:
        pass
    return names


def _look_up(waiting: SimpleQueue[str], found: SimpleQueue[tuple[str, str]], lookup: Callable[[str], str]) -> None:
    while True:
        try:
            address = waiting.get_nowait()
        except Empty:
            return
        try:
            name = lookup(address)
        except (OSError, UnicodeError):
            name = ""
        found.put((address, name))
