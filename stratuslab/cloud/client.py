"""The cloud endpoint client: a method for each thing that can be asked of a cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Protocol, TypeVar
from xml.etree.ElementTree import Element
from xmlrpc.client import dumps

from stratuslab.cloud import reply
from stratuslab.cloud.endpoint import Credentials
from stratuslab.cloud.http import AnswerLost, ConnectionDropped, NeverSent
from stratuslab.cloud.request import MachineRequest, template
from stratuslab.cloud.server import Server
from stratuslab.errors import AuthenticationError, NotFound, StratusLabError, Unreachable
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numbers import ErrorCode, Owner, PoolState

PAGE = 1000
"""Machines in one page of a listing: a page of short documents is about 2 MB, a long listing a few calls."""

_LOOKS_FOR_LOST = (0.2, 1.0, 2.0)  # seconds to wait before each look for a machine whose answer was lost
_BACK_OFF = (0.2, 1.0)  # seconds before a request whose connection dropped is sent again
_Read = TypeVar("_Read")


class Transport(Protocol):
    """Carries one request to a server; see :class:`stratuslab.cloud.http.HttpTransport`."""

    def post(self, body: bytes) -> Iterator[bytes]: ...


class Cloud:
    """A cloud that speaks OpenNebula's XML-RPC.

    ``name`` is what messages call the cloud, ``address`` what tells it from all others, ``trace`` gets a line about each call and answer, without secrets. Every method
    may raise AuthenticationError, PermissionDenied or Unreachable besides what it names.
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
        self._transport = transport
        self._credentials = credentials
        self._trace = trace
        self._sleep = sleep

    @cached_property
    def server(self) -> Server:
        """The server's version, asked once."""
        try:
            return Server(self._read("one.system.version"))
        except (reply.Fault, reply.Refused):
            return Server()  # the call is new in OpenNebula 4.0

    def allocate(self, request: MachineRequest) -> int:
        """Start a machine; its id. It is started once at most, whatever happens to the connection.

        Raises Refused with the cloud's reason, or AnswerLost where even a look for the machine could not clear up whether it
        was started.
        """
        text = template(request, self.server)
        for last_try in (False, True):
            try:
                return _number(self._read("one.vm.allocate", text))
            except NeverSent:
                raise
            except Unreachable as error:
                lost = error
            started = self._find_lost(request.token)
            if started is not None:
                return started
            if last_try or not isinstance(lost, ConnectionDropped):
                break
        raise AnswerLost(
            f"{lost.message}; no machine that belongs to the request is there, so it was probably not started",
            "look with stratus-describe-instance before you try again",
        )

    def _find_lost(self, token: str) -> int | None:
        """The machine that carries the token: the server may still be at work on the request when its answer is lost."""
        for pause in _LOOKS_FOR_LOST:
            self._sleep(pause)
            try:
                for instance in self.instances():
                    if instance.token == token:
                        return instance.id
            except Unreachable:
                continue
        return None

    def instance(self, number: int) -> Instance:
        """One instance; raises NotFound."""
        try:
            documents = list(self._stream("VM", "one.vm.info", number))
        except NotFound as error:
            raise _no_instance(number, self.name, error) from None
        if len(documents) != 1:
            raise reply.NotAnAnswer(f"{self.name} answers with {len(documents)} VM documents where one was asked for")
        return Instance(documents[0])

    def instances(self, owner: int = Owner.MINE, state: int = PoolState.NOT_DONE) -> Iterator[Instance]:
        """The instances of an owner (see Owner), in the server's order, one at a time, in constant memory.

        The listing's documents are short: no context, one record of the history.
        """
        if not self.server.has_pages:
            yield from map(Instance, self._stream("VM", "one.vmpool.info", int(owner), -1, -1, int(state)))
            return
        seen: set[int] = set()
        for offset in range(0, 1 << 31, PAGE):
            count = 0
            for instance in map(Instance, self._stream("VM", "one.vmpool.info", int(owner), offset, -PAGE, int(state))):
                count += 1
                # A machine that starts while pages are fetched moves the others on to the next page.
                if instance.id not in seen:
                    seen.add(instance.id)
                    yield instance
            if count != PAGE:
                return

    def kill(self, number: int) -> None:
        """Stop an instance at once and release all that it has; nothing happens to one that is DONE."""
        self._act(self.server.kill_actions, number)

    def _act(self, actions: Iterable[str], number: int) -> None:
        for action in actions:
            try:
                self._read("one.vm.action", action, number)
                return
            except NotFound as error:
                raise _no_instance(number, self.name, error) from None
            except reply.Refused as error:
                refused = error
                if error.code != ErrorCode.ACTION or "not supported" not in error.message:
                    break
        raise refused

    def datastore_image(self, identifier: str) -> int | None:
        """The id of the datastore image that stands for a Marketplace identifier: its name, or its attribute
        MARKETPLACE_IDENTIFIER, is the identifier. None where the cloud has none."""
        for image in self._stream("IMAGE", "one.imagepool.info", int(Owner.ALL), -1, -1):
            known_as = {image.findtext("NAME", ""), image.findtext("TEMPLATE/MARKETPLACE_IDENTIFIER", "")}
            if identifier in {name.strip() for name in known_as}:
                return _number(image.findtext("ID", ""))
        return None

    def networks(self) -> list[tuple[str, str]]:
        """Name and owner of each network that the user may use."""
        found = self._stream("VNET", "one.vnpool.info", int(Owner.ALL), -1, -1)
        return [(net.findtext("NAME", "").strip(), net.findtext("UNAME", "").strip()) for net in found]

    def _read(self, method: str, *arguments: object) -> str:
        return self._named(lambda: reply.value(self._call(method, arguments)))

    def _stream(self, tag: str, method: str, *arguments: object) -> Iterator[Element]:
        documents = reply.documents(self._call(method, arguments), tag)
        while (document := self._named(lambda: next(documents, None))) is not None:
            yield document

    def _named(self, read: Callable[[], _Read]) -> _Read:
        """Read, and say in an error that does not tell by itself which cloud and which user it was."""
        try:
            return read()
        except reply.NotAnAnswer as error:
            raise reply.NotAnAnswer(f"{self.name}: {error.message}", error.hint or "see --endpoint") from None
        except AuthenticationError as error:
            raise AuthenticationError(f"{self._credentials} at {self.name}: {error.message}", error.hint) from None

    def _call(self, method: str, arguments: tuple[object, ...]) -> Iterator[bytes]:
        """Send the call and hand on the answer as it arrives.

        What only reads, or does the same when it is done twice, is sent again when the connection drops before the answer.
        """
        body = dumps((self._credentials.session, *arguments), method).encode()  # type: ignore[arg-type]
        pauses = () if method == "one.vm.allocate" else _BACK_OFF
        for pause in (*pauses, None):
            begin, size = time.perf_counter(), 0
            self._say(f"> {method}({', '.join(['***', *map(_shown, arguments)])})")
            try:
                for chunk in self._transport.post(body):
                    size += len(chunk)
                    yield chunk
                self._say(f"< {method}: {size} bytes in {time.perf_counter() - begin:.3f} s")
                return
            except ConnectionDropped as dropped:
                if size or pause is None:
                    raise
                self._say(f"! {method}: {dropped.message}; once more in {pause:g} s")
            self._sleep(pause)

    def _say(self, line: str) -> None:
        if self._trace is not None:
            self._trace(line)


def _no_instance(number: int, cloud: str, error: StratusLabError) -> NotFound:
    return NotFound(f"there is no instance {number} at {cloud}: {error.message}")


def _shown(argument: object) -> str:
    text = str(argument)
    return f"<{len(text)} characters>" if len(text) > 60 or "\n" in text else text


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise reply.NotAnAnswer("the answer holds no number where an id is due") from None
