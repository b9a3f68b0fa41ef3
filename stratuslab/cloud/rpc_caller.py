"""Makes XML-RPC calls to a cloud, repeats those that are safe to repeat, and traces them without secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from stratuslab.cloud import reply
from stratuslab.cloud.bounded_parser import InvalidAnswer
from stratuslab.cloud.delivery_failures import ConnectionDropped, DroppedEarly
from stratuslab.cloud.endpoint import Credentials
from stratuslab.cloud.version_differences import ServerVersion
from stratuslab.errors import AuthenticationError, UsageError
from stratuslab.opennebula.numeric_constants import LARGEST_ID, is_id
from stratuslab.opennebula.template_grammar import check_characters

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

ONCE_ONLY = frozenset({"one.vm.allocate", "one.template.instantiate"})
"""Calls that start a machine each time they are made, so they are repeated only if they certainly were not sent."""

_BACK_OFF = (0.2, 1.0)  # seconds before a request whose connection dropped is sent again


class Transport(Protocol):
    """Carries one request to a server; see :class:`stratuslab.cloud.http_transport.HttpTransport`."""

    def post(self, body: bytes, *, once: bool = False) -> Iterator[bytes]: ...


class Caller:
    """Makes calls to one cloud as one user. Every method may raise Fault, Refused or another error from the cloud's answer, and
    Unreachable."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        cloud: str,
        trace: Callable[[str], None] | None,
        sleep: Callable[[float], None],
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self.cloud = cloud
        self._say = trace or (lambda line: None)
        self._sleep = sleep
        self._server: ServerVersion | None = None
        self._version_lock = Lock()

    @property
    def server(self) -> ServerVersion:
        """The server's version, requested once, even if several threads need it."""
        with self._version_lock:
            if self._server is None:
                try:
                    self._server = ServerVersion(self.text("one.system.version"))
                except (reply.Fault, reply.Refused):
                    self._server = ServerVersion()  # the call is new in OpenNebula 3.8
            return self._server

    def text(self, method: str, *arguments: object) -> str:
        """The value that the call returns, as text."""
        with self._cloud_named():
            return reply.value(self._post(method, arguments))

    def number(self, method: str, *arguments: object) -> int:
        """The id that the call returns. Raises InvalidAnswer if it is not one."""
        text = self.text(method, *arguments)
        if is_id(text) and int(text) <= LARGEST_ID:
            return int(text)
        raise InvalidAnswer(f"{self.cloud} answered without an id")

    def documents(self, tag: str, method: str, *arguments: object, at_once: bool = False) -> Iterator[Element]:
        """The documents that the call returns, one at a time; with ``at_once`` the whole answer is received before the first."""
        chunks = self._post(method, arguments)
        with self._cloud_named():
            yield from reply.documents(list(chunks) if at_once else chunks, tag)

    def document(self, tag: str, method: str, *arguments: object) -> Element:
        """The document that the call returns. Raises InvalidAnswer unless there is exactly one."""
        found = list(self.documents(tag, method, *arguments))
        if len(found) != 1:
            raise InvalidAnswer(f"{self.cloud} answered with {len(found)} {tag} documents instead of one")
        return found[0]

    @contextmanager
    def _cloud_named(self) -> Iterator[None]:
        """Add the cloud and the user to errors that do not name them."""
        try:
            yield
        except InvalidAnswer as error:
            raise error.replaced(f"{self.cloud}: {error.message}", error.hint or "see --endpoint") from None
        except reply.Fault as error:
            words = error.message or "no reason given"
            raise reply.Fault(f"{self.cloud} rejected the call: {words} (fault {error.code})", error.code) from None
        except AuthenticationError as error:
            raise error.replaced(f"{self._credentials} at {self.cloud}: {error.message}") from None

    def _post(self, method: str, arguments: tuple[object, ...]) -> Iterator[bytes]:
        """Send the call and yield the answer as it arrives.

        Calls that only read, or that can be repeated without harm, are sent again if the connection drops before the answer; the
        others only if it drops before the request. Raises UsageError for text that XML-RPC or the server does not accept.
        """
        session = self._credentials.session
        check_characters(session, "the user name or password")
        for argument in arguments:
            if isinstance(argument, str):
                check_characters(argument, f"the text for {method}")
        body = _method_call(method, (session, *arguments)).encode()
        for pause in (*_BACK_OFF, None):
            begin, size = time.perf_counter(), 0
            self._say(f"> {method}({', '.join(['***', *map(_shown, arguments)])})")
            try:
                for chunk in self._transport.post(body, once=method in ONCE_ONLY):
                    size += len(chunk)
                    yield chunk
                self._say(f"< {method}: {size} bytes in {time.perf_counter() - begin:.3f} s")
                return
            except (ConnectionDropped, DroppedEarly) as dropped:
                if size or pause is None or (method in ONCE_ONLY and not dropped.nothing_done):
                    raise
                self._say(f"! {method}: {dropped.message}; retrying in {pause:g} s")
            self._sleep(pause)


def _shown(argument: object) -> str:
    text = str(argument)
    return f"<{len(text)} characters>" if len(text) > 60 or "\n" in text else text


def _method_call(method: str, arguments: tuple[object, ...]) -> str:
    """The request's XML. ``xmlrpc.client`` writes the same, but takes longer to load than a whole call."""
    parameters = "".join(f"<param>\n<value>{_value(method, argument)}</value>\n</param>\n" for argument in arguments)
    called = f"<methodName>{method}</methodName>\n<params>\n{parameters}</params>"
    return f"<?xml version='1.0'?>\n<methodCall>\n{called}\n</methodCall>\n"


def _value(method: str, argument: object) -> str:
    if isinstance(argument, bool):
        return f"<boolean>{argument:d}</boolean>"
    if isinstance(argument, int):
        if abs(argument) > LARGEST_ID:
            raise UsageError(f"cannot send {method}: ids end at {LARGEST_ID}")
        return f"<int>{argument:d}</int>"
    text = str(argument).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<string>{text}</string>".replace("\r", "&#13;")  # a bare carriage return would arrive as a line feed
