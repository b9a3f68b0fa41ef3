"""The host names of addresses, in parallel and within a time budget, so that a slow name service never hangs a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from queue import Empty

from stratuslab.commands.shared.parallel import Parallel

BUDGET = 2.0
"""Seconds for all look-ups together; what has no name by then is shown as its address."""

_AT_ONCE = 64


def host_names(addresses: Collection[str], lookup: Callable[[str], str], budget: float = BUDGET) -> dict[str, str]:
    """The names found in time, by address. Addresses of this computer are not looked up: they have no name of their own."""

    def name(address: str) -> str:
        try:
            return lookup(address)
        except (OSError, UnicodeError):
            return ""

    running = Parallel(name, [one for one in addresses if not one.startswith("127.") and one != "::1"], _AT_ONCE)
    running.start()
    names: dict[str, str] = {}
    deadline = time.monotonic() + budget
    with suppress(Empty):
        while running.left:
            _, outcome = running.next(timeout=max(0.0, deadline - time.monotonic()))
            if outcome and outcome.value:
                names[outcome.item] = outcome.value
    running.stop()
    return names
