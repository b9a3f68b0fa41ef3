"""A GET with the requests library, and where its redirects may lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from stratuslab.url_credentials import shown, split_login

if TYPE_CHECKING:
    import requests

REDIRECTS = 5
"""How many redirects are followed one after the other."""

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
    cert: str | tuple[str, str] | None = None,
    trace: Callable[[str], None] = lambda line: None,
) -> requests.Response:
    """The answer to a GET, its body unread, from where redirects lead. The time-outs are to connect and to wait; ``trace`` is
    told each request and answer in one line.

    Raises NotFollowed, what requests raises, and OSError where ``verify`` names no file.
    """
    asked = url
    for _ in range(REDIRECTS + 1):
        # The name and password are for the host that they were given for and no other.
        own = login if urlsplit(url).netloc == urlsplit(asked).netloc else None
        trace(f"> GET {shown(url)}")
        response = _answer(session, url, {**_HEADERS, **headers}, timeout, own, verify, cert)
        trace(f"< {response.status_code} {response.reason}, {response.headers.get('Content-Type', 'no Content-Type')}")
        if not response.is_redirect:
            return response
        response.close()
        leads = redirected(url, response.headers["Location"])
        if leads is None:
            raise NotFollowed("it redirects to an address that is not followed")
        url = leads
    raise NotFollowed("it redirects in circles")


def _answer(
    session: requests.Session,
    url: str,
    headers: Mapping[str, str],
    timeout: tuple[float, float],
    login: tuple[str, str] | None,
    verify: bool | str,
    cert: str | tuple[str, str] | None,
) -> requests.Response:
    import warnings

    import requests
    from urllib3.exceptions import LocationParseError

    request = session.prepare_request(requests.Request("GET", url, headers=dict(headers), auth=login))
    # verify must be an argument here: as the session's attribute it would lose against REQUESTS_CA_BUNDLE.
    settings: Any = session.merge_environment_settings(url, {}, True, verify, cert)
    with warnings.catch_warnings():
        # Who switches the verification off knows that it is off.
        if verify is False:
            warnings.simplefilter("ignore")
        # Not Session.send: it reads the whole body of a redirect, however long, even when told not to follow it.
        try:
            return session.get_adapter(url).send(request, timeout=timeout, **settings)
        except LocationParseError as error:  # of a host name that no name can be, which requests lets through
            raise requests.exceptions.InvalidURL(str(error)) from error


def redirected(url: str, location: str) -> str | None:
    """Where a redirect leads, without user and password; None where it is not followed: from https to http, or away from
    HTTP."""
    try:
        parts = urlsplit(urljoin(url, location))
        allowed = ("https",) if urlsplit(url).scheme == "https" else ("http", "https")
        if parts.scheme in allowed and parts.hostname:
            return split_login(parts.geturl())[0]
    except ValueError:
        pass
    return None
