"""What a VM document tells of the past: its records of each stay on a host, with the times of the steps there."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element


@dataclass(frozen=True)
class Stay:
    """One HISTORY record: a stay on a host. Times are seconds since the epoch, 0 for never or not told.

    ``begin`` and ``end`` (STIME, ETIME) bound all of it. The prolog makes the disks ready, ``running`` begins when the
    hypervisor is asked to boot the machine (OpenNebula has no time for the end of that), the epilog puts the disks away.
    The pool's short documents have the host and no times.
    """

    host: str = ""
    begin: int = 0
    end: int = 0
    prolog: tuple[int, int] = (0, 0)
    running: tuple[int, int] = (0, 0)
    epilog: tuple[int, int] = (0, 0)
    action: int = 0

    @property
    def last(self) -> int:
        """The latest time of the record; 0 where it has none."""
        return max(self.begin, self.end, *self.prolog, *self.running, *self.epilog)


def stays(document: Element) -> tuple[Stay, ...]:
    """The records in the order in which they happened."""
    return tuple(_stay(element) for element in document.iterfind("HISTORY_RECORDS/HISTORY"))


def _stay(element: Element) -> Stay:
    def time(tag: str) -> int:
        text = (element.findtext(tag) or "").strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0

    return Stay(
        host=(element.findtext("HOSTNAME") or "").strip(),
        begin=time("STIME"),
        end=time("ETIME"),
        prolog=(time("PSTIME"), time("PETIME")),
        running=(time("RSTIME"), time("RETIME")),
        epilog=(time("ESTIME"), time("EETIME")),
        action=time("ACTION"),
    )
