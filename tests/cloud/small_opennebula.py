"""A small OpenNebula that counts: it starts machines and lists them, and breaks off where a test wants it to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from xmlrpc.client import loads

from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from stratuslab.opennebula.numbers import ErrorCode
from stratuslab.opennebula.template import parse
from tests import servers
from tests.cloud.answers import failure, fault, machine, pool, success
from tests.servers import Conversation, ScriptedServer

Mishap = Callable[["SmallOpenNebula", Conversation, str, bytes], None]
"""What happens to one call instead of its being answered: the call's method, and the answer that it would have got (empty
where it was not carried out)."""


@dataclass
class SmallOpenNebula:
    """Serves ``one.system.version``, ``one.vm.*`` and ``one.vmpool.info`` over HTTP.

    ``mishaps`` holds for a method what goes wrong with its calls, one after the other; after those all goes well. ``calls``
    holds each call's method and arguments (without the session).
    """

    version: str = "7.4.0"
    machines: dict[int, str] = field(default_factory=dict)
    mishaps: dict[str, list[Mishap]] = field(default_factory=dict)
    actions: tuple[str, ...] = ("terminate-hard", "terminate")
    calls: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server = ScriptedServer(self._converse)

    @property
    def url(self) -> str:
        return f"{self.server.url}/RPC2"

    def counted(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(method for method, _ in self.calls)

    def _converse(self, talk: Conversation) -> None:
        parameters, method = loads(talk.read_request().body)
        assert method is not None
        arguments = tuple(parameters[1:])
        with self._lock:
            self.calls.append((method, arguments))
            coming = self.mishaps.get(method, [])
            mishap = coming.pop(0) if coming else None
        answer = self.carry_out(method, arguments) if mishap is None or mishap in _CARRIED_OUT else b""
        if mishap is None:
            servers_answer(talk, answer)
        else:
            mishap(self, talk, method, answer)

    def carry_out(self, method: str, arguments: tuple[object, ...]) -> bytes:
        """Do what the call asks for; the answer."""
        with self._lock:
            return getattr(self, method.replace("one.", "").replace(".", "_"), self._unknown)(*arguments)

    def _unknown(self, *arguments: object) -> bytes:
        return fault(-506, "Method not defined")

    def system_version(self) -> bytes:
        return success(self.version) if self.version else self._unknown()

    def vm_allocate(self, template: str, hold: bool = False) -> bytes:
        attributes = dict(parse(template))
        number = len(self.machines) + 1
        token = f"<{TOKEN_ATTRIBUTE}><![CDATA[{attributes.get(TOKEN_ATTRIBUTE, '')}]]></{TOKEN_ATTRIBUTE}>"
        self.machines[number] = machine(number, name=str(attributes.get("NAME", "")), user_template=token)
        return success(number)

    def template_instantiate(self, number: int, name: str, hold: bool, extra: str, persistent: bool) -> bytes:
        return self.vm_allocate(f'NAME = "{name}"\n{extra}')

    def vm_info(self, number: int) -> bytes:
        if number not in self.machines:
            return failure(f"[one.vm.info] Error getting virtual machine [{number}].", ErrorCode.NO_EXISTS, number)
        return success(self.machines[number])

    def vm_action(self, action: str, number: int) -> bytes:
        if number not in self.machines:
            return failure(f"[one.vm.action] Error getting virtual machine [{number}].", ErrorCode.NO_EXISTS, number)
        if action not in self.actions:
            return failure(f'[one.vm.action] Action "{action}" is not supported', ErrorCode.ACTION)
        return success(number)

    def vmpool_info(self, owner: int, start: int, end: int, state: int) -> bytes:
        newest_first = [self.machines[number] for number in sorted(self.machines, reverse=True)]
        if start >= 0 and end < -1:
            newest_first = newest_first[start : start - end]
        return pool(newest_first)


def servers_answer(talk: Conversation, answer: bytes) -> None:
    talk.send(servers.head(Content_Type="text/xml", Content_Length=len(answer)) + answer)


# --- mishaps --------------------------------------------------------------------------------------------------------------


def dropped(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """The connection ends, and nothing was done."""


def lost(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """It is done, and the connection ends before the answer."""


def reset(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """It is done, and the connection is reset before the answer."""
    talk.reset()


def halved(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """It is done, and half of the answer comes."""
    talk.send(servers.head(Content_Length=len(answer)) + answer[: len(answer) // 2])


def silent(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """Nothing is done, and nothing is said."""
    talk.closing.wait(servers.PATIENCE)


def silent_after(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """It is done, and nothing is said."""
    talk.closing.wait(servers.PATIENCE)


def bad_gateway(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """A proxy in front gives up, and nothing was done."""
    talk.send(servers.head("502 Bad Gateway", Content_Length=0))


def bad_gateway_after(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """It is done, and a proxy in front has given up meanwhile."""
    talk.send(servers.head("502 Bad Gateway", Content_Length=0))


def web_page(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """A proxy in front says something friendly with status 200, and nothing was done."""
    servers_answer(talk, b"<html>Please come back later</html>")


def refused(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """The cloud says no."""
    servers_answer(talk, failure(f"[{method}] over quota", ErrorCode.ALLOCATE))


def denied(cloud: SmallOpenNebula, talk: Conversation, method: str, answer: bytes) -> None:
    """The cloud does not know the user any more."""
    servers_answer(talk, failure(f"[{method}] User couldn't be authenticated, aborting call.", ErrorCode.AUTHENTICATION))


_CARRIED_OUT = (lost, reset, halved, silent_after, bad_gateway_after)
