"""What differs between the families of servers that the embedded cloud can stand in for, in one table.

Facts are those of the servers' own sources and recordings; the templates of all dialects are taken by each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from stratuslab.opennebula.states import Lcm, State, has_failed


class Verb(Enum):
    """What an action does to an instance, whatever name a version has for it."""

    TERMINATE = "terminate"
    TERMINATE_HARD = "terminate-hard"
    POWEROFF = "poweroff"
    POWEROFF_HARD = "poweroff-hard"
    REBOOT = "reboot"
    REBOOT_HARD = "reboot-hard"
    HOLD = "hold"
    RELEASE = "release"
    RESUME = "resume"
    SUSPEND = "suspend"
    STOP = "stop"
    UNDEPLOY = "undeploy"


_COMMON = {
    "reboot": Verb.REBOOT,
    "hold": Verb.HOLD,
    "release": Verb.RELEASE,
    "resume": Verb.RESUME,
    "suspend": Verb.SUSPEND,
    "stop": Verb.STOP,
}
_SINCE_4 = {
    **_COMMON,
    "poweroff": Verb.POWEROFF,
    "poweroff-hard": Verb.POWEROFF_HARD,
    "reboot-hard": Verb.REBOOT_HARD,
    "undeploy": Verb.UNDEPLOY,
    "undeploy-hard": Verb.UNDEPLOY,
    "delete": Verb.TERMINATE_HARD,
}


@dataclass(frozen=True)
class Flavour:
    """A family of servers.

    ``version`` is the release; one.system.version answers it where that call exists. ``failure_length`` counts the elements of a
    failed answer. ``legacy`` has the 3.x documents: live figures directly below VM, what went wrong below TEMPLATE/ERROR,
    attributes that the server does not know below TEMPLATE, STATE 7 for what failed, and names such as
    ``[VirtualMachineInfo]`` before a message. ``listed`` names what the documents of one.vmpool.info keep of USER_TEMPLATE;
    None where they are whole. Listings come oldest first up to 4.14, and 3.2 has ranges of ids in place of pages.
    """

    name: str
    version: str
    failure_length: int
    actions: Mapping[str, Verb]
    legacy: bool = False
    listed: tuple[str, ...] | None = None
    method_names: bool = True
    newest_first: bool = True
    pages: bool = True

    @property
    def number(self) -> tuple[int, ...]:
        """The release for comparison."""
        return tuple(map(int, self.version.split(".")))

    def shown_state(self, state: int, lcm_state: int) -> tuple[int, int]:
        """STATE and LCM_STATE as documents of this family have them."""
        if self.legacy and has_failed(state, lcm_state):
            return State.FAILED, Lcm.LCM_INIT
        if self.legacy and lcm_state == Lcm.CLEANUP_DELETE:
            return state, 15  # 3.x: DELETE
        return state, lcm_state

    def tag(self, method: str) -> str:
        """What stands in brackets before the message of a failed answer to the method."""
        return method if self.method_names else _TAGS.get(method, method)


# What versions before 5.0 put before a message.
_TAGS = {
    "one.vm.allocate": "VirtualMachineAllocate",
    "one.vm.info": "VirtualMachineInfo",
    "one.vm.action": "VirtualMachineAction",
    "one.vmpool.info": "VirtualMachinePoolInfo",
    "one.imagepool.info": "ImagePoolInfo",
    "one.image.info": "ImageInfo",
    "one.vnpool.info": "VirtualNetworkPoolInfo",
    "one.vn.info": "VirtualNetworkInfo",
    "one.user.info": "UserInfo",
    "one.hostpool.info": "HostPoolInfo",
}

_WITH_TERMINATE = {**_SINCE_4, "terminate": Verb.TERMINATE, "terminate-hard": Verb.TERMINATE_HARD}
_OF_3 = {
    **_COMMON,
    "shutdown": Verb.TERMINATE,
    "cancel": Verb.TERMINATE_HARD,
    "finalize": Verb.TERMINATE_HARD,
    "restart": Verb.RESUME,
}
# What the short documents of a listing keep of USER_TEMPLATE, in this order: no token of ours is among it.
_FOR_SCHEDULER = (
    *("SCHED_RANK", "SCHED_DS_RANK", "SCHED_REQUIREMENTS", "SCHED_DS_REQUIREMENTS"),
    *("USER_PRIORITY", "PUBLIC_CLOUD", "SCHED_ACTION"),
)
_LISTED_SINCE_5_8 = ("LABELS", *_FOR_SCHEDULER)
_LISTED_SINCE_6 = ("LABELS", "ERROR", "SCHED_MESSAGE", *_FOR_SCHEDULER)

FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour("opennebula-7", "7.4.0", 5, _WITH_TERMINATE, listed=_LISTED_SINCE_6),
        Flavour("opennebula-6", "6.8.0", 5, _WITH_TERMINATE, listed=_LISTED_SINCE_6),
        Flavour(
            "opennebula-5",
            "5.12.0.4",
            5,
            {**_WITH_TERMINATE, "shutdown": Verb.TERMINATE, "shutdown-hard": Verb.TERMINATE_HARD},
            listed=_LISTED_SINCE_5_8,
        ),
        Flavour(
            "opennebula-4",
            "4.14.2",
            3,
            {
                **_SINCE_4,
                "shutdown": Verb.TERMINATE,
                "shutdown-hard": Verb.TERMINATE_HARD,
                "cancel": Verb.TERMINATE_HARD,
                "finalize": Verb.TERMINATE_HARD,
            },
            method_names=False,
            newest_first=False,
        ),
        Flavour("stratuslab-3", "3.2.1", 3, _OF_3, legacy=True, method_names=False, newest_first=False, pages=False),
    )
}
DEFAULT_FLAVOUR = FLAVOURS["opennebula-7"]
