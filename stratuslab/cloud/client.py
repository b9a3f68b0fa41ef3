"""The client of a cloud: a method for each operation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from threading import Lock

from stratuslab.cloud import catalogue, reply
from stratuslab.cloud.catalogue import Resource, ResourceKind
from stratuslab.cloud.endpoint import Credentials
from stratuslab.cloud.http_transport import AnswerLost, ConnectionDropped, NeverSent
from stratuslab.cloud.instance_actions import InstanceActions, no_instance
from stratuslab.cloud.lost_request import LostRequests
from stratuslab.cloud.machine_request import MachineRequest, MachineTemplate
from stratuslab.cloud.rpc_caller import Caller, Transport
from stratuslab.cloud.template_writer import template
from stratuslab.cloud.version_differences import ServerVersion
from stratuslab.errors import NotFound, PermissionDenied, StratusLabError, Unreachable
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numeric_constants import Owner, PoolState, is_id
from stratuslab.opennebula.states import Lcm, Phase
from stratuslab.opennebula.usage import Usage

PAGE = 1000
"""Machines in one page of a listing: a page of short documents is about 2 MB, so a long listing takes a few calls."""

_CHECK_FIRST = "check with stratus-describe-instance before you try again"
_SEARCH_DELAYS = (0.2, 1.0, 2.0, 4.0)  # seconds before each search for a machine whose answer was lost


class Cloud(InstanceActions):
    """A cloud that speaks OpenNebula's XML-RPC.

    ``name`` is what messages call the cloud, ``address`` identifies it uniquely; ``trace`` gets a line about each call and
    answer, without secrets. Besides what it names, every method may raise AuthenticationError, PermissionDenied, Unreachable,
    and Fault and Refused (:mod:`stratuslab.cloud.reply`).
    """

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        name: str,
        *,
        address: str = "",
        trace: Callable[[str], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.address = address or name
        self.user = credentials.username or credentials.certificate
        super().__init__(Caller(transport, credentials, name, trace, sleep), sleep)
        self._server: ServerVersion | None = None
        self._catalogues: dict[ResourceKind, list[Resource]] = {}
        self._version_lock = Lock()
        self._lost = LostRequests(self._caller, lambda: self.server)

    @property
    def server(self) -> ServerVersion:
        """The server's version, requested once, even if several threads need it."""
        with self._version_lock:
            if self._server is None:
                try:
                    self._server = ServerVersion(self._caller.text("one.system.version"))
                except (reply.Fault, reply.Refused):
                    self._server = ServerVersion()  # the call is new in OpenNebula 3.8
            return self._server

    def allocate(self, request: MachineRequest) -> int:
        """Start a machine and return its id.

        When the answer is lost the machine is searched for by its token before the request is sent again, and a second machine
        is killed. Only a request that the network delivers after the last search (about 7 s) can still start another one.
        Raises Refused with the cloud's reason, or AnswerLost if even a search could not find out whether it was started.
        """
        text = template(request, self.server)
        if request.template is None or not self.server.can_overlay:
            return self._once(request.token, lambda: self._caller.number("one.vm.allocate", text))
        number = request.template.id
        return self._once(
            request.token,
            lambda: self._caller.number("one.template.instantiate", number, request.name, False, text, False),
        )

    def _once(self, token: str, start: Callable[[], int]) -> int:
        begun = time.monotonic()
        try:
            return start()
        except NeverSent:
            raise
        except Unreachable as error:
            lost = error
        found = self._find_lost(token, begun, lost)
        if found is not None:
            return found
        if not isinstance(lost, ConnectionDropped):
            raise _not_started(lost)
        try:
            again = start()
        except Unreachable as error:
            found = self._find_lost(token, begun, error)
            if found is None:
                raise _not_started(error) from None
            again = found
        except StratusLabError:
            # Perhaps refused only because the first attempt succeeded after all and used up the quota.
            found = self._find_lost(token, begun, lost)
            if found is None:
                raise
            return found
        self._kill_duplicates(token, begun, again)
        return again

    def _find_lost(self, token: str, begun: float, lost: Unreachable) -> int | None:
        """The machine that carries the token, or None. Raises AnswerLost if that cannot be found out."""
        failed: StratusLabError | None = None
        # The server may still be processing the request when its answer is lost.
        for pause in _SEARCH_DELAYS:
            self._sleep(pause)
            try:
                for number in self._carrying(token, begun):
                    return number
                failed = None
            except StratusLabError as error:
                failed = error
        if failed is not None:
            raise AnswerLost(
                f"{lost.message}; cannot find out whether the machine was started: {failed.message}", _CHECK_FIRST
            ) from None
        return None

    def _carrying(self, token: str, begun: float) -> Iterator[int]:
        return self._lost.carrying(token, time.monotonic() - begun)

    def _kill_duplicates(self, token: str, begun: float, number: int) -> None:
        """Kill what the other attempt started as well: the first one too late to be found before the second."""
        others: list[int] = []
        try:
            others = [other for other in self._carrying(token, begun) if other != number]
            for other in others:
                self.kill(other)
        except StratusLabError as error:
            if others:
                twice = ", ".join(map(str, others))
                raise AnswerLost(
                    f"machine {number} was started, and the first attempt also started {twice}: {error.message}",
                    f"stratus-kill-instance {twice}",
                ) from None

    def instance(self, number: int) -> Instance:
        """One instance. Raises NotFound."""
        try:
            return Instance(self._caller.document("VM", "one.vm.info", number))
        except NotFound as error:
            raise no_instance(self.name, number, error) from None

    def instances(self, owner: int = Owner.MINE, state: int = PoolState.NOT_DONE, *, usage: bool = False) -> Iterator[Instance]:
        """The instances of an owner (see Owner), in the server's order, one at a time, in constant memory.

        The listing's documents are short: no context, only the last history record. With ``usage`` they have the resources
        that each uses now; that takes one call more if the server's listings leave them out and an instance is running.
        """
        needs_usage = usage and not self.server.listing_has_figures
        known: list[dict[int, Usage]] = []  # by id, once there
        for instance in self._in_pages(owner, state, lambda: needs_usage and not known):
            if needs_usage and not known and (instance.phase is Phase.UP or instance.lcm_state == Lcm.UNKNOWN):
                known.append(self._usage(owner))
            yield instance.with_usage(known[0].pop(instance.id, None)) if known else instance

    def _in_pages(self, owner: int, state: int, asks_more: Callable[[], bool]) -> Iterator[Instance]:
        """The instances of all pages. While ``asks_more`` says that there may be another call in between, each page is received
        as a whole: a server that works one by one would wait for us to read the rest."""
        if not self.server.has_pages:
            yield from self._listed(owner, -1, -1, state)
            return
        seen: set[int] = set()
        # Pages overlap a little: a machine that ends meanwhile moves the others to the page before.
        for offset in range(0, 1 << 31, PAGE - PAGE // 50):
            count, before = 0, len(seen)
            for instance in self._listed(owner, offset, -PAGE, state, at_once=asks_more()):
                count += 1
                # A machine that starts while pages are fetched moves the others to the next page.
                if instance.id not in seen:
                    seen.add(instance.id)
                    yield instance
            # A server without paging would return the same machines for ever.
            if count != PAGE or len(seen) == before:
                return

    def _usage(self, owner: int) -> dict[int, Usage]:
        """What each instance uses, by its id; those that are done are included."""
        found: dict[int, Usage] = {}
        # A listing without usage is better than none.
        with contextlib.suppress(reply.Fault, reply.Refused, PermissionDenied):
            for record in self._caller.documents("MONITORING", "one.vmpool.monitoring", int(owner), 0):
                number = record.findtext("ID", "")
                if number.isdigit() and len(number) <= 10:
                    found[int(number)] = Usage.of(record)
        return found

    def _listed(self, owner: int, start: int, end: int, state: int, at_once: bool = False) -> Iterator[Instance]:
        found = self._caller.documents("VM", "one.vmpool.info", int(owner), start, end, int(state), at_once=at_once)
        return map(Instance, found)

    def catalogue(self, kind: ResourceKind) -> list[Resource]:
        """The images, networks or machine templates that the user may use, requested once."""
        if kind not in self._catalogues:
            self._catalogues[kind] = list(catalogue.entries(self._caller, kind))
        return self._catalogues[kind]

    def find(self, kind: ResourceKind, text: str) -> Resource:
        """The image, network or machine template that ``ID``, ``NAME`` or ``USER/NAME`` names.

        Raises NotFound, which lists the resources there are, or UsageError if the name matches several.
        """
        if is_id(text):
            return catalogue.by_id(self._caller, kind, int(text))
        return catalogue.by_name(self.catalogue(kind), kind, text)

    def machine_template(self, text: str) -> MachineTemplate:
        """The machine template that ``ID``, ``NAME`` or ``USER/NAME`` names. Raises as :meth:`find` does."""
        number = int(text) if is_id(text) else self.find(ResourceKind.TEMPLATE, text).id
        return MachineTemplate.read(catalogue.document(self._caller, ResourceKind.TEMPLATE, number))


def _not_started(lost: Unreachable) -> AnswerLost:
    dropped = isinstance(lost, ConnectionDropped)
    so = ", so it probably did not start" if dropped else ", but the cloud may still start it"
    return AnswerLost(f"{lost.message}; no machine was created for this request{so}", _CHECK_FIRST)
