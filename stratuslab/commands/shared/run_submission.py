"""Sends the requests of one run, and accounts for every machine that they start, whatever ends the run."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TextIO

from stratuslab.cloud.endpoint import is_local
from stratuslab.cloud.machine_request import MachineRequest
from stratuslab.cloud.reply import Refused
from stratuslab.cloud.resource_lookup import ResourceKind, listing
from stratuslab.commands.session import Session
from stratuslab.commands.shared.parallel import all_of, in_order, report
from stratuslab.commands.shared.request_from_options import machine_requests
from stratuslab.commands.shared.waiting import hopeless
from stratuslab.environment import Environment
from stratuslab.errors import NotFound, PermissionDenied, StratusLabError, UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.nic import Nic
from stratuslab.results import InstanceRow, InstanceStarted


def launch(session: Session, request: MachineRequest, ids: IdsFile) -> Generator[InstanceStarted, None, None]:
    """Start ``--number`` machines, several at once, and yield each in order as soon as it is known.

    After a failure no more machines are started; those that were are still yielded, and then the failure is raised. With
    ``--all-or-nothing`` they are killed instead, and nothing is yielded before all are started. Whatever else ends the run,
    what was started is listed on stderr, and so is what is in doubt.
    """
    run = _Run(session, request, ids)
    try:
        yield from run.machines()
    except StratusLabError:
        raise
    except BaseException as error:
        run.cut_short(error)
        raise


class _Run:
    """The requests of one run, by their tokens, and what became of each."""

    def __init__(self, session: Session, request: MachineRequest, ids: IdsFile) -> None:
        self._session = session
        self._token = request.token
        self._requests = {one.token: one for one in machine_requests(session, request)}
        self._all_or_nothing: bool = session.options.all_or_nothing
        self._ids = ids
        self._begun = time.monotonic()
        self._sending: set[str] = set()
        self._started: dict[str, int] = {}
        self._failed: dict[str, StratusLabError] = {}

    def machines(self) -> Iterator[InstanceStarted]:
        held: list[InstanceStarted] = []
        with closing(in_order(self._start, list(self._requests.values()), stop_at_failure=True)) as outcomes:
            for place, outcome in enumerate(outcomes, 1):
                if outcome.value is None:
                    assert outcome.error is not None
                    self._failed[outcome.item.token] = outcome.error
                    continue
                started = outcome.value._replace(place=place)
                instance = started.row.instance
                if isinstance(instance, Instance) and instance.failed and not self._session.options.wait_for:
                    # With --wait-for the wait finds out.
                    self._failed[outcome.item.token] = hopeless(self._session, instance)
                if self._all_or_nothing:
                    held.append(started)
                else:
                    yield started
        yield from self._latecomers()
        errors = list(self._failed.values())
        done, undone = len(self._started.keys() - self._failed.keys()), 0
        if errors and self._all_or_nothing:
            kept = kill_all(self._session, sorted(self._started.values()), self._ids)
            errors += kept.values()
            held, done, undone = [], 0, len(self._started) - len(kept)
        yield from held
        not_begun = len(self._requests) - len(self._started.keys() | self._failed.keys())
        if not_begun:
            self._session.messages.note(f"{not_begun} more were not started")
        report(self._session.messages, errors, done, "machines", undone)

    def cut_short(self, error: BaseException) -> None:
        """Account for what was started by the time that something unforeseen ended the run."""
        messages = self._session.messages
        left = sorted(self._started.values())
        if self._all_or_nothing and not isinstance(error, GeneratorExit):
            for problem in kill_all(self._session, left, self._ids).values():
                messages.error(str(problem))
        elif left:
            messages.error(f"started: {', '.join(map(str, left))}")
        if self._sending:
            messages.error(
                f"{len(self._sending)} more may have been started (see stratus-describe-instance --request {self._token})"
            )

    def _start(self, request: MachineRequest) -> InstanceStarted:
        self._sending.add(request.token)
        try:
            number = self._session.cloud.allocate(request)
        except StratusLabError as error:
            self._sending.discard(request.token)
            if error.nothing_done and isinstance(error, (Refused, NotFound, PermissionDenied)):
                raise _with_hint(self._session, request, error) from None
            raise
        self._started[request.token] = number
        self._sending.discard(request.token)
        self._ids.add(number)
        try:
            instance = self._session.cloud.instance(number)
        except StratusLabError as error:
            self._session.messages.note(f"machine {number} was started, but its address is unknown: {error}")
            return InstanceStarted(0, _requested_network(request), "", InstanceRow(number))
        if instance.simulated_because:
            because = f"{instance.simulated_because}, so it is simulated"
            self._session.messages.warning(f"not a real machine: {because} (--hypervisor simulated, if that is meant)")
        return _row(request, instance, self._session.environment.clock())

    def _latecomers(self) -> Iterator[InstanceStarted]:
        """Look once more at the end of the run, for what the network delivered late or twice: a machine whose request counts as
        failed has started after all, and a second one for the same request is killed."""
        if is_local(self._session.settings.endpoint.value):
            return  # nothing is between us and the cloud
        doubtful = [error for error in self._failed.values() if not error.nothing_done]
        if not (self._started or doubtful):
            return
        cloud, messages = self._session.cloud, self._session.messages
        try:
            found = cloud.late_arrivals(self._token, time.monotonic() - self._begun, frozenset(self._started.values()))
        except StratusLabError as error:
            check = f"check with stratus-describe-instance --request {self._token}"
            messages.error(f"cannot find out whether machines were started twice: {error.message} ({check})")
            return
        for instance in sorted(found, key=lambda one: one.id):
            if instance.token not in self._started and instance.token in self._requests:
                self._failed.pop(instance.token, None)
                self._started[instance.token] = instance.id
                self._ids.add(instance.id)
                late = _row(self._requests[instance.token], instance, self._session.environment.clock())
                yield late._replace(place=len(self._started))
            elif not instance.done:
                twice = f"the network delivered the request for machine {self._started.get(instance.token)} twice"
                try:
                    cloud.kill(instance.id)
                    messages.note(f"{twice}; killed the second machine, {instance.id}")
                except StratusLabError as error:
                    remedy = f"stratus-kill-instance {instance.id}"
                    surplus = StratusLabError(f"{twice}; cannot kill the second machine, {instance.id}: {error.message}", remedy)
                    self._failed[f"{instance.token} {instance.id}"] = surplus


def kill_all(session: Session, numbers: Sequence[int], ids: IdsFile) -> dict[int, StratusLabError]:
    """Kill the machines because of ``--all-or-nothing``, and leave only those in the file that cannot be killed, with an error
    for each."""
    killed, failed = all_of(session.cloud.kill, numbers)
    if killed:
        session.messages.note(f"killed what was started (--all-or-nothing): {', '.join(map(str, killed))}")
    errors = {
        number: StratusLabError(f"cannot kill machine {number}: {error.message}", f"stratus-kill-instance {number}")
        for number, error in failed.items()
    }
    try:
        ids.keep(errors)
    except StratusLabError as error:
        session.messages.error(str(error))
    return errors


def _row(request: MachineRequest, instance: Instance, now: float) -> InstanceStarted:
    nic = instance.nics[0] if instance.nics else Nic()
    requested = _requested_network(request)
    network = (nic.network if requested.isdigit() else requested) or nic.network
    return InstanceStarted(0, network, nic.address, InstanceRow.of(instance, now))


def _requested_network(request: MachineRequest) -> str:
    return request.networks[0].name if request.networks else ""


_NO_NETWORK_3 = "could not get virtual network"  # 3.x: the network does not exist, or has no free address
_CAUSES_WITH_ADVICE = ("quota", "leases exhausted", "restricted", "disk in use", "disk in error")  # causes of refusals


def _with_hint(session: Session, request: MachineRequest, error: StratusLabError) -> StratusLabError:
    from stratuslab.diagnosis.causes import known_cause

    words = error.message.lower()
    if "error parsing" in words:
        return error.replaced(hint='OpenNebula reads "$" in contexts and requirements as a variable; check the machine template')
    if session.options.address and ("lease" in words or _NO_NETWORK_3 in words):
        return error.replaced(hint=f"the address {session.options.address} is taken or not in that network")
    if "invalid name" in words:
        return error.replaced(hint="see --vm-name and --name-prefix")
    if (cause := known_cause(error.message)) and cause.name in _CAUSES_WITH_ADVICE:
        return error.replaced(hint=cause.advice)
    if "network" in words:
        return _about_network(session, request, error)
    if "could not get disk image" in words:  # 3.x, whatever is wrong with it
        return error.replaced(hint="one of its images does not exist, is not ready, or is in use by another machine")
    if "disk type" in words:
        return error.replaced(
            hint=f"OpenNebula {session.cloud.server.version} attaches only images of its own datastores: name one as one:NAME "
            "(--persistent-disk, --readonly-disk: NAME), or a machine template as template:NAME"
        )
    if re.search(r"image with id: \d+ does not exist|does not own an image", words):
        return NotFound(error.message, "check the disks of the machine template" if request.template else "see one:NAME")
    return error


def _about_network(session: Session, request: MachineRequest, error: StratusLabError) -> StratusLabError:
    """The error about a network: one that does not exist (3.2 does not say which), or another problem with an existing one."""
    try:
        known = session.cloud.catalogue(ResourceKind.NETWORK)
    except StratusLabError:
        return error.replaced(hint="see --network")
    hint = f"see --network; {listing(known, 'network')}"
    names = {(entry.name, entry.owner) for entry in known}
    for network in request.networks:
        if network.id is None and (network.name, network.owner) not in names:
            return NotFound(f'this cloud has no network "{network.owner}/{network.name}": {error.message}', hint)
    if re.search(r"network with id: \d+ does not exist|does not own a network", error.message.lower()):
        return NotFound(error.message, hint)
    return error.replaced(hint=f"it may have no free address; {hint}" if _NO_NETWORK_3 in error.message.lower() else hint)


class IdsFile(AbstractContextManager["IdsFile"]):
    """The file of ``--output``: an id on each line, written when its machine is started; threads may share it.

    The previous content is kept until there is a first id, so that a failed start loses nothing.
    """

    def __init__(self, environment: Environment, name: str | None) -> None:
        self._path: Path | None = environment.expand(name) if name else None
        self._file: TextIO | None = None
        self._begun = self._is_regular = False
        self._lock = Lock()

    def __enter__(self) -> IdsFile:
        if self._path is not None:
            try:
                self._file = self._path.open("a", encoding="ascii")
                self._is_regular = self._path.is_file()  # others cannot be emptied or synced
            except OSError as error:
                raise UsageError(f'cannot write the file "{self._path}" (--output): {error.strerror}') from None
        return self

    def add(self, number: int) -> None:
        """Write an id. Raises StratusLabError, which names the id, if that fails (the disk is full)."""
        try:
            self._write([number])
        except OSError as error:
            raise StratusLabError(f'machine {number} was started, but cannot write "{self._path}": {error.strerror}') from None

    def keep(self, numbers: Collection[int]) -> None:
        """Leave only these ids in the file: the other machines were killed."""
        try:
            if self._begun and self._is_regular:
                self._write(numbers, afresh=True)
        except OSError as error:
            raise StratusLabError(f'cannot write "{self._path}": {error.strerror}') from None

    def _write(self, numbers: Collection[int], afresh: bool = False) -> None:
        if self._file is None:
            return
        with self._lock:
            if self._is_regular and (afresh or not self._begun):
                self._file.truncate(0)
            self._begun = True
            self._file.write("".join(f"{number}\n" for number in numbers))
            self._file.flush()
            if self._is_regular:
                os.fsync(self._file.fileno())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            with suppress(OSError):  # what was left of a failed write fails again, and was reported
                self._file.close()
