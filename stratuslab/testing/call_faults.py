"""What goes wrong with calls to a served cloud, as a test says, and which calls came."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.local.api import xmlrpc_wire
from stratuslab.local.api.server_profiles import ServerProfile
from stratuslab.local.api_error import APIError
from stratuslab.opennebula.error_codes import ErrorCode

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_METHOD = re.compile(rb"<methodName>\s*([\w.]+)")


class CallFault(NamedTuple):
    """What happens to one call: it is answered ``delay`` seconds later; it is refused with a ``refusal`` instead of carried out;
    or its answer is lost (``loses``), after it was carried out or instead of that (``ignores``)."""

    delay: float = 0.0
    refusal: APIError | None = None
    loses: bool = False
    ignores: bool = False


class FaultyApplication:
    """Stands before the WSGI application of a served cloud. ``calls`` are the methods that were called, in order."""

    def __init__(self, application: WSGIApplication, profile: ServerProfile) -> None:
        self._application = application
        self._profile = profile
        self._coming: list[tuple[str, CallFault]] = []
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.calls: list[str] = []

    def add(self, method: str, fault: CallFault, times: int) -> None:
        """Let it happen to the next calls of the method, of any one if it is empty."""
        with self._lock:
            self._coming += [(method, fault)] * times

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST":
            return self._application(environ, start_response)
        length = environ.get("CONTENT_LENGTH") or "0"
        body = environ["wsgi.input"].read(int(length) if length.isdigit() else 0)
        environ["wsgi.input"] = BytesIO(body)
        named = _METHOD.search(body)
        if named is None:
            return self._application(environ, start_response)
        method = named[1].decode()
        fault = self._next(method)
        if fault.delay:
            self.ended.wait(fault.delay)
        if fault.refusal is not None:
            answer = b"".join(xmlrpc_wire.failure(fault.refusal, method, self._profile))
            start_response("200 OK", [("Content-Type", xmlrpc_wire.CONTENT_TYPE), ("Content-Length", str(len(answer)))])
            return [answer]
        if not fault.ignores:
            answers = self._application(environ, start_response)
        if fault.loses:
            # The server takes it for a client that went away, and closes the connection without a word.
            raise ConnectionAbortedError("lost, as the test wants it")
        return answers

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
