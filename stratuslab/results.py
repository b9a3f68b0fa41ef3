"""What commands answer: facts, without a layout. How they look is the business of :mod:`stratuslab.output`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stratuslab.diagnosis.explanation import Explanation
    from stratuslab.diagnosis.timeline import Span
    from stratuslab.instance_types import InstanceType
    from stratuslab.opennebula.instance import Instance


@dataclass(frozen=True)
class Line:
    """A line of text that is the answer by itself, such as an URL."""

    text: str


@dataclass(frozen=True)
class TypeList:
    """The instance types, and the name of the one that is selected."""

    types: Sequence[InstanceType]
    selected: str


@dataclass(frozen=True)
class InstanceRow:
    """One instance in the table.

    ``memory_kib`` and ``cpu_percent`` are live figures (None where there are none), ``places`` the names or addresses at which
    it is found, ``note`` why it failed or waits (empty where there is nothing to say), ``cloud`` the name of its cloud where
    several are asked. ``instance`` is what all else is read from when it is asked for (None: nothing but the id is known).
    ``explanation`` is there where reasons were asked for and the instance is not up.
    """

    id: int
    state: str = ""
    vcpu: int | None = None
    memory_kib: int | None = None
    cpu_percent: float | None = None
    places: Sequence[str] = ()
    name: str = ""
    note: str = ""
    cloud: str = ""
    instance: Instance | None = None
    explanation: Explanation | None = None

    @classmethod
    def of(cls, instance: Instance, names: Mapping[str, str] | None = None, cloud: str = "") -> InstanceRow:
        """The row of an instance; ``names`` has the host names of addresses, as far as they have one."""
        return cls(
            id=instance.id,
            state=instance.state_label,
            vcpu=instance.vcpu,
            memory_kib=instance.memory_kib,
            cpu_percent=instance.cpu_percent,
            places=[(names or {}).get(address, address) for address in instance.addresses],
            name=instance.name,
            note=instance.message,
            cloud=cloud,
            instance=instance,
        )


@dataclass(frozen=True)
class Listing:
    """Rows in the order to show them; what they are about is said by the command's :class:`stratuslab.output.columns.RowKind`."""

    rows: Sequence[Any]


@dataclass(frozen=True)
class Watched:
    """The instances as they are now, in place of those that were told before."""

    rows: Sequence[InstanceRow]


@dataclass(frozen=True)
class InstanceDetails:
    """All that is known of one instance: ``steps`` of its life until ``now`` (seconds since the epoch), the last lines of its
    ``console`` where they can be read, and whether the ``whole`` document is to be shown."""

    instance: Instance
    explanation: Explanation | None
    steps: Sequence[Span]
    now: float
    console: Sequence[str] = ()
    whole: bool = False


@dataclass(frozen=True)
class LaunchBegins:
    """So many machines are about to be started."""

    count: int


@dataclass(frozen=True)
class Launched:
    """One machine was started: its place in the order (from 1), network and address (empty where it has none), and what is
    known of it."""

    place: int
    network: str
    address: str
    row: InstanceRow

    @property
    def id(self) -> int:
        return self.row.id


@dataclass(frozen=True)
class Awaited:
    """A machine that was started, as it is after it was waited for."""

    row: InstanceRow


@dataclass(frozen=True)
class LaunchEnds:
    """All machines were started."""


@dataclass(frozen=True)
class Plan:
    """What would be started: so many machines of an image on a cloud, their names (empty where the cloud gives them) and
    labels, and the template that would be sent for each, secrets masked; just one where all are the same."""

    cloud: str
    image: str
    count: int
    names: Sequence[str]
    labels: Sequence[str]
    templates: Sequence[str]


@dataclass(frozen=True)
class Ended:
    """An instance was killed, or asked to shut down; the row is what is known of it after that."""

    row: InstanceRow


@dataclass(frozen=True)
class SettingRow:
    """A setting: its value (a secret's is masked) and where that came from; both are empty where it is not set."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Checked:
    """The cloud answers, and lets the user in; its version is empty where it cannot say."""

    cloud: str
    version: str
    user: str


@dataclass(frozen=True)
class Problem:
    """What went wrong, for answers that hold errors too: the exit status that it has by itself, and the error's two parts."""

    status: int
    message: str
    hint: str = ""


Answer = (
    Line
    | TypeList
    | LaunchBegins
    | Launched
    | LaunchEnds
    | Awaited
    | Listing
    | Watched
    | InstanceDetails
    | Ended
    | Plan
    | Checked
)
