"""What images somebody looks for, and whether an entry is about one of them."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from stratuslab.marketplace.metadata import Metadata
else:
    Metadata = object

STATUSES = ("valid", "expired", "deprecated", "all")


class ImageQuery(NamedTuple):
    """Criteria, all of which must match; an empty one matches all. Upper and lower case are the same.

    Each of the ``words`` must be part of what a Marketplace itself searches: the identifier, title, description, system or
    endorser's email (not the tag); ``endorser`` is a part of the email;
    an ``os_version`` such as 12 matches 12.5, too. ``since`` is the earliest endorsement; ``status`` is one of STATUSES.
    """

    words: Sequence[str] = ()
    os: str = ""
    os_version: str = ""
    arch: str = ""
    endorser: str = ""
    kind: str = ""
    format: str = ""
    tag: str = ""
    since: datetime | None = None
    status: str = "valid"

    def matches(self, entry: Metadata, now: datetime) -> bool:
        """Whether the entry matches at the time ``now`` (with a time zone)."""
        exact = ((self.os, entry.os), (self.arch, entry.os_arch), (self.kind, entry.kind), (self.format, entry.format))
        return (
            self.status in ("all", status_of(entry, now))
            and (self.since is None or (entry.created or _LONG_AGO) >= self.since)
            and (not self.os_version or f"{entry.os_version}.".lower().startswith(f"{self.os_version}.".lower()))
            and all(wanted.lower() in ("", said.lower()) for wanted, said in exact)
            and (not self.tag or self.tag.lower() in map(str.lower, entry.tags))
            and self.endorser.lower() in entry.email.lower()
            and (not self.words or self._has_words(entry))
        )

    def _has_words(self, entry: Metadata) -> bool:
        texts = (entry.identifier, entry.title, entry.description, entry.os, entry.os_version, entry.os_arch, entry.email)
        searched = "\n".join(texts).lower()
        return all(word.lower() in searched for word in self.words)


_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def status_of(entry: Metadata, now: datetime) -> str:
    """``valid``, ``expired`` or ``deprecated``."""
    return "deprecated" if entry.deprecated is not None else "expired" if entry.expired(now) else "valid"
