"""A cloud as an object: runs machines, finds them, waits for them, and lists what they can be made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast, overload

from stratuslab import instance_types
from stratuslab.cloud.client import Cloud
from stratuslab.cloud.resource_lookup import Resource, ResourceKind
from stratuslab.commands import describe_instance, run_instance
from stratuslab.commands.shared.instance_argument import select
from stratuslab.commands.shared.instance_rows import by_id, listed, rows_of
from stratuslab.commands.shared.output_arguments import output_options
from stratuslab.context_input import from_option
from stratuslab.errors import InstanceFailed, SeveralFailed, StratusLabError
from stratuslab.instance_types import InstanceType
from stratuslab.opennebula.instance import Instance
from stratuslab.output.result_columns import INSTANCES
from stratuslab.python_library.command_calls import CommandSessions, results
from stratuslab.python_library.python_hints import for_program, for_programs
from stratuslab.python_library.run_options import RunOptions
from stratuslab.python_library.virtual_machine import BatchFailed, VirtualMachine
from stratuslab.results import InstanceStarted

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from stratuslab.marketplace.marketplace_client import Marketplace


class ConnectedCloud:
    """A cloud, from :func:`stratuslab.connect`. ``with`` closes its connections at the end; machines keep running.

    Threads may share it. Besides what they name, methods raise AuthenticationError, PermissionDenied, Unreachable, and Refused
    with the cloud's own reason.
    """

    def __init__(self, sessions: CommandSessions) -> None:
        self._sessions = sessions

    def __enter__(self) -> ConnectedCloud:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ConnectedCloud {self.name}>"

    def close(self) -> None:
        """Close the connections; what is used after that opens them again."""
        self._sessions.close()

    @property
    def client(self) -> Cloud:
        """The client below: a method for each call, which knows no machines as objects."""
        return self._sessions.cloud

    @property
    def name(self) -> str:
        """What messages call the cloud."""
        return self.client.name

    @property
    def version(self) -> str:
        """The server's version, such as ``"7.4.0"``."""
        return self.client.server.version

    @overload
    def run(self, image: str, **options: Unpack[RunOptions]) -> VirtualMachine: ...

    @overload
    def run(self, image: str, *, count: int, **options: Unpack[RunOptions]) -> list[VirtualMachine]: ...

    def run(
        self, image: str, *, count: int | None = None, **options: Unpack[RunOptions]
    ) -> VirtualMachine | list[VirtualMachine]:
        """Start a machine, or with ``count`` a list of them, from an image as ``stratus-run-instance`` takes it: a title such as
        ``"ttylinux"``, a Marketplace identifier, ``one:NAME``, ``template:NAME``, the UUID of a disk, or a URL. The options are
        those of :class:`RunOptions`.

        Returns as soon as the cloud has accepted it; ``wait`` says when it runs. A request is sent once, and looked for if its
        answer is lost. Raises UsageError, NotFound, Refused, and of several machines BatchFailed, which has those that were
        started.
        """
        if unknown := options.keys() - RunOptions.__annotations__.keys():
            raise TypeError(f"run() got an unexpected keyword argument {min(unknown)!r}")
        started: list[VirtualMachine] = []
        try:
            self._run(image, count or 1, dict(options), started)
        except StratusLabError as error:
            causes = error.causes if isinstance(error, SeveralFailed) else (error,)
            # One that is there and failed at once is handed out like one that fails later.
            if len(started) < (count or 1) or not all(isinstance(cause, InstanceFailed) for cause in causes):
                shown = for_program(error)
                raise (shown if count is None else BatchFailed(shown, started)) from error.__cause__
        return started[0] if count is None else started

    def _run(self, image: str, count: int, arguments: dict[str, Any], started: list[VirtualMachine]) -> None:
        context = cast(Mapping[str, str], arguments.pop("context", {}))
        for key in context:
            from_option(f"{key}=")
        session = self._sessions.session(run_instance.COMMAND, {**arguments, "count": count}, [image])
        session.options.context = [context]
        for result in results(run_instance.COMMAND, session):
            if isinstance(result, InstanceStarted):
                known = result.row.instance
                found = known if isinstance(known, Instance) else self.client.instance(result.id)
                started.append(VirtualMachine(self._sessions, found))

    @for_programs()
    def instance(self, which: int | str) -> VirtualMachine:
        """The machine with that id or name. Raises NotFound, and UsageError if several have the name."""
        numbers, errors = select(self.client, [str(which)])
        if errors:
            raise errors[0]
        return VirtualMachine(self._sessions, self.client.instance(numbers[0]))

    @for_programs()
    def instances(self, *conditions: str, **equal: object) -> list[VirtualMachine]:
        """The user's machines that are not done, by id. ``label="web"``, ``state="running"`` or ``name="db"`` keep those that
        have it, as ``--filter`` does; a condition is text as there: ``"name~^web"``, ``"vcpu>2"``. Raises UsageError."""
        texts = [*conditions, *(f"{column}={value}" for column, value in equal.items())]
        session = self._sessions.session(describe_instance.COMMAND, {"filter": texts})
        session.output = output_options(session.options, INSTANCES, session.environment)
        known = {one.id: one for one in listed(session, session.cloud, shown=False)}
        found = session.output.selected(list(rows_of(session, known.values())))
        return [VirtualMachine(self._sessions, known[row.id]) for row in sorted(found, key=by_id)]

    def wait(self, machines: Iterable[VirtualMachine], state: str = "running", timeout: float = 600.0) -> None:
        """Wait until all machines are in a state, or answer by ``"ssh"``, for at most ``timeout`` seconds in all.

        Raises BatchFailed, which has those that got there; its causes are InstanceFailed and TimedOut.
        """
        by_id = {machine.id: machine for machine in machines}
        with for_programs():
            waited = self._sessions.wait(list(by_id), state, timeout)
        for number, latest in waited.latest.items():
            by_id[number]._seen(latest)
        if waited.errors:
            reached = [by_id[number] for number in waited.reached]
            errors = [for_program(error) for error in waited.errors.values()]
            said = f"{len(errors)} of {len(by_id)} machines are not {state}"
            raise BatchFailed(SeveralFailed(said, errors[0].status, errors), reached)

    def images(self) -> Sequence[Resource]:
        """The images that the user may use."""
        return self._listed(ResourceKind.IMAGE)

    def networks(self) -> Sequence[Resource]:
        """The networks that the user may use."""
        return self._listed(ResourceKind.NETWORK)

    def templates(self) -> Sequence[Resource]:
        """The machine templates that the user may use."""
        return self._listed(ResourceKind.TEMPLATE)

    @for_programs()
    def _listed(self, kind: ResourceKind) -> Sequence[Resource]:
        return self.client.catalogue(kind, again=True)

    @property
    def types(self) -> Mapping[str, InstanceType]:
        """The instance types by name: the built-in ones, and those of the configuration."""
        return instance_types.table(self._sessions.base.settings.file.instance_types)

    @property
    def marketplace(self) -> Marketplace:
        """The Marketplace in which ``run`` looks images up."""
        return self._sessions.base.marketplace
