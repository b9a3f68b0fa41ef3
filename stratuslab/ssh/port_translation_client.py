"""StratusLab's port translation (PAT): machines without a public address are reached through ports of a gateway.

A service of the cloud says which port of the gateway leads to which port of an instance:
``GET http://SERVICE/cgi-bin/vmports.py?vmid=ID`` answers with the JSON document ``{"ID": [[port, gateway's port], ...]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratuslab.errors import StratusLabError, Unreachable
from stratuslab.http_proxy import login_wanted, proxy_for
from stratuslab.opennebula.document_values import count

_MAXIMUM_SIZE = 1 << 20


def translated_port(service: str, instance: int, port: int, timeout: float, environ: Mapping[str, str]) -> int | None:
    """The gateway's port for ``port`` of the instance; None if the instance has no translated ports at all.

    ``service`` is a host, optionally with a port; ``timeout`` is in seconds; ``environ`` may name a proxy. Raises Unreachable
    if the service does not answer, StratusLabError if the instance's ports are translated, but not this one.
    """
    ports = _ports(_document(f"http://{service}/cgi-bin/vmports.py", instance, timeout, environ), instance)
    if not ports:
        return None
    if port not in ports:
        translated = ", ".join(str(number) for number in sorted(ports)[:10])
        raise StratusLabError(
            f"the gateway does not translate port {port} of machine {instance}, only {translated}",
            "name another one with --port",
        )
    return ports[port]


def _document(url: str, instance: int, timeout: float, environ: Mapping[str, str]) -> Any:
    import json
    import time

    import requests

    from stratuslab.response_deadline import bounded_session

    deadline = time.monotonic() + timeout
    session = bounded_session()
    session.trust_env = False  # it would send what ~/.netrc has for the host
    try:
        proxy = proxy_for(url, environ)
        proxies = {"http": proxy.geturl()} if proxy else {}
        with session.get(url, params={"vmid": str(instance)}, timeout=timeout, stream=True, proxies=proxies) as response:
            if proxy and response.status_code == 407:
                raise Unreachable(*login_wanted(proxy))
            if response.status_code != 200:
                raise Unreachable(f"port translation service {url}: HTTP status {response.status_code}", _HINT)
            content = bytearray()
            for piece in response.iter_content(1 << 14):
                content += piece
                if len(content) > _MAXIMUM_SIZE or time.monotonic() > deadline:
                    raise Unreachable(f"port translation service {url}: the answer is too long or too slow", _HINT)
    except (requests.RequestException, ValueError) as error:
        why = "no answer in time" if isinstance(error, requests.Timeout) else "no connection"
        if isinstance(error, requests.exceptions.InvalidURL):
            why = "invalid host name"
        raise Unreachable(f"port translation service {url}: {why}", _HINT) from error
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Unreachable(f"port translation service {url}: the answer is not JSON", _HINT) from None


_HINT = "see --pat-service-host"


def _ports(document: Any, instance: int) -> dict[int, int]:
    """The gateway's port by the instance's port; entries of another form are skipped."""
    pairs = document.get(str(instance)) if isinstance(document, dict) else None
    found: dict[int, int] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        # The service is an old script: numbers may come as text.
        ports = [count(str(port), digits=5) or 0 for port in pair] if isinstance(pair, list) else []
        if len(ports) == 2 and all(0 < port < 65536 for port in ports):
            found.setdefault(*ports)
    return found
