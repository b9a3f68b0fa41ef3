"""What a trial counted, and each promise that it saw broken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from stratuslab.errors import ExitStatus
from tests.harness import Ran

_DOCUMENTED = {status.value for status in ExitStatus} - {ExitStatus.USAGE, ExitStatus.SSH}


@dataclass
class Tally:
    """``counted`` is how often each thing happened, ``broken`` a line for each broken promise."""

    counted: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.counted.update(other.counted)
        self.broken += other.broken

    def check(self, kept: object, promise: str, details: object = "") -> None:
        """Note the promise as broken unless it was kept."""
        self.counted[promise] += not kept
        if not kept:
            self.broken.append(f"{promise}: {details}")

    def ran(self, ran: Ran, what: str) -> None:
        """Check what every command promises: a documented status, and no internals."""
        self.counted["commands"] += 1
        self.check(ran.status in _DOCUMENTED, "undocumented statuses", f"{what}: {ran.status} {ran.err}")
        internal = re.search(r"Traceback|internal error.*", ran.out + ran.err)
        self.check(not internal, "tracebacks", f"{what}: {internal and internal[0]}")
        self.check(ran.status == 0 or ran.err, "silent failures", f"{what}: {ran.status}")


def summed(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for one in tallies:
        whole.add(one)
    return whole
