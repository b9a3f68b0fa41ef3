"""What the embedded cloud answers over HTTP, like OpenNebula's daemon and StratusLab's proxy.

/RPC2              OpenNebula's XML-RPC, with user and password in the session string
/pswd/xmlrpc       StratusLab's XML-RPC, with HTTP Basic; the session string is ignored
/marketplace/...   the Marketplace, whose entries everybody can read; users add them by POST to /marketplace/metadata
"""

from __future__ import annotations

import base64
import ipaddress
import threading
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from urllib.parse import quote

from stratuslab.errors import StratusLabError
from stratuslab.local.api import xmlrpc_wire
from stratuslab.local.api.accounts import Accounts, LoginThrottle
from stratuslab.local.api.client_connections import client_of
from stratuslab.local.api.http_request_response import HttpRequest, HttpResponse, bare, whole
from stratuslab.local.api.marketplace_rest import XML, failure, respond
from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE, ServerProfile
from stratuslab.local.api_error import not_authenticated
from stratuslab.local.engine.engine import Engine
from stratuslab.local.images import embedded_marketplace
from stratuslab.local.store.stored_records import User

RPC_PATH = "/RPC2"
PROXY_PATH = "/pswd/xmlrpc"
MARKETPLACE_PATH = "/marketplace"
_METADATA = f"{MARKETPLACE_PATH}/metadata"
_LARGE_CALL_SECONDS = 20.0
_WRONG_IN_REQUEST = 3
_ENTRY_TYPES = ("application/xml", "application/rdf+xml", "text/xml")
_FORM = "application/x-www-form-urlencoded"


class _Refused(Exception):
    """A request that fails; ``text`` is one line for people."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.response = _text(status, text, **headers)


def _text(status: int, text: str, **headers: str) -> HttpResponse:
    return bare(status, "text/plain; charset=utf-8", f"{text}\n".encode("utf-8", "replace"), **headers)


class HttpApplication:
    """Answers requests with an engine; threads may share it. ``names`` are the host names that clients may call it by."""

    def __init__(
        self, engine: Engine, accounts: Accounts, profile: ServerProfile = DEFAULT_PROFILE, names: Collection[str] = ()
    ) -> None:
        self._engine = engine
        self._accounts = accounts
        self._profile = profile
        self._names = {name.lower() for name in names}
        self._throttle = LoginThrottle()
        self._large_calls = threading.Lock()

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The response to a request."""
        try:
            return self._respond(request)
        except _Refused as refused:
            return refused.response
        except StratusLabError as error:
            return _text(500, str(error))

    def _respond(self, request: HttpRequest) -> HttpResponse:
        self._refuse_web_pages(request)
        path, is_read = request.path, request.method in ("GET", "HEAD")
        if path == RPC_PATH:
            _require_method(request, "POST")
            return self._call(request, self._login(request))
        if path == PROXY_PATH:
            user = self._of_basic(request)
            _require_method(request, "POST")
            return self._call(request, lambda session: user)
        if path == MARKETPLACE_PATH and is_read:
            return _text(301, "Moved.", Location=f"{MARKETPLACE_PATH}/")
        if path.startswith(f"{MARKETPLACE_PATH}/"):
            return self._ask_marketplace(request)
        if is_read and "text/html" in request.header("Accept"):
            from stratuslab.local.api.html_elements import missing_page

            return _text(302, "Found.", Location=f"{MARKETPLACE_PATH}/") if path == "/" else missing_page()
        raise _Refused(404, "Not found.")

    def _ask_marketplace(self, request: HttpRequest) -> HttpResponse:
        if request.path.rstrip("/") == _METADATA and request.method == "POST":
            if _content_type(request) != _FORM:
                return self._add_entry(request)
            form = _received(request, _length(request, xmlrpc_wire.UNAUTHENTICATED))
            request = request._replace(query=form.decode("latin-1"))
        else:
            _require_method(request, "GET", "HEAD")
        request = request._replace(path=request.path.removeprefix(MARKETPLACE_PATH))
        return respond(self._engine.store, self._engine.now, request)

    def _refuse_web_pages(self, request: HttpRequest) -> None:
        """Refuse what a browser sends for a web page other than the Marketplace's own, also for one whose host name leads here
        (DNS rebinding)."""
        own = ("none", "same-origin") if request.path.startswith(f"{MARKETPLACE_PATH}/") else ("none",)
        if "Origin" in request.headers or request.header("Sec-Fetch-Site", "none") not in own:
            raise _Refused(403, "Requests of web pages are refused.")
        name = _host_name(request.header("Host"))
        if name and name not in self._names and not _is_address(name):
            raise _Refused(421, f"Unknown host name {name[:100]!r} (serve it with --name).")

    def _call(self, request: HttpRequest, authenticate: Callable[[str], User | None]) -> HttpResponse:
        length = _length(request, xmlrpc_wire.LARGEST_CALL)
        beginning = _received(request, min(length, xmlrpc_wire.UNAUTHENTICATED))
        if length == len(beginning):
            pieces = answer(self._engine, authenticate, [beginning], self._profile)
        else:
            pieces = self._large_call(request, authenticate, beginning, length)
        return bare(200, xmlrpc_wire.CONTENT_TYPE, b"".join(pieces))

    def _large_call(
        self, request: HttpRequest, authenticate: Callable[[str], User | None], beginning: bytes, length: int
    ) -> Iterator[bytes]:
        """The response to a call of which only the beginning is there. The rest is received only for users, of one at a time."""
        try:
            method, session = xmlrpc_wire.read_session(beginning)
        except xmlrpc_wire.RpcFault as fault:
            return xmlrpc_wire.fault(fault)
        if authenticate(session) is None:
            return xmlrpc_wire.failure(not_authenticated(), method, self._profile)
        if not self._large_calls.acquire(timeout=_LARGE_CALL_SECONDS):
            raise _Refused(503, "Too many large requests.")
        try:
            sizes = range(len(beginning), length, xmlrpc_wire.UNAUTHENTICATED)
            rest = (_received(request, min(length - at, sizes.step)) for at in sizes)
            return answer(self._engine, authenticate, chain([beginning], rest), self._profile)
        finally:
            self._large_calls.release()

    def _login(self, request: HttpRequest) -> Callable[[str], User | None]:
        """Authenticates the sessions of a request, but not many wrong ones, as in a ``system.multicall``."""
        client, wrong = client_of(request.client), 0

        def login(session: str) -> User | None:
            nonlocal wrong
            user = self._throttle.check(client, session, self._of_session) if wrong < _WRONG_IN_REQUEST else None
            wrong += user is None
            return user

        return login

    def _of_session(self, session: str) -> User | None:
        name = self._accounts.authenticate(session)
        return self._engine.access.authenticate_token(session) if name is None else self._engine.user(name)

    def _of_basic(self, request: HttpRequest) -> User:
        kind, _, encoded = request.header("Authorization").partition(" ")
        try:
            session = base64.b64decode(encoded, validate=True).decode() if kind.lower() == "basic" else ""
        except ValueError:
            session = ""
        user = self._login(request)(session) if session else None
        if user is None:
            raise _Refused(401, "User name and password required.", **{"WWW-Authenticate": 'Basic realm="StratusLab"'})
        return user

    def _add_entry(self, request: HttpRequest) -> HttpResponse:
        # StratusLab's Marketplace required a signature instead of a password, so its clients send none.
        anonymous = self._profile.legacy and "Authorization" not in request.headers
        user = None if anonymous else self._of_basic(request)
        if _content_type(request) not in _ENTRY_TYPES:
            return failure(400, f"the content type of an entry must be {_ENTRY_TYPES[0]} or {_ENTRY_TYPES[1]}")
        largest = xmlrpc_wire.UNAUTHENTICATED if anonymous else embedded_marketplace.LARGEST_ENTRY
        document = _received(request, _length(request, largest))
        try:
            entry = embedded_marketplace.MarketplaceEntries(self._engine.store, self._engine.now).add(document, user)
        except embedded_marketplace.EntryTaken as error:
            return failure(403, str(error))
        except embedded_marketplace.InvalidEntry as error:
            return failure(400, str(error))
        location = "/".join((_METADATA, *(quote(part, safe="@:", errors="replace") for part in entry.key)))
        return whole(201, XML, entry.document.encode(), Location=location)


def _content_type(request: HttpRequest) -> str:
    return request.header("Content-Type").partition(";")[0].strip().lower()


def _require_method(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise _Refused(405, f"Only {' and '.join(methods)} allowed.", Allow=", ".join(methods))


def _host_name(host: str) -> str:
    """The name or address in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _length(request: HttpRequest, largest: int) -> int:
    """The length of the request's body, which must be in the headers."""
    length = request.header("Content-Length")
    if "Transfer-Encoding" in request.headers or not length:
        raise _Refused(411, "The request needs a Content-Length.")
    if not (length.isascii() and length.isdigit()):
        raise _Refused(400, "The Content-Length is not a number.")
    if len(length) > 18 or int(length) > largest:
        raise _Refused(413, f"The request is larger than {largest} bytes.")
    return int(length)


def _received(request: HttpRequest, length: int) -> bytes:
    """The next bytes of the request's body."""
    try:
        body = request.read(length)
    except TimeoutError:
        raise _Refused(408, "The request did not arrive in time.") from None
    if len(body) < length:
        raise _Refused(400, "The request is shorter than its Content-Length.")
    return body
