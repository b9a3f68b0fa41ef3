"""The users who can log in over HTTP, with their passwords.

Passwords are in the server's memory only. Without users, the administrator has a generated password, in a file in the format of
OpenNebula's own tools (ONE_AUTH).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.store.stored_records import ADMINISTRATOR
from stratuslab.private_files import locked, replace, why

AUTH_FILE = "one_auth"

FREE = 10
GUESS_SECONDS = 0.25
QUEUE_SECONDS = 4.0
"""How many wrong sessions of a client are checked at once, the time between further ones, and how much of that may be waiting."""

_MOST_REMEMBERED = 1000

T = TypeVar("T")


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


class LoginThrottle:
    """Slows down a client that guesses passwords: after some wrong ones it has to wait its turn before each further one is
    checked. Sessions that were right before do not wait. Threads share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._settled: dict[str, float] = {}  # when a client has made up for its wrong sessions, each of which takes its time
        self._right: dict[bytes, None] = {}

    def check(self, client: str, session: str, authenticate: Callable[[str], T | None]) -> T | None:
        """What ``authenticate`` returns for the session, after a pause if necessary. None also if too many are waiting."""
        digest = _digest(session)
        with self._lock:
            turn = self._settled.get(client, 0.0) - self._clock() - FREE * GUESS_SECONDS
            waits = turn >= 0 and digest not in self._right
            if waits and turn > QUEUE_SECONDS:
                return None
            if waits:
                self._charge(client, GUESS_SECONDS)
        if waits:
            self._pause(turn)
        user = authenticate(session)
        with self._lock:
            if user is None:
                self._right.pop(digest, None)
            else:
                _remember(self._right, digest, None)
            if waits != (user is None):
                self._charge(client, -GUESS_SECONDS if waits else GUESS_SECONDS)
        return user

    def _charge(self, client: str, seconds: float) -> None:
        _remember(self._settled, client, max(self._settled.get(client, 0.0), self._clock()) + seconds)


def _remember(known: dict[Any, Any], key: object, value: object) -> None:
    known.pop(key, None)
    known[key] = value
    if len(known) > _MOST_REMEMBERED:
        del known[next(iter(known))]


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


def administrator_password(directory: Path) -> str:
    """The administrator's password from the directory's one_auth file, which is created (mode 0600) if missing.

    Raises StratusLabError if the file cannot be read or created, or has other content.
    """
    path = directory / AUTH_FILE
    try:
        with locked(path):  # several servers may start at a time: the first one creates it
            if not path.exists():
                replace(path, f"{ADMINISTRATOR.name}:{secrets.token_urlsafe(18)}\n".encode())
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is not text"
        raise StratusLabError(f"cannot use {path}: {reason}") from error
    name, _, password = text.strip().partition(":")
    if name != ADMINISTRATOR.name or not password:
        raise StratusLabError(f'{path} does not hold "{ADMINISTRATOR.name}:PASSWORD"', "remove it to have a new one created")
    return password
