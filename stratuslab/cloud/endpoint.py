"""Cloud endpoints: the forms in which users write them, and the URL and credentials that result.

StratusLab's clouds are behind an authentication proxy: the path has an element ``pswd`` (HTTP Basic) or ``cert`` (TLS client
certificate) before its last one. OpenNebula itself answers at ``/RPC2`` and reads user and password from the first argument of
each call, the session string.
"""

import re
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from stratuslab.errors import UsageError
from stratuslab.url_credentials import shown

LOCAL = "local"
"""The endpoint that means the embedded cloud."""

STRATUSLAB_PORT = 2634
OPENNEBULA_PORT = 2633
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Credentials(NamedTuple):
    """A user name and password (or login token), or the files of a client certificate and its key.

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
        """The session string. With a certificate it is a placeholder, which StratusLab's proxy replaces.

        Raises UsageError for a user name or password that cannot be sent.
        """
        if re.search("[\x00-\x1f\x7f\ud800-\udfff]", self.username + self.password):
            where = f" ({self.origin})" if self.origin else ""
            raise UsageError(f"the user name or password{where} contains a control character or is not UTF-8 text")
        return f"{self.username}:{self.password}" if self.username else "dummy:pass"


class Endpoint(NamedTuple):
    """The URL that calls are sent to. With ``basic``, user and password are sent as HTTP Basic authentication too."""

    url: str
    basic: bool = False


def is_local(text: str) -> bool:
    """Whether the endpoint names the embedded cloud."""
    return text.strip().lower() == LOCAL


def resolve(text: str, credentials: Credentials) -> Endpoint:
    """The endpoint that the user's text stands for (docs/configuration.rst lists the forms). Raises UsageError for other text."""
    try:
        parts = _split(text)
        host, path = _host(parts), quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        if parts.scheme not in ("http", "https"):
            raise ValueError(parts.scheme)
    except ValueError:
        raise UsageError(f'the endpoint "{shown(text)}" is not a host name or an http(s) URL') from None
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise UsageError(f'the endpoint "{shown(text)}" has an invalid port')
    if parts.query or parts.fragment:
        raise UsageError(f'the endpoint "{shown(text)}" must not have a query or a fragment')
    # StratusLab's clouds are always behind TLS; OpenNebula's daemon speaks plain HTTP itself.
    *before, last = (path or ("/xmlrpc" if parts.scheme == "https" else "/RPC2")).split("/")
    if last == "xmlrpc" and not {"pswd", "cert"} & set(before):
        before.append("pswd" if credentials.username else "cert")
    path = "/".join([*before, last])
    location = host if port is None else f"{host}:{port}"
    basic = "pswd" in path.split("/") and bool(credentials.username)
    return Endpoint(urlunsplit((parts.scheme, location, path, "", "")), basic)


def host_in(url: str) -> str:
    """The host in the URL of an endpoint, as it is connected to: with the zone of an IPv6 address after ``%``."""
    return (urlsplit(url).hostname or "").replace("%25", "%")


def credentials_within(text: str) -> tuple[str, str] | None:
    """User name and password in a URL (``https://user:password@host/``), or None."""
    try:
        parts = _split(text)
    except ValueError:
        return None
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _split(text: str) -> SplitResult:
    """The parts of the URL that the text is or stands for. Raises ValueError if there is no such URL."""
    text = text.strip()
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return urlsplit(text)
    if text.count(":") > 1 and re.fullmatch(r"[0-9A-Fa-f:.]+(%[\w.-]+)?", text):
        text = f"[{text}]"
    parts = urlsplit(f"//{text}")
    loopback = parts.hostname in _LOOPBACK
    location = parts.netloc
    if not re.search(r":[^:@\]]+\Z", location) and (loopback or not parts.path.strip("/")):
        location = f"{location.rstrip(':')}:{OPENNEBULA_PORT if loopback else STRATUSLAB_PORT}"
    plain = loopback or location.endswith(f":{OPENNEBULA_PORT}")  # OpenNebula's daemon does not speak TLS itself
    return parts._replace(scheme="http" if plain else "https", netloc=location)


def _host(parts: SplitResult) -> str:
    """The host as URLs write it. Raises ValueError if it is not a valid host name or address."""
    name = parts.hostname or ""
    if "[" in parts.netloc:
        from ipaddress import IPv6Address

        # In a URL the zone follows "%25" (RFC 6874); people also write "%", as ping and ssh do.
        address, _, zone = name.partition("%25" if "%25" in name else "%")
        IPv6Address(address)
        if "%" in name and not re.fullmatch(r"[\w.-]+", zone):
            raise ValueError(name)
        return f"[{address}%25{zone}]" if zone else f"[{address}]"
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(name)
    if name.isascii() and all(0 < len(label) < 64 for label in name.removesuffix(".").split(".")):
        return name  # as the codec would, which takes long to load
    return name.encode("idna").decode("ascii")
