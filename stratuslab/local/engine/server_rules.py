"""The rules of a server version that the engine follows: which templates it refuses, and its actions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verb(Enum):
    """What an action does to an instance. Versions use one name for different things, so there are more verbs than names."""

    TERMINATE = "terminate"  # since 5.0
    TERMINATE_HARD = "terminate-hard"
    TERMINATE_HARD_5 = "terminate-hard of 5.x"  # not while it shuts down
    SHUTDOWN = "shutdown"  # 4.x
    SHUTDOWN_HARD = "shutdown-hard"
    SHUTDOWN_RUNNING = "shutdown of running"  # 3.x
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
    RESUME_SAVED = "resume of saved"  # 3.x
    RESTART = "restart"
    SUSPEND = "suspend"
    STOP = "stop"
    UNDEPLOY = "undeploy"


@dataclass(frozen=True)
class ServerRules:
    r"""``name_characters`` are forbidden in names of instances. With ``escapes`` ``\$`` in CONTEXT is kept; ``first_line`` is the
    number of the first line in error messages there. Up to 3.x the server adds nothing to CONTEXT (not ``context_filled``), and
    a swap disk of size 0 fails in the prolog (``empty_swap``); later servers refuse it. With ``sources``, which is StratusLab's
    own, SOURCE can name an image of the Marketplace or a volume. ``restricted`` attributes are for administrators only.
    """

    name_characters: str = "&|:\\\";/'#{}$<>"
    escapes: bool = True
    first_line: int = 0
    context_filled: bool = True
    empty_swap: bool = False
    sources: bool = False
    restricted: frozenset[str] = frozenset(["NIC/MAC"])


LENIENT = ServerRules(name_characters="", sources=True)
"""For the endpoint ``local``: refuses only what cannot be done."""
