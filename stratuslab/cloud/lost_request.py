"""Finds the machine of a request whose answer was lost, by the token that the request carries."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from itertools import count

from stratuslab.cloud import reply
from stratuslab.cloud.rpc_caller import Caller
from stratuslab.errors import NotFound, PermissionDenied
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, PoolState

PAGE = 100
"""Machines in one page of a search: a page of whole documents is about 600 kB."""

_IDS = 500
"""Ids to search on a server that lists ranges of ids: more than all users together request while one answer is lost."""

_MARGIN = 300  # seconds that a server's clock may be set back during a request
_LISTING = "one.vmpool.info"


class LostRequests:
    """Finds a user's machines by the tokens of their requests, those that are already DONE included.

    The newest machines are read first, and only those that can belong to the request, so a large pool is not read as a whole.
    """

    def __init__(self, calls: Caller) -> None:
        self._caller = calls
        self._whole_listing: str | None = None
        self._taken = 0  # all ids below this one are known to be taken
        self._count = 0  # the user has at least this many machines, if listings begin with the oldest; 0: unknown

    def carrying(self, token: str, seconds: float, known: Collection[int] = ()) -> Iterator[Instance]:
        """The machines that carry the token, or one of the same run (``TOKEN/1``), newest first, without the ``known`` ones. The
        first request was sent at most ``seconds`` ago."""
        for one in self._whole(seconds, known):
            if one.token == token or one.token.startswith(f"{token}/"):
                yield one

    def _whole(self, seconds: float, known: Collection[int]) -> Iterator[Instance]:
        """The whole documents of the machines that may be meant, newest first."""
        if self._whole_listing is None:
            self._whole_listing = self._caller.server.whole_listing
        try:
            if self._whole_listing:
                yield from (one for one in self._recent(self._whole_listing, seconds) if one.id not in known)
                return
        except (reply.Fault, reply.Refused):
            if self._whole_listing == _LISTING:
                raise
            self._whole_listing = ""
        for listed in self._recent(_LISTING, seconds):
            if listed.id not in known:
                with contextlib.suppress(NotFound):  # removed in the meantime
                    yield Instance(self._caller.document("VM", "one.vm.info", listed.id))

    def _recent(self, method: str, seconds: float) -> Iterator[Instance]:
        """The machines that were started in the last ``seconds``, newest first."""
        least: float | None = None
        for instance in self._newest_first(method):
            started = instance.started
            if started is not None:
                # The server's times are only compared with each other: its clock need not agree with ours.
                least = started - seconds - _MARGIN if least is None else least
                if started < least:
                    return
            yield instance

    def _newest_first(self, method: str) -> Iterator[Instance]:
        if not self._caller.server.has_pages:
            self._taken = _first_missing(self._exists, self._taken)
            # On a server that does not say which ids are taken, all of them seem to be.
            first = 0 if self._taken > LARGEST_ID else max(self._taken - _IDS, 0)
            yield from _by_id(self._listed(method, first, -1))
            return
        # Up to 5.6 the oldest come first, from 5.8 on the newest, unless API_LIST_ORDER says otherwise.
        page = [] if self._count else self._listed(method, 0, -PAGE)
        if self._count or (len(page) >= PAGE and page != _by_id(page)):
            self._count = _first_missing(lambda offset: bool(self._listed(method, offset, -2)), self._count or PAGE)
            for offset in range(self._count - PAGE, -PAGE, -PAGE):
                yield from _by_id(self._listed(method, max(offset, 0), -PAGE))
            return
        oldest = None
        for offset in count(PAGE, PAGE):
            yield from _by_id(page)
            if len(page) < PAGE or page[-1].id == oldest:
                return  # the last page, or a server without paging
            oldest = page[-1].id
            page = self._listed(method, offset, -PAGE)

    def _listed(self, method: str, start: int, end: int) -> list[Instance]:
        return [Instance(document) for document in self._caller.documents("VM", method, Owner.MINE, start, end, PoolState.ANY)]

    def _exists(self, number: int) -> bool:
        """Whether the id is taken, by any user."""
        if number > LARGEST_ID:
            return False
        try:
            self._caller.text("one.vm.info", number)
        except NotFound:
            return False
        except PermissionDenied:
            return True
        return True


def _by_id(instances: list[Instance]) -> list[Instance]:
    return sorted(instances, key=lambda one: one.id, reverse=True)


def _first_missing(exists: Callable[[int], bool], known: int) -> int:
    """The first number that does not exist, where all below it do, certainly those below ``known``. Takes about twice its
    logarithm of questions."""
    low, step = known, 1
    while exists(low + step - 1):
        low, step = low + step, 2 * step
    return low + bisect_left(range(low, low + step - 1), True, key=lambda number: not exists(number))
