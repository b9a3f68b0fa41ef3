"""Who may come in over HTTP: users with their passwords, as ``stratus-local-cloud serve`` is told them.

Passwords are kept in the server's memory only. Where it is told of no user, the administrator has a password that is made
once and kept in a file of the form that OpenNebula's own tools read (ONE_AUTH).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.files import locked, replace, why
from stratuslab.local.store.instance_record import ADMINISTRATOR

AUTH_FILE = "one_auth"


class Accounts:
    """Users by name with their passwords."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        for name, password in passwords.items():
            if not name or ":" in name or not name.isprintable() or " " in name:
                raise UsageError(f'"{name}" cannot be a user name', "it has no blanks and no colon")
            if not password:
                raise UsageError(f'the user "{name}" has no password', "write NAME:PASSWORD")
        self._digests = {name: _digest(password) for name, password in passwords.items()}

    def knows(self, session: str) -> str | None:
        """The user's name for a session string ``user:password``; None where either is wrong."""
        name, _, password = session.partition(":")
        # Unknown users cost the same time as wrong passwords.
        right = hmac.compare_digest(_digest(password), self._digests.get(name, b""))
        return name if right else None


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


def administrator_password(directory: Path) -> str:
    """The administrator's password in the directory's one_auth file, which is made (mode 0600) when it is not there.

    Raises StratusLabError where the file cannot be read or made, or holds something else.
    """
    path = directory / AUTH_FILE
    try:
        if not path.exists():
            _make(path)
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is no text"
        raise StratusLabError(f"{path} cannot be used: {reason}") from error
    name, _, password = text.strip().partition(":")
    if name != ADMINISTRATOR.name or not password:
        raise StratusLabError(f'{path} does not hold "{ADMINISTRATOR.name}:PASSWORD"', "remove it, a new one is made then")
    return password


def _make(path: Path) -> None:
    import secrets

    # The first of several servers wins.
    with locked(path):
        if not path.exists():
            replace(path, f"{ADMINISTRATOR.name}:{secrets.token_urlsafe(18)}\n".encode())
