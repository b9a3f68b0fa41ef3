"""Why an instance is not up, as a sentence."""

from __future__ import annotations

from stratuslab.diagnosis.explanation import Explanation, ExplanationKind
from stratuslab.opennebula.instance import Instance
from stratuslab.output.redaction import masked_text
from stratuslab.output.safe_text import one_line
from stratuslab.output.time_format import duration

# What happens at a step, by the first word of its name.
_FAILED_WHILE = {
    "PROLOG": "while preparing its disks",
    "BOOT": "while the hypervisor was starting it",
    "EPILOG": "while saving or removing its disks",
    "CLONING": "while cloning its disks",
    "SAVE": "while saving its memory",
    "MIGRATE": "while moving to another host",
    "SHUTDOWN": "while shutting down",
    "HOTPLUG": "while a device was attached or detached",
    "RUNNING": "while it ran, as its host reported",
}
_WAITS = {
    "PENDING": "waits for a host",
    "CLONING": "waits until its disks are cloned",
}
_AWAY = {
    "POWEROFF": "powered off",
    "SUSPENDED": "suspended",
    "STOPPED": "stopped",
    "UNDEPLOYED": "undeployed",
}
# The state that a machine leaving its host will be in, by the end of its LCM_STATE's name; others are shut down.
_GOING = (
    ("SUSPEND", "is being suspended"),
    ("SUSPENDED", "is suspended"),
    ("STOP", "is being stopped"),
    ("STOPPED", "is stopped"),
    ("UNDEPLOY", "is being undeployed"),
    ("UNDEPLOYED", "is undeployed"),
    ("HOTPLUG_PROLOG_POWEROFF", "is powered off"),
    ("HOTPLUG_EPILOG_POWEROFF", "is powered off"),
    ("SHUTDOWN_POWEROFF", "is being powered off"),
    ("POWEROFF", "is powered off"),
    ("RESTORE", "is powered off while its disks are being restored"),
)
_KILL = "kill it to release its resources"
_TRY_AGAIN = ". Kill it and try again; if it happens again, show this to the cloud's administrator"


def reason(explanation: Explanation) -> str:
    """The explanation as a sentence on one line, safe for a terminal and without secrets."""
    return one_line(masked_text(_story(explanation)))


def _story(explanation: Explanation) -> str:
    match explanation.kind:
        case ExplanationKind.FAILED:
            return _failed(explanation)
        case ExplanationKind.WAITING:
            return _waits(explanation)
        case ExplanationKind.GONE:
            return _gone(explanation)
        case ExplanationKind.REFUSED:
            return f"runs; the cloud could not shut it down{_when(explanation)}: {_because(explanation)}"
        case ExplanationKind.LOCKED:
            return _locked(explanation)
        case ExplanationKind.UNREADABLE:
            return f"cannot be shown: the cloud's description of it is not well-formed ({explanation.message})"


def away(instance: Instance) -> str:
    """The state of an instance that does not run and will not run, if there is no explanation for it."""
    return next((words for end, words in _GOING if instance.state_label.upper().endswith(end)), "is being shut down")


def _failed(explanation: Explanation) -> str:
    host = f" on {explanation.host}" if explanation.host else ""
    while_ = _FAILED_WHILE.get(explanation.step.split("_")[0])
    step = f" {while_} ({explanation.step.lower()})" if while_ else ""
    because = _because(explanation, "the cloud gave no reason")
    return f"failed{host}{_when(explanation)}{step}: {because}{'' if explanation.cause else _TRY_AGAIN}"


def _waits(explanation: Explanation) -> str:
    if explanation.step == "HOLD":
        return f"{_state('on hold', explanation)}: release it with onevm release, or {_KILL}"
    because = f": {_because(explanation)}" if explanation.message else ""
    return f"{_WAITS[explanation.step]}{_since(explanation)}{because}"


def _gone(explanation: Explanation) -> str:
    ago = _when(explanation)
    if explanation.step == "DONE":
        failure = f". It had failed: {_because(explanation)}" if explanation.message else ""
        return f"ended{ago}; its resources are released{failure}"
    if explanation.step == "UNKNOWN":
        last_seen = f" (last seen{ago})" if ago else ""
        host = f"host {explanation.host}" if explanation.host else "its host"
        if explanation.message:
            return f"is no longer seen by {host}{last_seen}: {_because(explanation)}"
        return f"is no longer seen by {host}{last_seen}; it has probably shut down. Start it again, or {_KILL}"
    return f"{_state(_AWAY[explanation.step], explanation)}; it keeps its disks and addresses: start it again, or {_KILL}"


def _locked(explanation: Explanation) -> str:
    lock = explanation.lock
    by = "" if lock is None or lock.owner_id is None else f" by user {lock.owner_id}"
    assert explanation.cause is not None
    return f"{_state(f'locked{by}', explanation)}: {explanation.cause.advice}"


def _when(explanation: Explanation) -> str:
    return f" {duration(explanation.ago)} ago" if explanation.ago is not None else ""


def _state(words: str, explanation: Explanation) -> str:
    return f"is {words}" if explanation.ago is None else f"has been {words}{_since(explanation)}"


def _since(explanation: Explanation) -> str:
    return f" for {duration(explanation.ago)}" if explanation.ago is not None else ""


def _because(explanation: Explanation, otherwise: str = "") -> str:
    """The server's message, followed by what it means and what to do if that is known."""
    message = f'"{explanation.message}"' if explanation.message else otherwise
    if explanation.cause is None:
        return message
    advice = explanation.cause.advice
    return f"{message}; likely cause: {explanation.cause.means}. {advice[0].upper()}{advice[1:]}"
