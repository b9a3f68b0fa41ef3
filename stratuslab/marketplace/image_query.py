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
        version = entry.os_version.lower()
        if self.status not in ("all", status_of(entry, now)):
            return False
        if self.since is not None and (entry.created or _LONG_AGO) < self.since:
            return False
        if self.os_version and not f"{version}.".startswith(f"{self.os_version.lower()}."):
            return False
        for name, value in zip(("os", "os_arch", "kind", "format"), (self.os, self.arch, self.kind, self.format), strict=True):
            if value and value.lower() != getattr(entry, name).lower():
                return False
        if self.tag and self.tag.lower() not in map(str.lower, entry.tags):
            return False
        if self.endorser.lower() not in entry.email.lower():
            return False
        if not self.words:
            return True
        text = "\n".join(
            (entry.identifier, entry.title, entry.description, entry.os, entry.os_version, entry.os_arch, entry.email)
        ).lower()
        return all(word.lower() in text for word in self.words)


_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def status_of(entry: Metadata, now: datetime) -> str:
    """``valid``, ``expired`` or ``deprecated``."""
    return "deprecated" if entry.deprecated is not None else "expired" if entry.expired(now) else "valid"
