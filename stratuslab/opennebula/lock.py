"""The lock of an instance."""

from typing import NamedTuple


class Lock(NamedTuple):
    """A lock of 5.4 or later that keeps users from acting on an instance: the ``level`` of actions that are locked (``use`` locks
    all of them, ``manage`` and ``admin`` fewer), who set it (None where the short listing does not say), and when, in
    seconds since the epoch."""

    level: str
    owner_id: int | None
    since: int | None

    @classmethod
    def of(cls, number: int, owner_id: int | None, since: int | None) -> "Lock":
        """The lock whose level has that number."""
        return cls({1: "use", 2: "manage", 3: "admin", 4: "all"}.get(number, str(number)), owner_id, since)
