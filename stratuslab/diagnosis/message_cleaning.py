"""Cleans the server's message about an instance: removes script names, dates and markers, and keeps the failed step."""

import re
from typing import NamedTuple

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DATE = re.compile(rf"\w{{3}} ({'|'.join(_MONTHS)}) (\d\d?) (\d\d):(\d\d):(\d\d) (\d{{4}}) ?:? ?")
# The steps of an instance's life, with the drivers' names of the actions that fail there, and with the words for them that the
# core has up to 5.12.
_STEPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("BOOT", "DEPLOY RESTORE RESCHED", ("deploying virtual machine", "restoring VM")),
    ("SAVE", "SAVE", ("saving VM state",)),
    ("MIGRATE", "MIGRATE", ("live migrating VM",)),
    ("SHUTDOWN", "SHUTDOWN CANCEL", ("shutting down VM", "shuting down VM", "canceling VM")),  # 3.x writes "shuting"
    (
        "RUNNING",
        "REBOOT POLL",
        ("rebooting VM, assume it's still running", "rebooting-hard VM, assume it's still running", "monitoring VM"),
    ),
    (
        "HOTPLUG",
        "ATTACHDISK DETACHDISK ATTACHNIC DETACHNIC",
        ("attaching new VM Disk", "detaching VM Disk", "attaching new VM NIC", "detaching VM NIC"),
    ),
    ("PROLOG", "TRANSFER CLONE PROLOG", ()),
    ("EPILOG", "EPILOG", ()),
)
_ACTIONS = {action: step for step, actions, _ in _STEPS for action in actions.split()}
_ERRORS = {error: step for step, _, errors in _STEPS for error in errors}
_ACTION = re.compile(rf"(?:LOG I \d+ )?(?P<action>{'|'.join(_ACTIONS)})(?: (?:FAILURE|RESULT FAILURE) \d+)?\s?:?\s")
_ERROR = re.compile(rf"Error (?P<error>{'|'.join(map(re.escape, _ERRORS))})(?: :|:|$)\s?")
# 3.x writes "excuting".
_TRANSFER = re.compile(r"Error exe?cuting image transfer script\s?:?\s?", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:ERROR MESSAGE -{1,40} ?8<-{1,40}|-{1,40} ?8<-{1,40}|\[HOST\]|\[DS\]|\[DATASTORE\]|\[VNET\]|\[NIC\]"
    r"|(?:ERROR|INFO|WARNING) ?:|Message received ?:)\s?",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    r" ?(?:\.{3} ?see more details in VM log|See (?:the )?VM log(?: for (?:more )?details)?\.?"
    r"|(?:ERROR MESSAGE )?-{1,40} ?>8-{1,40}|ExitCode: \d+) ?\Z",
    re.IGNORECASE,
)
_NOISE = (_LEADING, _TRANSFER, _ERROR, _ACTION)
_TAIL = 160  # characters to search for such an end
_BETWEEN = re.compile(r"ERROR MESSAGE -{1,40} ?8<-{1,40}(.*?)(?:ERROR MESSAGE -{1,40} ?>8-{1,40}|\Z)", re.IGNORECASE)
_END = "ERROR MESSAGE ------>8--"
_LONGEST = 1 << 14  # characters of a message to read, half of them at its end; real ones have a few hundred


class ServerMessage(NamedTuple):
    """A server's message: its ``text`` on one line, and the ``step`` that it names (the first word of an LCM_STATE, or empty).

    ``date`` is the date before it: year, month, day, hour, minute, second of the server's clock in its unknown time zone, or
    None.
    """

    text: str = ""
    step: str = ""
    date: tuple[int, int, int, int, int, int] | None = None


def clean(text: str) -> ServerMessage:
    """The message in USER_TEMPLATE/ERROR, TEMPLATE/ERROR/MESSAGE or SCHED_MESSAGE without its usual noise."""
    if not text:
        return ServerMessage()
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    # On one line from the start, so that no pattern meets a long run of blanks.
    step, rest = "", " ".join(text.split())
    date = None
    if found := _DATE.match(rest):
        month, *numbers = found.groups()
        day, hour, minute, second, year = map(int, numbers)
        date = (year, _MONTHS.index(month) + 1, day, hour, minute, second)
        rest = rest[found.end() :]
    if between := _BETWEEN.search(rest):
        # The driver's message is between the markers; before them the core names the script.
        step = _step(rest[: between.start()])
        rest = between[1].strip()
    begin = 0
    while found := next((found for noise in _NOISE if (found := noise.match(rest, begin))), None):
        step = step or _named(found)
        begin = found.end()
    return ServerMessage(_without_end(rest[begin:].strip()), step, date)


def _without_end(text: str) -> str:
    """The text without what servers append. They shorten long messages and say so; that stays visible, unless only the driver's
    end marker was cut off."""
    end, is_cut = len(text), False
    while found := _TRAILING.search(text, max(end - _TAIL, 0), end):
        is_cut = is_cut or "see more details" in found[0]
        end = found.start()
    before, error, after = text[:end].rpartition("ERROR")
    if is_cut and error and _END.startswith(error + after):
        return before.rstrip()
    return text[:end] + "..." if is_cut else text[:end].rstrip()


def _named(found: re.Match[str]) -> str:
    """The step that the match stands for; empty if it names none."""
    if found.re is _TRANSFER:
        return "TRANSFER"
    if found.re is _ERROR:
        return _ERRORS[found["error"]]
    return _ACTIONS[found["action"]] if found.re is _ACTION else ""


def _step(text: str) -> str:
    found = _TRANSFER.search(text) or _ERROR.search(text) or _ACTION.search(text)
    return _named(found) if found else ""
