"""The server's own words on an instance, without the noise that its parts put around them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DATE = re.compile(
    rf"\w{{3}}\s+(?P<month>{'|'.join(_MONTHS)})\s+(?P<day>\d\d?)\s+(?P<time>\d\d:\d\d:\d\d)\s+(?P<year>\d{{4}})\s*:?\s*"
)
# What drivers call the actions at which they fail, and the step of an instance's life that this is.
_ACTIONS = {
    "DEPLOY": "BOOT",
    "RESTORE": "BOOT",
    "RESCHED": "BOOT",
    "SAVE": "SAVE",
    "MIGRATE": "MIGRATE",
    "SHUTDOWN": "SHUTDOWN",
    "CANCEL": "SHUTDOWN",
    "REBOOT": "RUNNING",
    "POLL": "RUNNING",
    "ATTACHDISK": "HOTPLUG",
    "DETACHDISK": "HOTPLUG",
    "ATTACHNIC": "HOTPLUG",
    "DETACHNIC": "HOTPLUG",
    "TRANSFER": "PROLOG",
    "CLONE": "PROLOG",
    "EPILOG": "EPILOG",
    "PROLOG": "PROLOG",
}
_ACTION = re.compile(rf"(?:LOG I \d+ )?(?P<action>{'|'.join(_ACTIONS)})(?: (?:FAILURE|RESULT FAILURE) \d+)?\s*:?\s+")
_TRANSFER = re.compile(r"Error executing image transfer script\s*:?\s*", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:ERROR MESSAGE -+\s*8<-+|-+\s*8<-+|\[HOST\]|\[DATASTORE\]|\[NIC\]|(?:ERROR|INFO|WARNING)\s*:|Message received\s*:)\s*",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    r"\s*(?:\.{3}\s*see more details in VM log|See (?:the )?VM log(?: for (?:more )?details)?\.?"
    r"|(?:ERROR MESSAGE )?-+\s*>8-+|ExitCode: \d+)\s*\Z",
    re.IGNORECASE,
)
_BETWEEN = re.compile(r"ERROR MESSAGE -+\s*8<-+(.*?)(?:ERROR MESSAGE -+\s*>8-+|\Z)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Message:
    """A server's message: its ``text`` on one line, the ``step`` that it names (as an LCM_STATE's first word; may be empty).

    ``date`` is what stood before it: year, month, day, hour, minute, second of the server's own clock, in a time zone that
    it does not tell; None where there was none.
    """

    text: str = ""
    step: str = ""
    date: tuple[int, int, int, int, int, int] | None = None


def clean(text: str) -> Message:
    """The message in USER_TEMPLATE/ERROR, TEMPLATE/ERROR/MESSAGE or SCHED_MESSAGE without what every message has."""
    step, rest = "", text.strip()
    date = None
    found = _DATE.match(rest)
    if found:
        day = (int(found["year"]), _MONTHS.index(found["month"]) + 1, int(found["day"]))
        hour, minute, second = map(int, found["time"].split(":"))
        date = (*day, hour, minute, second)
        rest = rest[found.end() :]
    if between := _BETWEEN.search(rest):
        # What the driver says is between the markers; before them the core says which script it was.
        step = _step(rest[: between.start()])
        rest = between[1]
    while True:
        before = rest
        rest = _LEADING.sub("", rest, count=1) if _LEADING.match(rest) else rest
        if _TRANSFER.match(rest):
            step = step or "TRANSFER"
            rest = _TRANSFER.sub("", rest, count=1)
        elif action := _ACTION.match(rest):
            step = step or _ACTIONS[action["action"]]
            rest = rest[action.end() :]
        if rest == before:
            break
    while (shorter := _TRAILING.sub("", rest)) != rest:
        # The server cuts long messages short, and says so; the cut stays visible.
        rest = shorter + ("..." if "see more details" in rest[len(shorter) :] else "")
    return Message(" ".join(rest.split()), step, date)


def _step(text: str) -> str:
    if _TRANSFER.search(text):
        return "TRANSFER"
    found = _ACTION.search(text)
    return _ACTIONS[found["action"]] if found else ""
