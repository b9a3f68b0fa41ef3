"""What goes wrong with calls to a served cloud, as a test says, and which calls came."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from io import BytesIO
from typing import NamedTuple

from stratuslab.local.api import xmlrpc_wire
from stratuslab.local.api.http_request_response import HttpRequest, HttpResponse, bare
from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.api_error import APIError
from stratuslab.opennebula.error_codes import ErrorCode

_METHOD = re.compile(rb"<methodName>\s*([\w.]+)")


class CallFault(NamedTuple):
    """What happens to one call: it is answered ``delay`` seconds later; it is refused with a ``refusal`` instead of carried out;
    or its answer is lost (``loses``), after it was carried out or instead of that (``ignores``)."""

    delay: float = 0.0
    refusal: APIError | None = None
    loses: bool = False
    ignores: bool = False


class FaultyApplication:
    """Stands before the application of a served cloud. ``calls`` are the methods that were called, in order."""

    def __init__(self, respond: Callable[[HttpRequest], HttpResponse], profile: ServerProfile) -> None:
        self._respond = respond
        self._profile = profile
        self._coming: list[tuple[str, CallFault]] = []
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.calls: list[str] = []

    def add(self, method: str, fault: CallFault, times: int) -> None:
        """Let it happen to the next calls of the method, of any one if it is empty."""
        with self._lock:
            self._coming += [(method, fault)] * times

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The response to a request, if nothing goes wrong with it."""
        length = request.header("Content-Length")
        body = request.read(int(length)) if length.isdecimal() else b""
        request = request._replace(read=BytesIO(body).read)
        named = _METHOD.search(body)
        if named is None:
            return self._respond(request)
        method = named[1].decode()
        fault = self._next(method)
        if fault.delay:
            self.ended.wait(fault.delay)
        if fault.refusal is not None:
            return bare(200, xmlrpc_wire.CONTENT_TYPE, b"".join(xmlrpc_wire.failure(fault.refusal, method, self._profile)))
        if not fault.ignores:
            response = self._respond(request)
        if fault.loses:
            # The server takes it for a client that went away, and closes the connection without a word.
            raise ConnectionAbortedError("lost, as the test wants it")
        return response

    def _next(self, method: str) -> CallFault:
        with self._lock:
            self.calls.append(method)
            for place, (wanted, fault) in enumerate(self._coming):
                if wanted in ("", method):
                    del self._coming[place]
                    return fault
        return CallFault()


def refusal(message: str, code: int) -> CallFault:
    """A fault by which a call is refused like by the cloud itself. Raises ValueError for an unknown code."""
    return CallFault(refusal=APIError(ErrorCode(code), message))
