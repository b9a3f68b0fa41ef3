"""What a server lets be and what it refuses, as far as that differs: the part of a flavour that the engine goes by."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verb(Enum):
    """What an action does to an instance. One name means different things to different versions, so that there are more of
    these than names."""

    TERMINATE = "terminate"  # since 5.0
    TERMINATE_HARD = "terminate-hard"
    TERMINATE_HARD_5 = "terminate-hard of 5.x"  # not while it shuts down
    SHUTDOWN = "shutdown"  # 4.x
    SHUTDOWN_HARD = "shutdown-hard"
    SHUTDOWN_RUNNING = "shutdown of what runs"  # 3.x
    CANCEL = "cancel"
    DELETE = "delete"
    RECREATE = "delete-recreate"
    POWEROFF = "poweroff"
    POWEROFF_HARD = "poweroff-hard"
    POWEROFF_HARD_5 = "poweroff-hard up to 5.x"  # not while it powers off
    REBOOT = "reboot"
    REBOOT_HARD = "reboot-hard"
    HOLD = "hold"
    RELEASE = "release"
    RESUME = "resume"
    RESUME_SAVED = "resume of what was saved"  # 3.x
    RESTART = "restart"
    SUSPEND = "suspend"
    STOP = "stop"
    UNDEPLOY = "undeploy"


@dataclass(frozen=True)
class Rules:
    r"""``name_characters`` are not allowed in the name of an instance. ``escapes`` has ``\$`` in CONTEXT stand for itself,
    ``first_line`` is the number of the first line in messages about variables there. Up to 3.x a CONTEXT has only what was
    given (not ``context_filled``), and a swap disk of size 0 fails in the prolog (``empty_swap``); later servers refuse it.
    Disks whose SOURCE names an image of the Marketplace or a volume are StratusLab's own (``sources``). ``restricted`` are
    attributes that only administrators may give.
    """

    name_characters: str = "&|:\\\";/'#{}$<>"
    escapes: bool = True
    first_line: int = 0
    context_filled: bool = True
    empty_swap: bool = False
    sources: bool = False
    restricted: frozenset[str] = frozenset(["NIC/MAC"])


LENIENT = Rules(name_characters="", sources=True)
"""For the cloud's own commands: nothing is refused that can be done."""
