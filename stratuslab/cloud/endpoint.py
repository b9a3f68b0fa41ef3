"""The forms in which a cloud endpoint may be given, and the URL and credentials that each leads to.

StratusLab's clouds stand behind an authentication proxy: the path has an element ``pswd`` (HTTP Basic) or ``cert`` (TLS client
certificate) before its last one. OpenNebula itself answers at ``/RPC2`` and reads user and password from the first argument of
each call, the session string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from stratuslab.errors import UsageError

LOCAL = "local"
"""The endpoint that means the embedded cloud."""

STRATUSLAB_PORT = 2634
OPENNEBULA_PORT = 2633
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")


@dataclass(frozen=True)
class Credentials:
    """Who calls: user name and password (or login token), or the files of a client certificate and its key.

    ``origin`` says where they were found, for messages.
    """

    username: str = ""
    password: str = ""
    certificate: str = ""
    key: str = ""
    origin: str = ""

    def __str__(self) -> str:
        who = f'user "{self.username}"' if self.username else f'certificate "{self.certificate}"'
        return f"{who} ({self.origin})" if self.origin else who

    @property
    def session(self) -> str:
        """The session string. With a certificate it is a placeholder, which StratusLab's proxy replaces."""
        return f"{self.username}:{self.password}" if self.username else "dummy:pass"


@dataclass(frozen=True)
class Endpoint:
    """Where the calls go. ``basic`` says that user and password are sent as HTTP Basic too, ``proxied`` that a proxy is asked."""

    url: str
    basic: bool = False
    proxied: bool = False


def is_local(text: str) -> bool:
    """Whether the endpoint is the embedded cloud."""
    return text.strip() == LOCAL


def resolve(text: str, credentials: Credentials) -> Endpoint:
    """The endpoint that the user's text names; raises UsageError for text that names none.

    ==============================  ==============================================================
    ``HOST``                        ``https://HOST:2634/pswd/xmlrpc`` (``cert`` without a user name)
    ``HOST:PORT``                   ``https://HOST:PORT/pswd/xmlrpc``
    ``localhost``                   ``http://localhost:2633/RPC2``, OpenNebula itself
    ``https://HOST/a/xmlrpc``       ``https://HOST/a/pswd/xmlrpc``
    ``http://HOST:2633``            ``http://HOST:2633/RPC2``
    any other URL                   as it is, less trailing slashes
    ==============================  ==============================================================
    """
    parts = urlsplit(_with_scheme(text.strip()))
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f'the endpoint "{shown(text)}" has no valid port') from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not re.match(r"[\w.:%-]+\Z", parts.hostname):
        raise UsageError(f'the endpoint "{shown(text)}" is no host name and no http(s) URL')
    if parts.query or parts.fragment:
        raise UsageError(f'the endpoint "{shown(text)}" has a query or a fragment, which no endpoint has')
    path = _with_authentication(parts.path.rstrip("/") or _usual_path(parts.scheme), credentials)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    location = host if port is None else f"{host}:{port}"
    elements = path.split("/")
    return Endpoint(
        urlunsplit((parts.scheme, location, path, "", "")),
        basic="pswd" in elements and bool(credentials.username),
        proxied="pswd" in elements or "cert" in elements,
    )


def credentials_within(text: str) -> tuple[str, str] | None:
    """User name and password of a URL that holds them (``https://user:password@host/``); None where it does not."""
    parts = urlsplit(text.strip())
    if not parts.username:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def shown(text: str) -> str:
    """The endpoint's text without the user and password that a URL may hold."""
    return re.sub(r"//[^/@]*@", "//", text.strip())


def _with_scheme(text: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return text
    host, _, port = text.partition(":")
    if host in _LOOPBACK:
        return f"http://{host}:{port or OPENNEBULA_PORT}/RPC2"
    return f"https://{text}/xmlrpc" if port or "/" in text else f"https://{text}:{STRATUSLAB_PORT}/xmlrpc"


def _usual_path(scheme: str) -> str:
    # StratusLab's clouds are always behind TLS; OpenNebula's daemon speaks plain HTTP itself.
    return "/xmlrpc" if scheme == "https" else "/RPC2"


def _with_authentication(path: str, credentials: Credentials) -> str:
    *before, last = path.split("/")
    if last != "xmlrpc" or {"pswd", "cert"} & set(before):
        return path
    return "/".join([*before, "pswd" if credentials.username else "cert", last])
