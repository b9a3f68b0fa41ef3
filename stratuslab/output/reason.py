"""Why an instance is not up, as a sentence."""

from __future__ import annotations

from stratuslab.diagnosis.explanation import Explanation, Kind
from stratuslab.output.moments import duration
from stratuslab.output.redaction import masked_text
from stratuslab.output.safety import one_line

# What happens at a step, by the first word of its name.
_FAILED_WHILE = {
    "PROLOG": "while its disks were made ready",
    "BOOT": "when the hypervisor was to start it",
    "EPILOG": "while its disks were saved or removed",
    "CLONING": "while its disks were cloned",
    "SAVE": "while its memory was saved",
    "MIGRATE": "while it moved to another host",
    "SHUTDOWN": "while it was shut down",
    "HOTPLUG": "while a device was attached or detached",
    "RUNNING": "while it ran",
}
_WAITS = {
    "PENDING": "waits for a host",
    "HOLD": "is on hold",
    "CLONING": "waits until its disks are cloned",
}
_AWAY = {
    "POWEROFF": "is switched off",
    "SUSPENDED": "is suspended",
    "STOPPED": "is stopped, its memory and disks are put aside",
    "UNDEPLOYED": "is undeployed, its disks are put aside",
}
_KILL = "kill it to release what it holds"


def reason(explanation: Explanation) -> str:
    """The explanation in plain words on one line, safe for a terminal and without secrets."""
    story = {Kind.FAILED: _failed, Kind.WAITING: _waits, Kind.GONE: _gone}[explanation.kind]
    return one_line(masked_text(story(explanation)))


def _failed(explanation: Explanation) -> str:
    while_ = _FAILED_WHILE.get(explanation.step.split("_")[0])
    step = f" {while_} ({explanation.step.lower()})" if while_ else ""
    return f"failed{_where(explanation)}{_when(explanation)}{step}: {_because(explanation, 'the cloud gives no reason')}" + (
        "" if explanation.cause else f". Kill it and try again; {_ASK}"
    )


_ASK = "if it happens again, show this to the cloud's administrator"


def _waits(explanation: Explanation) -> str:
    what = f"{_WAITS[explanation.step]}{_since(explanation)}"
    if explanation.step == "HOLD":
        return f"{what}: it waits until somebody releases it; or {_KILL}"
    because = _because(explanation, "")
    return f"{what}: {because}" if because else what


def _gone(explanation: Explanation) -> str:
    ago = _when(explanation)
    if explanation.step == "DONE":
        failure = f". It had failed: {_because(explanation, '')}" if explanation.message else ""
        return f"ended{ago}, all that it held is released{failure}"
    if explanation.step == "UNKNOWN":
        seen = f", last seen{ago}" if ago else ""
        host = f"its host {explanation.host}" if explanation.host else "its host"
        return f"is found no more by {host}{seen}: most often it has halted itself; {_KILL}"
    return f"{_AWAY[explanation.step]}{_since(explanation)}; it still holds disks and addresses: {_KILL}"


def _where(explanation: Explanation) -> str:
    return f" on {explanation.host}" if explanation.host else ""


def _when(explanation: Explanation) -> str:
    return f" {duration(explanation.ago)} ago" if explanation.ago is not None else ""


def _since(explanation: Explanation) -> str:
    return f", for {duration(explanation.ago)} now" if explanation.ago is not None else ""


def _because(explanation: Explanation, otherwise: str) -> str:
    """The server's words, and behind them what they mean and what to do, where that is known."""
    said = f'"{explanation.message}"' if explanation.message else otherwise
    if explanation.cause is None:
        return said
    return f"{said}. That is, {explanation.cause.means}: {explanation.cause.advice}"
