"""The HTTP proxy that the environment names for a URL, by the same rules for clouds, the Marketplace and all others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from stratuslab.errors import UsageError


def proxy_for(url: str, environ: Mapping[str, str]) -> SplitResult | None:
    """The proxy's URL, which may hold user and password; None for a direct connection.

    ``http_proxy`` or ``https_proxy`` counts, else ``all_proxy``, unless the host is in ``no_proxy``; names in lower case win.
    Raises UsageError for a proxy that cannot be used.
    """
    # Sorted, so that http_proxy wins over HTTP_PROXY.
    found = {name.lower(): environ[name] for name in sorted(environ) if name.lower().endswith("_proxy")}
    if not found:
        return None
    target = urlsplit(url)
    variable = f"{target.scheme}_proxy" if f"{target.scheme}_proxy" in found else "all_proxy"
    named = found.get(variable)
    if not named or _is_direct(target, found.get("no_proxy", "")):
        return None
    try:
        proxy = urlsplit(named if "://" in named else f"http://{named}")
        usable = proxy.scheme == "http" and proxy.hostname and proxy.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{variable} in the environment is not an HTTP proxy", "expected http://HOST:PORT")
    return proxy


def _is_direct(target: SplitResult, no_proxy: str) -> bool:
    host = (target.hostname or "").partition("%")[0].rstrip(".")
    port = target.port or {"http": 80, "https": 443}.get(target.scheme)
    return any(_matches(entry, host, port) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of ``no_proxy`` means the host: ``*``, a domain, an address or a network, optionally with a port."""
    if entry == "*":
        return True
    if match := re.fullmatch(r"(\[.*\]|[^:]*):([0-9]+)", entry):
        entry = match[1]
        if int(match[2]) != port:
            return False
    if re.fullmatch(r"[0-9.]+|.*:.*", host):
        from ipaddress import ip_address, ip_network

        try:
            return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def login_wanted(proxy: SplitResult) -> tuple[str, str]:
    """What is wrong, and what to do, when the proxy answers 407: it is the proxy's password that is meant, not the server's."""
    place = f"the proxy {proxy.hostname}:{proxy.port or 80}"
    problem = "rejected its user name and password" if proxy.username else "requires a user name and password"
    return f"{place} {problem} (HTTP 407)", "set them as http://USER:PASSWORD@HOST:PORT in HTTPS_PROXY or HTTP_PROXY"
