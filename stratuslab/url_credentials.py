"""Removes or masks user, password and other secrets in URLs before they are shown, sent or stored."""

from __future__ import annotations

import re

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*://"
_PLAIN_HOST = rf"{_SCHEME}[^/?#@:\[\]]*(\[[0-9A-Fa-f:.]*\])?(:[0-9]*)?(?=[/?#])[^@]*@"


def without_login(text: str) -> str:
    """A URL, or a host as a user writes it, without user and password.

    A password may contain any character, even unquoted ones that would end the host part of a URL. So everything up to the
    last @ is removed, unless a complete host precedes it.
    """
    text = text.strip()
    return text if re.match(_PLAIN_HOST, text) else re.sub(rf"\A({_SCHEME})?.*@", r"\1", text, flags=re.DOTALL)


def shown(text: str) -> str:
    """The same for showing to people: values in a query, which may be a key or a signature, are ``***``."""
    before, mark, query = without_login(text).partition("?")
    masked = re.sub(r"=[^&#]*", "=***", query) if "=" in query else "***"
    return f"{before}?{masked}" if mark else before


def without_query_values(text: str) -> str:
    """Free text in which the values of the queries of URLs are ``***``: some are keys or signatures."""
    return re.sub(r"""\?(?=[\w.~%-]{1,64}=)[^\s"'<>#]+""", lambda found: re.sub(r"=[^&]*", "=***", found[0]), text)


def split_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """A URL without user and password, and these two or None. Raises ValueError for an invalid URL."""
    from urllib.parse import unquote, urlsplit, urlunsplit

    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=host)), (unquote(user), unquote(password)) if login else None
