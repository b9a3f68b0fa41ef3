"""The WSGI application of the embedded cloud, which behaves like OpenNebula's daemon and StratusLab's proxy.

/RPC2              OpenNebula's XML-RPC, with user and password in the session string
/pswd/xmlrpc       StratusLab's XML-RPC, with HTTP Basic; the session string is ignored
/marketplace/...   the Marketplace, whose entries everybody can read; users add them by POST to /marketplace/metadata
"""

from __future__ import annotations

import base64
import ipaddress
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any

from stratuslab.errors import StratusLabError
from stratuslab.local.api import xmlrpc_wire
from stratuslab.local.api.accounts import Accounts, LoginThrottle
from stratuslab.local.api.client_connections import client_of
from stratuslab.local.api.marketplace_messages import MarketplaceRequest
from stratuslab.local.api.marketplace_rest import XML, error_document, respond
from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE, ServerProfile
from stratuslab.local.api_error import not_authenticated
from stratuslab.local.engine.engine import Engine
from stratuslab.local.images import embedded_marketplace
from stratuslab.local.store.instance_record import User

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

RPC_PATH = "/RPC2"
PROXY_PATH = "/pswd/xmlrpc"
MARKETPLACE_PATH = "/marketplace"
_METADATA = ("/marketplace/metadata", "/marketplace/metadata/")
_LARGE_CALL_SECONDS = 20.0
_WRONG_IN_REQUEST = 3
_ENTRY_TYPES = ("application/xml", "application/rdf+xml", "text/xml")
_FORM = "application/x-www-form-urlencoded"


class _HTTPError(Exception):
    """A request that fails with an HTTP status; ``text`` is one line for people."""

    def __init__(self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})


class Application:
    """The WSGI application over an engine; threads may share it. ``names`` are the host names that clients may call it by."""

    def __init__(
        self, engine: Engine, accounts: Accounts, profile: ServerProfile = DEFAULT_PROFILE, names: Collection[str] = ()
    ) -> None:
        self._engine = engine
        self._accounts = accounts
        self._profile = profile
        self._names = {name.lower() for name in names}
        self._throttle = LoginThrottle()
        self._large_calls = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, headers, body = self._respond(environ)
        except _HTTPError as refused:
            status, headers = refused.status, {"Content-Type": "text/plain; charset=utf-8", **refused.headers}
            body = f"{refused.text}\n".encode("utf-8", "replace")
        except StratusLabError as error:
            status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {"Content-Type": "text/plain; charset=utf-8"}
            body = f"{error}\n".encode("utf-8", "replace")
        if isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
            body = [body]
        start_response(f"{status:d} {status.phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else body

    def _respond(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, dict[str, str], bytes | Iterable[bytes]]:
        self._refuse_web_pages(environ)
        path = _path(environ)
        if path == RPC_PATH:
            _require_method(environ, "POST")
            return self._call(environ, self._login(environ))
        if path == PROXY_PATH:
            user = self._of_basic(environ)
            _require_method(environ, "POST")
            return self._call(environ, lambda session: user)
        if path in _METADATA and environ["REQUEST_METHOD"] == "POST":
            return self._search(environ) if _content_type(environ) == _FORM else self._add_entry(environ)
        if path == MARKETPLACE_PATH and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return HTTPStatus.MOVED_PERMANENTLY, {"Location": f"{MARKETPLACE_PATH}/"}, b""
        if path.startswith(f"{MARKETPLACE_PATH}/"):
            _require_method(environ, "GET", "HEAD")
            return self._read_marketplace(environ, path.removeprefix(MARKETPLACE_PATH))
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") and "text/html" in environ.get("HTTP_ACCEPT", ""):
            return self._page_elsewhere(path)
        raise _HTTPError(HTTPStatus.NOT_FOUND, "Not found.")

    def _read_marketplace(
        self, environ: WSGIEnvironment, path: str, form: str | None = None
    ) -> tuple[HTTPStatus, dict[str, str], Iterable[bytes]]:
        request = MarketplaceRequest(
            path,
            environ.get("QUERY_STRING", "") if form is None else form,
            environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_IF_NONE_MATCH", ""),
            environ.get("HTTP_IF_MODIFIED_SINCE", ""),
            form is not None,
        )
        status, headers, body = respond(self._engine.store, self._engine.now, request)
        return HTTPStatus(status), headers, body

    def _page_elsewhere(self, path: str) -> tuple[HTTPStatus, dict[str, str], bytes | Iterable[bytes]]:
        """What a browser gets at any other path."""
        from stratuslab.local.api.web_page import missing_page

        if path == "/":
            return HTTPStatus.FOUND, {"Location": f"{MARKETPLACE_PATH}/"}, b""
        status, headers, body = missing_page()
        return HTTPStatus(status), headers, body

    def _search(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, dict[str, str], Iterable[bytes]]:
        form = _received(environ, _length(environ, xmlrpc_wire.UNAUTHENTICATED))
        return self._read_marketplace(environ, "/metadata", form.decode("latin-1"))

    def _refuse_web_pages(self, environ: WSGIEnvironment) -> None:
        """Refuse what a browser sends for a web page other than the Marketplace's own, also for one whose host name leads here
        (DNS rebinding)."""
        own = ("none", "same-origin") if _path(environ).startswith(f"{MARKETPLACE_PATH}/") else ("none",)
        if "HTTP_ORIGIN" in environ or environ.get("HTTP_SEC_FETCH_SITE", "none") not in own:
            raise _HTTPError(HTTPStatus.FORBIDDEN, "Requests of web pages are refused.")
        named = environ.get("HTTP_HOST")
        name = _host_name(named) if named is not None else ""
        if name and name not in self._names and not _is_address(name):
            raise _HTTPError(HTTPStatus.MISDIRECTED_REQUEST, f"Unknown host name {name[:100]!r} (serve it with --name).")

    def _call(
        self, environ: WSGIEnvironment, authenticate: Callable[[str], User | None]
    ) -> tuple[HTTPStatus, dict[str, str], bytes]:
        length = _length(environ, xmlrpc_wire.LARGEST_CALL)
        body = _received(environ, min(length, xmlrpc_wire.UNAUTHENTICATED))
        if length == len(body):
            response = b"".join(answer(self._engine, authenticate, [body], self._profile))
        else:
            response = self._large_call(environ, authenticate, body, length)
        return HTTPStatus.OK, {"Content-Type": xmlrpc_wire.CONTENT_TYPE}, response

    def _large_call(
        self, environ: WSGIEnvironment, authenticate: Callable[[str], User | None], beginning: bytes, length: int
    ) -> bytes:
        """The response to a call of which only the beginning is there. The rest is received only for users, of one at a time."""
        try:
            method, session = xmlrpc_wire.read_session(beginning)
        except xmlrpc_wire.RpcFault as fault:
            return b"".join(xmlrpc_wire.fault(fault))
        if authenticate(session) is None:
            return b"".join(xmlrpc_wire.failure(not_authenticated(), method, self._profile))
        if not self._large_calls.acquire(timeout=_LARGE_CALL_SECONDS):
            raise _HTTPError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many large requests.")
        try:
            sizes = range(len(beginning), length, xmlrpc_wire.UNAUTHENTICATED)
            rest = (_received(environ, min(length - at, sizes.step)) for at in sizes)
            return b"".join(answer(self._engine, authenticate, chain([beginning], rest), self._profile))
        finally:
            self._large_calls.release()

    def _login(self, environ: WSGIEnvironment) -> Callable[[str], User | None]:
        """Authenticates the sessions of a request, but not many wrong ones, as in a ``system.multicall``."""
        client, wrong = client_of(environ["REMOTE_ADDR"]), 0

        def login(session: str) -> User | None:
            nonlocal wrong
            user = self._throttle.check(client, session, self._of_session) if wrong < _WRONG_IN_REQUEST else None
            wrong += user is None
            return user

        return login

    def _of_session(self, session: str) -> User | None:
        name = self._accounts.authenticate(session)
        return self._engine.access.authenticate_token(session) if name is None else self._engine.user(name)

    def _of_basic(self, environ: WSGIEnvironment) -> User:
        kind, _, encoded = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            session = base64.b64decode(encoded, validate=True).decode() if kind.lower() == "basic" else ""
        except ValueError:
            session = ""
        user = self._login(environ)(session) if session else None
        if user is None:
            raise _HTTPError(
                HTTPStatus.UNAUTHORIZED,
                "User name and password required.",
                {"WWW-Authenticate": 'Basic realm="StratusLab"'},
            )
        return user

    def _add_entry(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, dict[str, str], bytes]:
        # StratusLab's Marketplace required a signature instead of a password, so its clients send none.
        anonymous = self._profile.legacy and "HTTP_AUTHORIZATION" not in environ
        user = None if anonymous else self._of_basic(environ)
        if _content_type(environ) not in _ENTRY_TYPES:
            return _bad_entry(f"the content type of an entry must be {_ENTRY_TYPES[0]} or {_ENTRY_TYPES[1]}")
        largest = xmlrpc_wire.UNAUTHENTICATED if anonymous else embedded_marketplace.LARGEST_ENTRY
        document = _received(environ, _length(environ, largest))
        try:
            entry = embedded_marketplace.MarketplaceEntries(self._engine.store, self._engine.now).add(document, user)
        except embedded_marketplace.EntryTaken as error:
            return HTTPStatus.FORBIDDEN, *_bad_entry(str(error))[1:]
        except embedded_marketplace.InvalidEntry as error:
            return _bad_entry(str(error))
        location = "/".join((_METADATA[0], *entry.key))
        headers = {"Content-Type": XML, "Location": location}
        return HTTPStatus.CREATED, headers, entry.document.encode()


def _bad_entry(reason: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
    return HTTPStatus.BAD_REQUEST, {"Content-Type": XML}, error_document(reason)


def _content_type(environ: WSGIEnvironment) -> str:
    kind: str = environ.get("CONTENT_TYPE", "")
    return kind.partition(";")[0].strip().lower()


def _path(environ: WSGIEnvironment) -> str:
    # WSGI decodes the path's bytes as latin-1.
    raw: str = environ.get("PATH_INFO", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def _require_method(environ: WSGIEnvironment, *methods: str) -> None:
    if environ["REQUEST_METHOD"] not in methods:
        raise _HTTPError(HTTPStatus.METHOD_NOT_ALLOWED, f"Only {' and '.join(methods)} allowed.", {"Allow": ", ".join(methods)})


def _host_name(host: str) -> str:
    """The name or address in a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".").lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _length(environ: Mapping[str, Any], largest: int) -> int:
    """The length of the request's body, which must be in the headers."""
    length = environ.get("CONTENT_LENGTH") or ""
    if "HTTP_TRANSFER_ENCODING" in environ or not length:
        raise _HTTPError(HTTPStatus.LENGTH_REQUIRED, "The request needs a Content-Length.")
    if not (length.isascii() and length.isdigit()):
        raise _HTTPError(HTTPStatus.BAD_REQUEST, "The Content-Length is not a number.")
    if len(length) > 18 or int(length) > largest:
        raise _HTTPError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is larger than {largest} bytes.")
    return int(length)


def _received(environ: Mapping[str, Any], length: int) -> bytes:
    """The next bytes of the request's body."""
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except TimeoutError:
        raise _HTTPError(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time.") from None
    if len(body) < length:
        raise _HTTPError(HTTPStatus.BAD_REQUEST, "The request is shorter than its Content-Length.")
    return body
