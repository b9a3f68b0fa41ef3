"""The record of an instance, and of a user."""

from __future__ import annotations

from dataclasses import dataclass, field

from stratuslab.opennebula.states import Lcm, State
from stratuslab.opennebula.template_grammar import Attribute, HasAttributes


@dataclass(frozen=True)
class User:
    """A user of the cloud. Number 0 is the administrator."""

    id: int
    name: str

    @property
    def is_administrator(self) -> bool:
        return self.id == 0

    @property
    def group(self) -> tuple[int, str]:
        """Number and name of the group."""
        return (0, "oneadmin") if self.is_administrator else (1, "users")


ADMINISTRATOR = User(0, "oneadmin")

SIMULATED = "simulated"
QEMU = "qemu"
"""The names of the drivers, in the store and in documents."""

DEFAULT_PERMISSIONS = "110000000"
"""Use, manage and administer: for the owner, the group and others."""


@dataclass
class Record(HasAttributes):
    """One instance in the store. Times are seconds since the epoch, 0 for never. Only an ACTIVE one has an ``lcm_state``.

    ``cpu`` and ``memory_mib`` are its share of the host, ``disk_mib`` the space that real disks take when they are full.
    ``attributes`` is the completed template, sorted by name; ``user_attributes`` what the server does not know of it.
    ``prolog_error`` says why the prolog must fail, ``message`` why the instance failed, ``sched_message`` why it is pending.
    ``ssh_address`` and ``ssh_port`` are where its SSH server listens. ``listed_usage`` has cpu_percent, memory_kib and polled of
    the last change of state, which servers since 5.8 list. ``lock`` has the level, the owner and the time of a lock.
    ``permissions`` are nine digits (use, manage and admin; for the owner, the group and others), empty for the default.
    """

    id: int
    uid: int
    name: str
    state: int
    lcm_state: int
    cpu: float
    memory_mib: int
    image: str
    prolog_error: str
    attributes: list[Attribute]
    user_attributes: list[Attribute]
    history: list[dict[str, int]] = field(default_factory=list)
    stime: int = 0
    etime: int = 0
    message: str = ""
    message_time: int = 0
    sched_message: str = ""
    ssh_address: str = ""
    ssh_port: int = 0
    cpu_percent: float = 0.0
    memory_kib: int = 0
    polled: int = 0
    hypervisor: str = SIMULATED
    disk_mib: int = 0
    listed_usage: dict[str, float] = field(default_factory=dict)
    lock: dict[str, int] = field(default_factory=dict)
    permissions: str = ""
    owner: str = ""

    @property
    def state_name(self) -> str:
        """The state's name in OpenNebula's messages, such as ``RUNNING`` or ``PENDING``."""
        return Lcm(self.lcm_state).name if self.state == State.ACTIVE else State(self.state).name

    def enter(self, lcm_state: Lcm) -> None:
        self.leave_active(State.ACTIVE)
        self.lcm_state = lcm_state

    def leave_active(self, state: State) -> None:
        self.state, self.lcm_state = state, Lcm.LCM_INIT
        if self.polled:
            self.listed_usage = {"cpu_percent": self.cpu_percent, "memory_kib": self.memory_kib, "polled": self.polled}
