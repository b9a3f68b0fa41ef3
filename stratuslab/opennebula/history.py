"""The HISTORY records of a VM document: one per stay on a host, with the times of its steps."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.opennebula.document_values import count, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


class HistoryRecord(NamedTuple):
    """One HISTORY record: a stay on a host. Times are seconds since the epoch, 0 for never or unknown.

    ``begin`` and ``end`` (STIME, ETIME) bound all of it. The prolog prepares the disks, ``running`` begins when the hypervisor
    is asked to boot the machine (OpenNebula does not record the end of the boot), the epilog saves or removes the disks. The
    pool's short documents have the host but no times. ``action`` is the number of the action that began a current record or
    ended a past one (see :func:`action_name`); ``user_id`` and ``request_id`` say whose action and which request that was,
    None if the document does not say, as before 5.4. ``reason`` is the number in REASON of 3.x and 4.x: why the record ended.
    """

    host: str = ""
    begin: int = 0
    end: int = 0
    prolog: tuple[int, int] = (0, 0)
    running: tuple[int, int] = (0, 0)
    epilog: tuple[int, int] = (0, 0)
    action: int = 0
    user_id: int | None = None
    request_id: int | None = None
    reason: int = 0

    @property
    def last(self) -> int:
        """The latest time of the record; 0 if it has none."""
        return max(self.begin, self.end, *self.prolog, *self.running, *self.epilog)

    @property
    def had_error(self) -> bool:
        """Whether an error ended the record; only 3.x and 4.x note that."""
        return self.reason == 1

    @property
    def pause(self) -> str:
        """The state that the machine was put into when the record ended, such as ``suspended``; empty for none."""
        if not self.action and self.reason == 2:  # of 3.x, which has no actions: stop or suspend
            return "stopped" if self.epilog[0] else "suspended"
        return _PAUSES.get(action_name(self.action).removesuffix("-hard"), "")

    @property
    def latest_begin(self) -> int:
        """When its latest step began; 0 if it has no times. A failed step may not end before the instance is killed."""
        return max(self.begin, self.prolog[0], self.running[0], self.epilog[0])


def history_records(document: Element) -> tuple[HistoryRecord, ...]:
    """The records in the order in which they happened."""
    return tuple(_record(element) for element in document.iterfind("HISTORY_RECORDS/HISTORY"))


def _record(element: Element) -> HistoryRecord:
    def number(tag: str) -> int | None:
        return count(text(element, tag))

    def time(tag: str) -> int:
        return number(tag) or 0

    return HistoryRecord(
        host=text(element, "HOSTNAME"),
        begin=time("STIME"),
        end=time("ETIME"),
        prolog=(time("PSTIME"), time("PETIME")),
        running=(time("RSTIME"), time("RETIME")),
        epilog=(time("ESTIME"), time("EETIME")),
        action=time("ACTION"),
        user_id=number("UID"),
        request_id=number("REQUEST_ID"),
        reason=time("REASON"),
    )


class Action(IntEnum):
    """The numbers of ACTION that this package treats specially."""

    SHUTDOWN = 3
    SHUTDOWN_HARD = 4
    TERMINATE = 27
    TERMINATE_HARD = 28


_PAUSES = {"suspend": "suspended", "stop": "stopped", "poweroff": "poweroff", "undeploy": "undeployed"}

# By number, from 1. Numbers have kept their meaning since 4.2 introduced them; 5.0 replaced 3, 4 and 12 by 27 and 28.
_ACTIONS = """
migrate live-migrate shutdown shutdown-hard undeploy undeploy-hard hold release stop suspend resume boot delete
delete-recreate reboot reboot-hard resched unresched poweroff poweroff-hard disk-attach disk-detach nic-attach
nic-detach disk-snapshot-create disk-snapshot-delete terminate terminate-hard disk-resize deploy chown chmod updateconf
rename resize update snapshot-create snapshot-delete snapshot-revert disk-saveas disk-snapshot-revert recover retry
monitor disk-snapshot-rename alias-attach alias-detach poweroff-migrate poweroff-hard-migrate backup nic-update
backup-cancel sched-add sched-update sched-delete sg-attach sg-detach pci-attach pci-detach restore exec exec-retry
exec-cancel vmgroup-add vmgroup-del
"""


def action_name(number: int) -> str:
    """OpenNebula's name of an action; empty for none, ``action 99`` for an unknown number."""
    names = ["", *_ACTIONS.split()]
    return names[number] if 0 <= number < len(names) else f"action {number}"
