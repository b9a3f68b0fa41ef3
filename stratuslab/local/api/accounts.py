"""The users who can log in over HTTP, with their passwords.

Passwords are in the server's memory only. Without users, the administrator has a generated password, in a file in the format of
OpenNebula's own tools (ONE_AUTH).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.store.instance_record import ADMINISTRATOR
from stratuslab.private_files import locked, replace, why

AUTH_FILE = "one_auth"


class Accounts:
    """Users by name with their passwords."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        for name, password in passwords.items():
            if not name or ":" in name or not name.isprintable() or " " in name:
                raise UsageError(f'"{name}" cannot be a user name', "names have no blanks and no colons")
            if not password:
                raise UsageError(f'the user "{name}" has no password', "write NAME:PASSWORD")
        self._digests = {name: _digest(password) for name, password in passwords.items()}

    def authenticate(self, session: str) -> str | None:
        """The user's name for a session string ``user:password``, None if either is wrong."""
        name, _, password = session.partition(":")
        # The time is the same for unknown users and wrong passwords.
        right = hmac.compare_digest(_digest(password), self._digests.get(name, b""))
        return name if right else None


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


def administrator_password(directory: Path) -> str:
    """The administrator's password from the directory's one_auth file, which is created (mode 0600) if missing.

    Raises StratusLabError if the file cannot be read or created, or has other content.
    """
    path = directory / AUTH_FILE
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is not text"
        raise StratusLabError(f"cannot use {path}: {reason}") from error
    name, _, password = text.strip().partition(":")
    if name != ADMINISTRATOR.name or not password:
        raise StratusLabError(f'{path} does not hold "{ADMINISTRATOR.name}:PASSWORD"', "remove it to have a new one created")
    return password


def _make(path: Path) -> None:
    import secrets

    # Several servers may start at a time: the first one creates it.
    with locked(path):
        if not path.exists():
            replace(path, f"{ADMINISTRATOR.name}:{secrets.token_urlsafe(18)}\n".encode())
