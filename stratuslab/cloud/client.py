"""The client of a cloud: a method for each operation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING

from stratuslab.cloud import reply
from stratuslab.cloud.delivery_failures import AnswerLost
from stratuslab.cloud.endpoint import Credentials
from stratuslab.cloud.instance_actions import LOOKS, InstanceActions
from stratuslab.cloud.rpc_caller import Caller, Transport
from stratuslab.errors import PermissionDenied, StratusLabError, Unreachable
from stratuslab.opennebula.document_values import Usage
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, PoolState, is_id
from stratuslab.opennebula.states import Lcm, Phase

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from stratuslab.cloud.launchable_images import CloudImage
    from stratuslab.cloud.lost_request import LostRequests
    from stratuslab.cloud.machine_request import MachineRequest, MachineTemplate
    from stratuslab.cloud.resource_lookup import Resource, ResourceKind
    from stratuslab.cloud.virtual_networks import VirtualNetwork

PAGE = 1000
"""Machines in one page of a listing: a page of short documents is about 2 MB, so a long listing takes a few calls."""

_SETTLED = 10.0  # seconds after which a request whose answer was lost has most likely arrived
_UNKNOWN = Usage()


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
        self._catalogues: dict[ResourceKind, list[Resource]] = {}
        self._lost_at: float | None = None  # when an answer to a request for a machine was lost last, on the monotonic clock

    @cached_property
    def _lost(self) -> LostRequests:
        from stratuslab.cloud.lost_request import LostRequests

        return LostRequests(self._caller)

    def allocate(self, request: MachineRequest) -> int:
        """Start a machine and return its id.

        The request is sent once. Whatever comes back but an id or the cloud's own refusal, the machine is searched for by its
        token for about 7 s. Raises Refused with the cloud's reason. AnswerLost, and every error whose ``nothing_done`` is false,
        says that it was not found, or could not be searched for: it may still be started.
        """
        from stratuslab.cloud.template_writer import template

        text = template(request, self.server)
        if request.template is None or self.server.is_stratuslab:
            start = partial(self._caller.number, "one.vm.allocate", text)
        else:
            number = request.template.id
            start = partial(self._caller.number, "one.template.instantiate", number, request.name, False, text, False)
        return self._once(request.token, start)

    def _once(self, token: str, start: Callable[[], int]) -> int:
        begun = time.monotonic()
        try:
            return start()
        except StratusLabError as error:
            if error.nothing_done:
                raise
            lost = error
        self._lost_at = time.monotonic()
        # The server may still be processing the request when its answer is lost.
        for pause in LOOKS:
            self._sleep(pause)
            failed = ""
            try:
                for found in self._lost.carrying(token, time.monotonic() - begun):
                    return found.id
            except StratusLabError as error:
                failed = error.message
        unknown = f"cannot find out whether the machine was started: {failed}"
        missing = "no machine was created for this request, but the cloud may still start it"
        said = f"{lost.message}; {unknown if failed else missing}"
        check = f"check with stratus-describe-instance --request {token}"
        raise AnswerLost(said, check) if isinstance(lost, Unreachable) else lost.replaced(said, check)

    def of_request(self, token: str, seconds: float, known: Collection[int] = ()) -> list[Instance]:
        """The user's instances that carry the token of a request, or one of the same run (``TOKEN/1``), without the ``known``
        ones, those that are DONE included. The first request was sent at most ``seconds`` ago."""
        return list(self._lost.carrying(token, seconds, known))

    def late_arrivals(self, token: str, seconds: float, known: Collection[int]) -> list[Instance]:
        """Like :meth:`of_request`, but 10 s after the last answer to a request was lost: by then it has most likely arrived, or
        never will. A look that fails is repeated."""
        if self._lost_at is not None:
            self._sleep(max(self._lost_at + _SETTLED - time.monotonic(), 0.0))
        for pause in LOOKS:
            with contextlib.suppress(StratusLabError):
                return self.of_request(token, seconds, known)
            self._sleep(pause)
        return self.of_request(token, seconds, known)

    def instances(self, owner: int = Owner.MINE, state: int = PoolState.NOT_DONE, *, usage: bool = False) -> Iterator[Instance]:
        """The instances of an owner (see Owner), in the server's order, one at a time, in constant memory.

        The listing's documents are short: no context, only the last history record. With ``usage`` they have the resources
        that each uses now; that takes one call more if the server's listings leave them out and an instance is running.
        """
        needs_usage = usage and not self.server.listing_has_figures
        known: dict[int, Usage] | None = None  # by id, once there

        def asks_more() -> bool:
            return needs_usage and known is None

        for instance in self._in_pages(owner, state, asks_more):
            if asks_more() and (instance.phase is Phase.UP or instance.lcm_state == Lcm.UNKNOWN):
                known = self._usage(owner)
            if known is not None:
                instance.usage = known.pop(instance.id, _UNKNOWN)
            yield instance

    def _in_pages(self, owner: int, state: int, asks_more: Callable[[], bool]) -> Iterator[Instance]:
        """The instances of all pages. While ``asks_more`` says that there may be another call in between, each page is received
        as a whole: a server that works one by one would wait for us to read the rest."""
        if not self.server.has_pages:
            yield from self._listed(owner, -1, -1, state)
            return
        before: set[int] = set()
        # Pages overlap a little: a machine that ends meanwhile moves the others to the page before.
        for offset in range(0, LARGEST_ID, PAGE - PAGE // 50):
            count, page = 0, set[int]()
            for instance in self._listed(owner, offset, -PAGE, state, at_once=asks_more()):
                count += 1
                # A machine that starts while pages are fetched moves the others to the next page.
                if instance.id not in before and instance.id not in page:
                    yield instance
                page.add(instance.id)
            # A server without paging would return the same machines for ever.
            if count != PAGE or page <= before:
                return
            before = page

    def _usage(self, owner: int) -> dict[int, Usage]:
        """What each instance uses, by its id; those that are done are included."""
        found: dict[int, Usage] = {}
        # A listing without usage is better than none.
        with contextlib.suppress(reply.Fault, reply.Refused, PermissionDenied):
            for record in self._caller.documents("MONITORING", "one.vmpool.monitoring", int(owner), 0):
                if is_id(number := record.findtext("ID", "").strip()):
                    found[int(number)] = Usage.of(record)
        return found

    def _listed(self, owner: int, start: int, end: int, state: int, at_once: bool = False) -> Iterator[Instance]:
        found = self._caller.documents("VM", "one.vmpool.info", int(owner), start, end, int(state), at_once=at_once)
        return map(Instance, found)

    def catalogue(self, kind: ResourceKind, *, again: bool = False) -> list[Resource]:
        """The images, networks or machine templates that the user may use, requested once, or ``again``."""
        from stratuslab.cloud.resource_lookup import entries

        if again or kind not in self._catalogues:
            self._catalogues[kind] = entries(self._caller, kind)
        return self._catalogues[kind]

    def images(self) -> Iterator[CloudImage]:
        """The images, machine templates and appliances that the user may use."""
        from stratuslab.cloud.launchable_images import cloud_images

        return cloud_images(self._caller)

    def networks(self) -> list[VirtualNetwork]:
        """The networks that the user may use, with their addresses."""
        from stratuslab.cloud.virtual_networks import virtual_networks

        return virtual_networks(self._caller)

    def find(self, kind: ResourceKind, text: str) -> Resource:
        """The image, network or machine template that ``ID``, ``NAME`` or ``USER/NAME`` names.

        Raises NotFound, which lists the resources there are, or UsageError if the name matches several.
        """
        from stratuslab.cloud.resource_lookup import by_name, document, entry

        if is_id(text):
            return entry(document(self._caller, kind, int(text)))
        return by_name(self.catalogue(kind), kind, text)

    def machine_template(self, text: str) -> MachineTemplate:
        """The machine template that ``ID``, ``NAME`` or ``USER/NAME`` names. Raises as :meth:`find` does."""
        from stratuslab.cloud.machine_request import MachineTemplate
        from stratuslab.cloud.resource_lookup import ResourceKind

        return MachineTemplate.read(self.document(ResourceKind.TEMPLATE, text))

    def document(self, kind: ResourceKind, text: str) -> Element:
        """The document of the image, network or machine template. Raises as :meth:`find` does."""
        from stratuslab.cloud.resource_lookup import document

        return document(self._caller, kind, int(text) if is_id(text) else self.find(kind, text).id)
