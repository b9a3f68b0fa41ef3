"""A scripted OpenNebula that counts: it starts machines and lists them, and breaks off where a test wants it to."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from xmlrpc.client import loads

from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from stratuslab.opennebula.numeric_constants import Owner, PoolState
from stratuslab.opennebula.states import State
from stratuslab.opennebula.template_grammar import parse
from tests.fakes.mishaps import CARRIED_OUT, Mishap, whole
from tests.fakes.opennebula_answers import failure, fault, machine, pool, success
from tests.fakes.scripted_server import Conversation, ScriptedServer


@dataclass
class ScriptedOpenNebula:
    """Serves ``one.system.version``, ``one.vm.*`` and ``one.vmpool.*`` over HTTP, listings as its version has them.

    ``machines`` holds whole documents by id; the user's are those of UID 2. ``newest_first`` is OpenNebula's API_LIST_ORDER,
    None where nobody set it. ``figures`` holds what a machine uses, CPU and MEMORY, by its id. ``mishaps`` holds for a method
    what goes wrong with its calls, one after the other; after those all goes well. ``calls`` holds each call's method and
    arguments (without the session).
    """

    version: str = "7.4.0"
    machines: dict[int, str] = field(default_factory=dict)
    mishaps: dict[str, list[Mishap]] = field(default_factory=dict)
    actions: tuple[str, ...] = ("terminate-hard", "terminate")
    newest_first: bool | None = None
    figures: dict[int, tuple[float, int]] = field(default_factory=dict)
    calls: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    things: dict[str, dict[int, str]] = field(default_factory=dict)  # "image", "vn", "template": documents by id
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server = ScriptedServer(self._converse)

    @property
    def url(self) -> str:
        return f"{self.server.url}/RPC2"

    def counted(self) -> Counter[str]:
        """How often each method was called."""
        return Counter(method for method, _ in self.calls)

    def _converse(self, conversation: Conversation) -> None:
        parameters, method = loads(conversation.read_request().body)
        assert method is not None
        arguments = tuple(parameters[1:])
        with self._lock:
            self.calls.append((method, arguments))
            coming = self.mishaps.get(method, [])
            mishap = coming.pop(0) if coming else None
        answer = whole(self.carry_out(method, arguments)) if mishap is None or mishap in CARRIED_OUT else b""
        if mishap is None:
            conversation.send(answer)
        else:
            mishap(conversation, method, answer)

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
        number = max(self.machines, default=0) + 1
        token = f"<{TOKEN_ATTRIBUTE}><![CDATA[{attributes.get(TOKEN_ATTRIBUTE, '')}]]></{TOKEN_ATTRIBUTE}>"
        self.machines[number] = machine(
            number, name=str(attributes.get("NAME", "")), user_template=token, stime=1795329551 + number
        )
        return success(number)

    def template_instantiate(self, number: int, name: str, hold: bool, extra: str, persistent: bool) -> bytes:
        return self.vm_allocate(f'NAME = "{name}"\n{extra}')

    def pool_of(self, kind: str) -> bytes:
        return success(f"<POOL>{''.join(self.things.get(kind, {}).values())}</POOL>")

    def one_of(self, kind: str, number: int) -> bytes:
        found = self.things.get(kind, {}).get(number)
        return success(found) if found else failure(f"[one.{kind}.info] Error getting {kind} [{number}].", ErrorCode.NO_EXISTS)

    def imagepool_info(self, *_: int) -> bytes:
        return self.pool_of("image")

    def image_info(self, number: int) -> bytes:
        return self.one_of("image", number)

    def vnpool_info(self, *_: int) -> bytes:
        return self.pool_of("vn")

    def vn_info(self, number: int) -> bytes:
        return self.one_of("vn", number)

    def templatepool_info(self, *_: int) -> bytes:
        return self.pool_of("template")

    def template_info(self, number: int) -> bytes:
        return self.one_of("template", number)

    def vm_info(self, number: int) -> bytes:
        if number not in self.machines:
            return failure(f"[one.vm.info] Error getting virtual machine [{number}].", ErrorCode.NO_EXISTS, number)
        if not _is_of(self.machines[number], 2):
            return failure(f"[one.vm.info] User [2] : Not authorized to perform USE VM [{number}].", ErrorCode.AUTHORIZATION)
        return success(self.machines[number])

    def vm_action(self, action: str, number: int) -> bytes:
        if number not in self.machines:
            return failure(f"[one.vm.action] Error getting virtual machine [{number}].", ErrorCode.NO_EXISTS, number)
        if action not in self.actions:
            return failure(f'[one.vm.action] Action "{action}" is not supported', ErrorCode.ACTION)
        return success(number)

    @property
    def _since(self) -> tuple[int, ...]:
        return tuple(map(int, re.findall(r"\d+", self.version))) or ((99,) if self.version else (3, 2, 1))

    def vmpool_info(self, owner: int, start: int, end: int, state: int) -> bytes:
        found = self._listed(owner, start, end, state)
        return pool(found if self._since < (5, 8) else map(self._short, found))

    def vmpool_infoextended(self, owner: int, start: int, end: int, state: int) -> bytes:
        return self._unknown() if self._since < (5, 8, 1) else pool(self._listed(owner, start, end, state))

    def vmpool_monitoring(self, owner: int, seconds: int) -> bytes:
        return success(
            "<MONITORING_DATA>"
            + "".join(
                f"<MONITORING><CPU>{cpu}</CPU><ID>{number}</ID><MEMORY>{kib}</MEMORY><TIMESTAMP>1795329900</TIMESTAMP></MONITORING>"
                for number, (cpu, kib) in self.figures.items()
            )
            + "</MONITORING_DATA>"
        )

    def _listed(self, owner: int, start: int, end: int, state: int) -> list[str]:
        """The documents of a listing, in the server's order; ``start`` and ``end`` are as the version takes them."""
        newest_first = self._since >= (5, 8) if self.newest_first is None else self.newest_first
        found = [
            number
            for number in sorted(self.machines, reverse=newest_first)
            if owner == Owner.ALL or _is_of(self.machines[number], 2 if owner == Owner.MINE else owner)
            if state == PoolState.ANY or ("<STATE>6</STATE>" in self.machines[number]) == (state == State.DONE)
        ]
        if self._since >= (4, 6) and end < -1:
            found = found[start : start - end]
        elif start >= 0:
            found = [number for number in found if number >= start and (end == -1 or number <= end)]
        return [self.machines[number] for number in found]

    def _short(self, document: str) -> str:
        """The document without what the short listings of 5.8 and later leave out."""
        kept = "LABELS|ERROR|SCHED_MESSAGE" if self._since >= (6, 4) else "LABELS"
        attributes = re.search(r"<USER_TEMPLATE>(.*)</USER_TEMPLATE>", document, re.DOTALL)
        assert attributes is not None
        short = "".join(one[0] for one in re.finditer(rf"<({kept})>.*?</\1>", attributes[1], re.DOTALL))
        return document.replace(attributes[1], short) if attributes[1] else document


Clouds = Callable[..., ScriptedOpenNebula]
"""What the fixture ``opennebula`` is."""


def _is_of(document: str, user: int) -> bool:
    return f"<UID>{user}</UID>" in document
