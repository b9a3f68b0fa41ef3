"""The server versions that the embedded cloud can behave like, in one table.

The facts are from the servers' sources and from recordings. All of them accept the templates of all versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from stratuslab.local.engine.server_rules import LENIENT, ServerRules, Verb
from stratuslab.opennebula.states import Lcm, State, has_failed


def _actions(table: str) -> dict[str, Verb]:
    """The actions in a table, each with its verb if that has another name."""
    pairs = (word.partition("=") for word in table.split())
    return {name: Verb[verb or name.upper().replace("-", "_")] for name, _, verb in pairs}


_COMMON = "reboot hold release resume suspend stop"
_OF_3 = _actions(
    f"{_COMMON} shutdown=SHUTDOWN_RUNNING cancel finalize=DELETE resume=RESUME_SAVED restart resubmit=RECREATE",
)
_SINCE_4 = f"{_COMMON} poweroff poweroff-hard reboot-hard undeploy undeploy-hard=UNDEPLOY"
_OF_4 = _actions(f"{_SINCE_4} shutdown shutdown-hard delete delete-recreate=RECREATE poweroff-hard=POWEROFF_HARD_5")
_OF_5 = _actions(f"{_SINCE_4} terminate terminate-hard=TERMINATE_HARD_5 poweroff-hard=POWEROFF_HARD_5")
_SINCE_6 = _actions(f"{_SINCE_4} terminate terminate-hard")


@dataclass(frozen=True)
class ServerProfile:
    """A server version.

    ``version`` is the answer of one.system.version, if it has that. ``actions`` are those of one.vm.action by name, ``aliases``
    older names. ``listed`` are the attributes of USER_TEMPLATE in one.vmpool.info, None if all. ``rules`` are for the engine.
    """

    name: str
    version: str
    actions: Mapping[str, Verb]
    listed: tuple[str, ...] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    rules: ServerRules = field(default_factory=ServerRules)

    @cached_property
    def number(self) -> tuple[int, ...]:
        """The release as numbers, for comparison."""
        return tuple(map(int, self.version.split(".")))

    @property
    def release(self) -> int:
        """The number of the major release."""
        return self.number[0]

    @property
    def legacy(self) -> bool:
        """Whether it is 3.x: usage directly below VM, errors and user attributes below TEMPLATE, STATE 7 for failed, and listings
        by ranges of ids instead of pages."""
        return self.release < 4

    def shown_state(self, state: int, lcm_state: int) -> tuple[int, int]:
        """STATE and LCM_STATE as in this version's documents."""
        if self.legacy and has_failed(state, lcm_state):
            return State.FAILED, Lcm.LCM_INIT
        if self.legacy and lcm_state == Lcm.CLEANUP_DELETE:
            return state, 15  # 3.x: DELETE
        return state, lcm_state

    def tag(self, method: str) -> str:
        """The name in brackets before the message of a failed answer to the method, up to 4.14 like VirtualMachinePoolInfo."""
        if self.release >= 5:
            return method
        kind, _, verb = method.removeprefix("one.").partition(".")
        name = kind.removesuffix("pool")
        words = {"vm": "VirtualMachine", "vn": "VirtualNetwork", "update": "UpdateTemplate"}
        return words.get(name, name.title()) + "Pool" * (name != kind) + words.get(verb, verb.title())


# The attributes of USER_TEMPLATE in short listings, in this order. The token of a request is not among them.
_FOR_SCHEDULER = (
    *("SCHED_RANK", "SCHED_DS_RANK", "SCHED_REQUIREMENTS", "SCHED_DS_REQUIREMENTS"),
    *("USER_PRIORITY", "PUBLIC_CLOUD", "SCHED_ACTION"),
)
_LISTED_SINCE_5_8 = ("LABELS", *_FOR_SCHEDULER)
_LISTED_SINCE_6 = ("LABELS", "ERROR", "SCHED_MESSAGE", *_FOR_SCHEDULER)

_3_2 = ServerRules(
    name_characters="", escapes=False, first_line=1, context_filled=False, empty_swap=True, sources=True, restricted=frozenset()
)
_STRATUSLAB = ServerProfile("stratuslab-3", "3.2.1", _OF_3, rules=_3_2)

SERVER_PROFILES = {
    profile.name: profile
    for profile in (
        ServerProfile(
            "opennebula-7",
            "7.4.0",
            _SINCE_6,
            listed=_LISTED_SINCE_6,
            rules=ServerRules(name_characters=f"{ServerRules.name_characters}\t\n\v\f\r"),
        ),
        ServerProfile("opennebula-6", "6.8.0", _SINCE_6, listed=_LISTED_SINCE_6),
        ServerProfile(
            "opennebula-5",
            "5.12.0.4",
            _OF_5,
            listed=_LISTED_SINCE_5_8,
            aliases={"shutdown": "terminate", "shutdown-hard": "terminate-hard", "delete": "terminate-hard"},
        ),
        ServerProfile(
            "opennebula-4",
            "4.14.2",
            _OF_4,
            aliases={"cancel": "shutdown-hard", "finalize": "delete", "resubmit": "delete-recreate", "reset": "reboot-hard"},
            rules=ServerRules(escapes=False, first_line=1),
        ),
        _STRATUSLAB,
    )
}
DEFAULT_PROFILE = SERVER_PROFILES["opennebula-7"]
_PLAIN_3_2 = replace(_3_2, sources=False, restricted=frozenset(["RANK", "DISK/SOURCE", "NIC/MAC"]))
PLAIN_3 = replace(_STRATUSLAB, name="opennebula-3", rules=_PLAIN_3_2)
"""OpenNebula 3.2 without StratusLab. Not offered, as it refuses what our client sends for ordinary users."""
EMBEDDED = replace(DEFAULT_PROFILE, name="local", actions={**_SINCE_6, "terminate-hard": Verb.DELETE}, rules=LENIENT)
"""The endpoint ``local``: like 7.4, but SOURCE can name images of any Marketplace and volumes, names can have any character, and
instances can be killed in every state, for example during a long download."""
