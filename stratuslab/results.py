"""The results that commands yield, without layout; :mod:`stratuslab.output` shows them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from stratuslab.diagnosis.explanation import Explanation
    from stratuslab.diagnosis.timeline import Span
    from stratuslab.opennebula.instance import Instance
else:  # a NamedTuple evaluates its annotations: these classes are only loaded by who makes them
    Explanation = Span = Instance = object


class TextLine(NamedTuple):
    """A line of text that needs no layout, such as a URL."""

    text: str


class InstanceFacts(NamedTuple):
    """What columns say of an instance whose document is not kept; the names and meanings are those of ``Instance``."""

    addresses: Sequence[str] = ()
    networks: Sequence[str] = ()
    hostname: str = ""
    owner: str = ""
    owner_id: int | None = None
    group: str = ""
    labels: Sequence[str] = ()
    started: int | None = None
    ended: int | None = None
    failed: bool = False
    hypervisor: str = ""
    damage: str = ""
    phase: int = 0

    @classmethod
    def of(cls, instance: Instance) -> "InstanceFacts":
        return cls(*(getattr(instance, name) for name in cls._fields))


_GONE = ("Unknown", "Done")


class InstanceRow(NamedTuple):
    """One instance in the table.

    ``memory_kib`` and ``cpu_percent`` are measured (None: not known); ``last_usage`` is what they were last, for an instance that
    is gone. ``places`` are its host names or addresses, ``note`` is what the cloud says about it (may be empty), ``cloud`` the
    name of its cloud where several are shown. The other columns are read from ``instance`` (None: nothing but the id is known):
    long listings keep no documents, but :class:`InstanceFacts`. ``explanation`` is set where reasons are shown and it is not up.
    ``age_seconds`` is the time since it was requested, until its end.
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
    instance: Instance | InstanceFacts | None = None
    explanation: Explanation | None = None
    age_seconds: int | None = None
    last_usage: tuple[int, float] = (0, 0.0)

    @classmethod
    def of(cls, instance: Instance, now: float, cloud: str = "") -> "InstanceRow":
        """The row of an instance at the time ``now``, in seconds since the epoch; its places are its addresses."""
        age = None if instance.started is None else max(int(instance.ended or now) - instance.started, 0)
        return cls(
            id=instance.id,
            state=instance.state_label,
            vcpu=instance.vcpu,
            memory_kib=instance.memory_kib,
            cpu_percent=instance.cpu_percent,
            places=instance.addresses,
            name=instance.name,
            note=instance.message,
            cloud=cloud,
            instance=instance,
            age_seconds=age,
            last_usage=(instance.last_memory_kib, instance.last_cpu_percent) if instance.state_label in _GONE else (0, 0.0),
        )


class Listing(NamedTuple):
    """Rows, in order. The command's :class:`stratuslab.output.result_columns.RowKind` says what they are about. ``detailed``
    says that details of each follow, ``continues`` that the rows belong to the listing before."""

    rows: Sequence[Any]
    detailed: bool = False
    continues: bool = False


class WatchedInstances(NamedTuple):
    """The instances as they are now: they replace those that were shown before."""

    rows: Sequence[InstanceRow]


class InstanceDetails(NamedTuple):
    """All that is known of one instance: the ``steps`` of its life until ``now`` (seconds since the epoch), the last lines of its
    ``console`` if they can be read, and whether to show the ``whole`` document."""

    instance: Instance
    explanation: Explanation | None
    steps: Sequence[Span]
    now: float
    console: Sequence[str] = ()
    whole: bool = False


class LaunchBegins(NamedTuple):
    """The command is about to start so many machines."""

    machines: int


class InstanceStarted(NamedTuple):
    """A machine was started: its place in the order (from 1), its network and address (may be empty), and its row."""

    place: int
    network: str
    address: str
    row: InstanceRow

    @property
    def id(self) -> int:
        return self.row.id


class InstanceAfterWait(NamedTuple):
    """A machine that was started, as it is at the end of the wait for it."""

    row: InstanceRow


class LaunchEnds:
    """All machines were started."""


class LaunchPlan:
    """What would be started: ``count`` machines from an image on a cloud, their names (empty: the cloud names them) and labels,
    and the template of each, secrets masked; only one where all are the same."""

    def __init__(
        self, cloud: str, image: str, count: int, names: Sequence[str], labels: Sequence[str], templates: Sequence[str]
    ) -> None:
        self.cloud = cloud
        self.image = image
        self.count = count
        self.names = names
        self.labels = labels
        self.templates = templates


class InstanceChanged(NamedTuple):
    """A command has acted on an instance; its row shows it after that."""

    row: InstanceRow


class FilesCopied(NamedTuple):
    """What was copied to or from an instance: the number of files, and their size in bytes."""

    instance: int
    files: int
    size: int


class CloudCheck(NamedTuple):
    """The cloud answers and accepts the user; ``version`` is empty where the cloud does not say."""

    cloud: str
    version: str
    user: str


class Problem(NamedTuple):
    """An error, as part of the results: its own exit status, its message and its hint."""

    status: int
    message: str
    hint: str = ""


Result = (
    TextLine
    | LaunchBegins
    | InstanceStarted
    | LaunchEnds
    | InstanceAfterWait
    | Listing
    | WatchedInstances
    | InstanceDetails
    | InstanceChanged
    | FilesCopied
    | LaunchPlan
    | CloudCheck
)
