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

    ``version`` is what one.system.version answers; empty where that call does not exist. ``failure_length`` counts the
    elements of a failed answer. ``legacy`` has the 3.x documents: live figures directly below VM, what went wrong below
    TEMPLATE/ERROR, attributes that the server does not know below TEMPLATE, STATE 7 for what failed, full bodies and oldest
    first in the pool, and names such as ``[VirtualMachineInfo]`` before a message.
    """

    name: str
    version: str
    failure_length: int
    actions: Mapping[str, Verb]
    legacy: bool = False
    short_pool: bool = True
    method_names: bool = True

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

FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            "opennebula-7",
            "7.4.0",
            5,
            {**_SINCE_4, "terminate": Verb.TERMINATE, "terminate-hard": Verb.TERMINATE_HARD},
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
            short_pool=False,
            method_names=False,
        ),
        Flavour(
            "stratuslab-3",
            "",
            3,
            {
                **_COMMON,
                "shutdown": Verb.TERMINATE,
                "cancel": Verb.TERMINATE_HARD,
                "finalize": Verb.TERMINATE_HARD,
                "restart": Verb.RESUME,
            },
            legacy=True,
            short_pool=False,
            method_names=False,
        ),
    )
}
DEFAULT_FLAVOUR = FLAVOURS["opennebula-7"]
