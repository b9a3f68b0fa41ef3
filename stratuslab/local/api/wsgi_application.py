"""The WSGI application of the embedded cloud, which behaves like OpenNebula's daemon and StratusLab's proxy.

/RPC2              OpenNebula's XML-RPC, with user and password in the session string
/pswd/xmlrpc       StratusLab's XML-RPC, with HTTP Basic; the session string is ignored
/marketplace/...   the Marketplace; entries are read and added below /marketplace/metadata
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from stratuslab.errors import StratusLabError
from stratuslab.local.api import xmlrpc_wire
from stratuslab.local.api.accounts import Accounts
from stratuslab.local.api.methods import answer
from stratuslab.local.api.server_profiles import DEFAULT_PROFILE, ServerProfile
from stratuslab.local.engine.engine import Engine
from stratuslab.local.images import embedded_marketplace
from stratuslab.local.store.instance_record import User

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

RPC_PATH = "/RPC2"
PROXY_PATH = "/pswd/xmlrpc"
MARKETPLACE_PATH = "/marketplace"
_METADATA = ("/marketplace/metadata", "/marketplace/metadata/")
_ENTRY_TYPES = ("application/xml", "application/rdf+xml", "text/xml")


class _HTTPError(Exception):
    """A request that fails with an HTTP status; ``text`` is one line for people."""

    def __init__(self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})


class Application:
    """The WSGI application over an engine; threads may share it."""

    def __init__(self, engine: Engine, accounts: Accounts, profile: ServerProfile = DEFAULT_PROFILE) -> None:
        self._engine = engine
        self._accounts = accounts
        self._profile = profile

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, headers, body = self._respond(environ)
        except _HTTPError as refused:
            status, headers = refused.status, {"Content-Type": "text/plain; charset=utf-8", **refused.headers}
            body = f"{refused.text}\n".encode("utf-8", "replace")
        except StratusLabError as error:
            status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {"Content-Type": "text/plain; charset=utf-8"}
            body = f"{error}\n".encode("utf-8", "replace")
        headers["Content-Length"] = str(len(body))
        start_response(f"{status:d} {status.phrase}", list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _respond(self, environ: WSGIEnvironment) -> tuple[HTTPStatus, dict[str, str], bytes]:
        path = _path(environ)
        if path == RPC_PATH:
            _require_method(environ, "POST")
            return self._call(environ, self._of_session)
        if path == PROXY_PATH:
            user = self._of_basic(environ)
            _require_method(environ, "POST")
            return self._call(environ, lambda session: user)
        if path in _METADATA and environ["REQUEST_METHOD"] == "POST":
            return self._add_entry(environ)
        if path.startswith(f"{MARKETPLACE_PATH}/"):
            _require_method(environ, "GET", "HEAD")
            filters = dict(parse_qsl(environ.get("QUERY_STRING", ""), errors="replace"))
            status, body = embedded_marketplace.answer(
                self._engine.store, self._engine.now, path.removeprefix(MARKETPLACE_PATH), filters
            )
            return HTTPStatus(status), {"Content-Type": embedded_marketplace.CONTENT_TYPE}, body
        raise _HTTPError(HTTPStatus.NOT_FOUND, "Not found.")

    def _call(
        self, environ: WSGIEnvironment, authenticate: Callable[[str], User | None]
    ) -> tuple[HTTPStatus, dict[str, str], bytes]:
        body = _body(environ, xmlrpc_wire.LARGEST_CALL)
        response = b"".join(answer(self._engine, authenticate, body, self._profile))
        return HTTPStatus.OK, {"Content-Type": xmlrpc_wire.CONTENT_TYPE}, response

    def _of_session(self, session: str) -> User | None:
        name = self._accounts.authenticate(session)
        return self._engine.access.authenticate_token(session) if name is None else self._engine.user(name)

    def _of_basic(self, environ: WSGIEnvironment) -> User:
        kind, _, encoded = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        try:
            session = base64.b64decode(encoded, validate=True).decode() if kind.lower() == "basic" else ""
        except ValueError:
            session = ""
        user = self._of_session(session) if session else None
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
        if not anonymous:
            self._of_basic(environ)
        if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() not in _ENTRY_TYPES:
            return _bad_entry(f"the content type of an entry must be {_ENTRY_TYPES[0]} or {_ENTRY_TYPES[1]}")
        document = _body(environ, embedded_marketplace.LARGEST_ENTRY)
        try:
            entry = embedded_marketplace.MarketplaceEntries(self._engine.store, self._engine.now).add(
                document, anonymous=anonymous
            )
        except embedded_marketplace.InvalidEntry as error:
            return _bad_entry(str(error))
        location = "/".join((_METADATA[0], *entry.key))
        headers = {"Content-Type": embedded_marketplace.CONTENT_TYPE, "Location": location}
        return HTTPStatus.CREATED, headers, entry.document.encode()


def _bad_entry(reason: str) -> tuple[HTTPStatus, dict[str, str], bytes]:
    return (
        HTTPStatus.BAD_REQUEST,
        {"Content-Type": embedded_marketplace.CONTENT_TYPE},
        embedded_marketplace.error_document(reason),
    )


def _path(environ: WSGIEnvironment) -> str:
    # WSGI decodes the path's bytes as latin-1.
    raw: str = environ.get("PATH_INFO", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")


def _require_method(environ: WSGIEnvironment, *methods: str) -> None:
    if environ["REQUEST_METHOD"] not in methods:
        raise _HTTPError(HTTPStatus.METHOD_NOT_ALLOWED, f"Only {' and '.join(methods)} allowed.", {"Allow": ", ".join(methods)})


def _body(environ: Mapping[str, Any], largest: int) -> bytes:
    """The request's body. Its length must be in the headers."""
    length = environ.get("CONTENT_LENGTH") or ""
    if "HTTP_TRANSFER_ENCODING" in environ or not length:
        raise _HTTPError(HTTPStatus.LENGTH_REQUIRED, "The request needs a Content-Length.")
    if not (length.isascii() and length.isdigit()):
        raise _HTTPError(HTTPStatus.BAD_REQUEST, "The Content-Length is not a number.")
    if len(length) > 18 or int(length) > largest:
        raise _HTTPError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The request is larger than {largest} bytes.")
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) < int(length):
        raise _HTTPError(HTTPStatus.BAD_REQUEST, "The request is shorter than its Content-Length.")
    return body
