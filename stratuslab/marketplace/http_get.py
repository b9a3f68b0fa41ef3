"""A GET with the requests library, and the redirects it may follow; also a form, whose answer is never elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from stratuslab.errors import Unreachable
from stratuslab.http_proxy import login_wanted, proxy_for
from stratuslab.url_credentials import shown, split_login

if TYPE_CHECKING:
    import requests

REDIRECTS = 5
"""Maximum number of redirects to follow."""

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "stratuslab-client"}


class NotFollowed(Exception):
    """A redirect that is not followed; the text says why."""


def get(
    session: requests.Session,
    url: str,
    headers: Mapping[str, str],
    *,
    timeout: tuple[float, float],
    login: tuple[str, str] | None = None,
    verify: bool | str = True,
    environ: Mapping[str, str] = os.environ,
    trace: Callable[[str], None] = lambda line: None,
    form: Mapping[str, str] | None = None,
) -> requests.Response:
    """The response to a GET with its body unread, after following redirects. With a ``form`` that is sent by POST, and a redirect
    is not followed but returned. The time-outs are for connecting and for waiting;
    ``environ`` may name proxies, and certificates to trust if ``verify`` is True; ``trace`` gets a line for each request and
    response.

    Raises NotFollowed, the errors of requests, Unreachable if a proxy wants a password, UsageError for a proxy that cannot be
    used, and OSError if the file of ``verify`` does not exist.
    """
    import requests

    # Else requests would send what ~/.netrc has for the host, and choose proxies by rules of its own.
    session.trust_env = False
    if verify is True:
        verify = environ.get("REQUESTS_CA_BUNDLE") or True
    request = requests.Request("GET" if form is None else "POST", url, {**_HEADERS, **headers}, data=form, auth=login)
    for _ in range(REDIRECTS + 1):
        trace(f"> {request.method} {shown(request.url)}")
        response = _sent(session, request, proxy_for(request.url, environ), timeout=timeout, verify=verify)
        trace(f"< {response.status_code} {response.reason}, {response.headers.get('Content-Type', 'no Content-Type')}")
        if not response.is_redirect or form is not None:
            return response
        response.close()
        target = redirected(request.url, response.headers["Location"])
        if target is None:
            raise NotFollowed("it redirects to an address that is not allowed")
        request.url = target
        # User and password are sent only to the host that they were given for.
        request.auth = login if urlsplit(target).netloc == urlsplit(url).netloc else None
    raise NotFollowed("it redirects in circles")


def _sent(session: requests.Session, request: requests.Request, proxy: SplitResult | None, **settings: Any) -> requests.Response:
    import warnings

    from requests import exceptions
    from urllib3.exceptions import LocationParseError

    if proxy:
        settings["proxies"] = {urlsplit(request.url).scheme: proxy.geturl()}
    with warnings.catch_warnings():
        # Whoever switches verification off needs no warning.
        if settings["verify"] is False:
            warnings.simplefilter("ignore")
        # Not Session.send: it reads the whole body of a redirect, however long, even without following it.
        try:
            response = session.get_adapter(request.url).send(session.prepare_request(request), stream=True, **settings)
        except exceptions.ProxyError as error:
            if proxy and "Tunnel connection failed: 407" in str(error):
                raise Unreachable(*login_wanted(proxy), lasting=True) from error
            raise
        except LocationParseError as error:  # an impossible host name, which requests lets through
            raise exceptions.InvalidURL(str(error)) from error
    if proxy and response.status_code == 407:
        response.close()
        raise Unreachable(*login_wanted(proxy), lasting=True)
    return response


def redirected(url: str, location: str) -> str | None:
    """The target of a redirect, without user and password; None if it must not be followed: from https to http, or away from
    HTTP."""
    with suppress(ValueError):
        parts = urlsplit(urljoin(url, location))
        allowed = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
        if parts.scheme in allowed and parts.hostname:
            return split_login(parts.geturl())[0]
    return None


def announced_size(response: requests.Response) -> int | None:
    """The bytes that the body is to have, None if the server does not say it."""
    length = response.headers.get("Content-Length", "")
    return int(length) if re.match(r"[0-9]{1,18}\Z", length) else None
