"""Who may do what: the permissions and locks of instances, and tokens to log in with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stratuslab.local.api_error import APIError, no_such, not_authorized
from stratuslab.local.store.database import Store
from stratuslab.local.store.stored_records import ADMINISTRATOR, DEFAULT_PERMISSIONS, Record, User
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.opennebula.numeric_constants import Owner

# The position of each right among the digits of the owner, the group and others.
_RIGHTS = {"USE": 0, "MANAGE": 1, "ADMIN": 2}
# The highest lock level that forbids actions with the right. A locked instance can still be read.
_REFUSED_UP_TO = {"USE": 0, "MANAGE": 2, "ADMIN": 4}


class Access:
    """Access control for a store's instances; ``now`` returns seconds since the epoch. Methods raise APIError."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    def authorized(self, user: User, number: int, right: str, *, past_lock: bool = False) -> Record:
        """The instance, if the user has this right (USE, MANAGE or ADMIN) to it; ``past_lock`` ignores its lock."""
        record = self._store.instance(number)
        if record is None:
            raise no_such("virtual machine", number)
        locked = record.lock and record.lock["level"] <= _REFUSED_UP_TO[right] and not (past_lock or user.is_administrator)
        if locked or not may(user, record, right):
            raise not_authorized(user.id, right, number)
        return record

    def require_administrator(self, user: User, number: int) -> None:
        """Refuse an action that is for the administrator only."""
        self.authorized(user, number, "ADMIN")
        if not user.is_administrator:
            raise not_authorized(user.id, "ADMIN", number)

    @contextmanager
    def changing(self, user: User, number: int, *, past_lock: bool = False) -> Iterator[Record]:
        """An instance that the user may MANAGE; saved after the block unless that raises. A transaction."""
        with self._store.transaction():
            record = self.authorized(user, number, "MANAGE", past_lock=past_lock)
            yield record
            self._store.save(record)

    def lock(self, user: User, number: int, level: int) -> None:
        """Lock an instance: 1 and 2 refuse what needs the right to MANAGE or ADMIN it, 3 and 4 ADMIN alone, and 0 unlocks."""
        with self.changing(user, number, past_lock=True) as record:
            others = record.lock and record.lock["owner"] != user.id and not user.is_administrator
            if others or not 0 <= level <= 4:
                raise APIError(ErrorCode.ACTION, "Error trying to lock the resource.")
            record.lock = {"level": level, "owner": user.id, "time": self._now()} if level else {}

    def unlock(self, user: User, number: int) -> None:
        """Unlock an instance: for the user who locked it, and the administrator."""
        with self.changing(user, number, past_lock=True) as record:
            # Real servers give the same error if it is not locked.
            if (not record.lock or record.lock["owner"] != user.id) and not user.is_administrator:
                raise APIError(ErrorCode.ACTION, "Cannot unlock: Lock is owned by another user")
            record.lock = {}

    def chmod(self, user: User, number: int, bits: list[int]) -> None:
        """Set the nine permissions; -1 leaves one unchanged."""
        if any(bit not in (-1, 0, 1) for bit in bits):
            raise APIError(ErrorCode.INTERNAL, "New permission bits must be -1, 0 or 1")
        with self.changing(user, number) as record:
            before = record.permissions or DEFAULT_PERMISSIONS
            # The last of each three digits is the ADMIN right.
            if any(bits[place] not in (-1, int(before[place])) for place in (2, 5, 8)):
                self.require_administrator(user, number)
            record.permissions = "".join(old if bit == -1 else str(bit) for old, bit in zip(before, bits, strict=True))

    def login(self, user: User, token: str, seconds: int) -> str:
        """Register a login token for so many seconds (-1: for good), a new one if none is given. 0 revokes the given token, or
        all of the user's."""
        with self._store.transaction():
            self._store.query("DELETE FROM tokens WHERE expires BETWEEN 0 AND ?", (self._now(),))
            if seconds == 0:
                self._store.query("DELETE FROM tokens WHERE user = ? AND ? IN ('', digest)", (user.id, token and _digest(token)))
                return ""
            import secrets

            token = token or secrets.token_hex(32)
            expires = -1 if seconds < 0 else self._now() + seconds
            self._store.query("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?)", (_digest(token), user.id, expires))
        return token

    def authenticate_token(self, session: str) -> User | None:
        """The user of a session string ``NAME:TOKEN``, None if the token is not valid for that user."""
        name, _, token = session.partition(":")
        rows = self._store.query(
            "SELECT users.id FROM tokens JOIN users ON users.id = tokens.user "
            "WHERE users.name = ? AND digest = ? AND (expires < 0 OR expires > ?)",
            (name, _digest(token), self._now()),
        )
        return User(rows[0][0], name) if rows else None


def may(user: User, record: Record, right: str = "USE") -> bool:
    """Whether the instance's permissions give the user this right."""
    digits = record.permissions or DEFAULT_PERMISSIONS
    position = _RIGHTS[right]
    if user.is_administrator:
        return True
    if user.id == record.uid:
        return digits[position] == "1"
    # All ordinary users are in one group.
    return digits[position + 6] == "1" or (record.uid != ADMINISTRATOR.id and digits[position + 3] == "1")


def visible(user: User, owner: int) -> Iterator[tuple[str, list[int]]]:
    """SQL conditions, with their arguments, for the instances of an owner (a filter number or an id) that the user may see."""
    if owner >= 0 or owner == Owner.MINE:
        yield "uid = ?", [user.id if owner == Owner.MINE else owner]
    if owner == Owner.MINE_AND_GROUP or not user.is_administrator:
        yield "(uid = ? OR substr(permissions, 7, 1) = '1' OR (uid <> 0 AND substr(permissions, 4, 1) = '1'))", [user.id]


def _digest(token: str) -> str:
    import hashlib

    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
