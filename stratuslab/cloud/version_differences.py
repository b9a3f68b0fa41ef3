"""The actions, listings and forms of calls that each server version has, as tables."""

import re
from typing import NamedTuple


class ServerVersion(NamedTuple):
    """A server's version as it reports it (``7.4.0``); empty for those before 3.8, which do not."""

    version: str = ""

    @property
    def number(self) -> tuple[int, ...]:
        """The version for comparison. Text that is not understood counts as newer than this table."""
        if not self.version:
            return (3,)
        digits = re.match(r"\D*(\d{1,9}(?:\.\d{1,9})*)", self.version)
        return tuple(int(part) for part in digits[1].split(".")) if digits else (99,)

    @property
    def is_stratuslab(self) -> bool:
        """Whether templates need StratusLab's form (its clouds are OpenNebula 3.2 with drivers of their own), and
        ``one.template.instantiate`` accepts no attributes to lay over the template."""
        return self.number < (4,)

    @property
    def has_pages(self) -> bool:
        """Whether a listing's start and end are an offset and a negative size; before 4.6 they are a range of ids."""
        return self.number >= (4, 6)

    @property
    def whole_listing(self) -> str:
        """The call that lists whole documents, with everything the machine was requested with; empty if there is none."""
        return next(call for since, call in _WHOLE_LISTING if self.number >= since)

    @property
    def listing_has_reasons(self) -> bool:
        """Whether the documents of ``one.vmpool.info`` say why an instance failed or waits (ERROR and SCHED_MESSAGE)."""
        return self.number >= (6, 4) or self.number < _SHORT_LISTING

    @property
    def listing_has_figures(self) -> bool:
        """Whether the documents of ``one.vmpool.info`` contain what an instance uses. From 5.12 on they lack it, or have what was
        measured before the state changed, and ``one.vmpool.monitoring`` has it."""
        return self.number < (5, 12)

    @property
    def kill_actions(self) -> tuple[str, ...]:
        """The names of the kill action: the usual one of this version first, then those of other versions."""
        return _in_order(self.number, _KILL)

    @property
    def shutdown_actions(self) -> tuple[str, ...]:
        """The names of the shutdown action, in the same order."""
        return _in_order(self.number, _SHUTDOWN)

    @property
    def start_actions(self) -> tuple[str, ...]:
        """The names of the actions that start a machine again: up to 4.12 each is for states of its own."""
        return ("resume",) if self.number >= (4, 14) else ("resume", "restart")


# The version since which a name is the usual one, newest first. 5.0 renamed most actions, 6.0 dropped the old names.
_KILL = (((5,), "terminate-hard"), ((4,), "delete"), ((0,), "finalize"))
_SHUTDOWN = (((5,), "terminate"), ((0,), "shutdown"))


# The version since which a call lists whole documents, newest first.
_SHORT_LISTING = (5, 7, 80)
_WHOLE_LISTING = (((5, 8, 1), "one.vmpool.infoextended"), (_SHORT_LISTING, ""), ((0,), "one.vmpool.info"))


def _in_order(number: tuple[int, ...], names: tuple[tuple[tuple[int, ...], str], ...]) -> tuple[str, ...]:
    usual = next(name for since, name in names if number >= since)
    return (usual, *(name for _, name in names if name != usual))
