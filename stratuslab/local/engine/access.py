"""Who may do what: the permissions and locks of instances, and tokens to log in with."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stratuslab.local.api_error import APIError, no_such, not_authorized
from stratuslab.local.store.database import Store
from stratuslab.local.store.instance_record import ADMINISTRATOR, DEFAULT_PERMISSIONS, Record, User
from stratuslab.opennebula.error_codes import ErrorCode, Owner

# The place of each right in the nine digits of the permissions.
_RIGHTS = {"USE": 0, "MANAGE": 1, "ADMIN": 2}
# The highest level of a lock that refuses what needs the right. A locked instance can still be read.
_REFUSED_UP_TO = {"USE": 0, "MANAGE": 2, "ADMIN": 4}


class Access:
    """The access to a store's instances; ``now`` gives seconds since the epoch. Methods raise APIError for what is refused."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    def authorized(self, user: User, number: int, right: str, *, past_lock: bool = False) -> Record:
        """The instance, to which the user has this right (USE, MANAGE or ADMIN); ``past_lock``: also where it is locked."""
        record = self._store.instance(number)
        if record is None:
            raise no_such("virtual machine", number)
        if not may(user, record, right) or not (past_lock or user.is_administrator or _unlocked(record, right)):
            raise not_authorized(user.id, right, number)
        return record

    def require_administrator(self, user: User, number: int) -> None:
        """Refuse what only the administrator may do to an instance."""
        self.authorized(user, number, "ADMIN")
        if not user.is_administrator:
            raise not_authorized(user.id, "ADMIN", number)

    def alter(self, user: User, number: int, change: Callable[[Record], None], *, past_lock: bool = False) -> None:
        """Change the record of an instance that the user may MANAGE."""
        with self._store.transaction():
            record = self.authorized(user, number, "MANAGE", past_lock=past_lock)
            change(record)
            self._store.save(record)

    def lock(self, user: User, number: int, level: int) -> None:
        """Lock an instance: 1 and 2 refuse what needs the right to MANAGE or ADMIN it, 3 and 4 ADMIN alone, and 0 unlocks."""

        def change(record: Record) -> None:
            others = record.lock and record.lock["owner"] != user.id and not user.is_administrator
            if others or not 0 <= level <= 4:
                raise APIError(ErrorCode.ACTION, "Error trying to lock the resource.")
            record.lock = {"level": level, "owner": user.id, "time": self._now()} if level else {}

        self.alter(user, number, change, past_lock=True)

    def unlock(self, user: User, number: int) -> None:
        """Unlock an instance: for the user who locked it, and the administrator."""

        def change(record: Record) -> None:
            # Of one that is not locked real servers say the same.
            if (not record.lock or record.lock["owner"] != user.id) and not user.is_administrator:
                raise APIError(ErrorCode.ACTION, "Cannot unlock: Lock is owned by another user")
            record.lock = {}

        self.alter(user, number, change, past_lock=True)

    def chmod(self, user: User, number: int, bits: list[int]) -> None:
        """Change the nine permissions; -1 leaves one as it is."""
        if any(bit not in (-1, 0, 1) for bit in bits):
            raise APIError(ErrorCode.INTERNAL, "New permission bits must be -1, 0 or 1")

        def change(record: Record) -> None:
            before = record.permissions or DEFAULT_PERMISSIONS
            # The third of each three is the right to administer.
            if any(bits[place] not in (-1, int(before[place])) for place in (2, 5, 8)):
                self.require_administrator(user, number)
            record.permissions = "".join(old if bit == -1 else str(bit) for old, bit in zip(before, bits, strict=True))

        self.alter(user, number, change)

    def login(self, user: User, token: str, seconds: int) -> str:
        """A token that the user can log in with until its time is over (-1: never), made where none is given. With 0 seconds
        the given token ends, or all of the user's."""
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
        """The user of a session string ``NAME:TOKEN``; None where the token is not valid, or another user's."""
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
    place = _RIGHTS[right]
    if user.is_administrator:
        return True
    if user.id == record.uid:
        return digits[place] == "1"
    # All ordinary users are in one group.
    return digits[place + 6] == "1" or (record.uid != ADMINISTRATOR.id and digits[place + 3] == "1")


def visible(user: User, owner: int) -> Iterator[tuple[str, list[int]]]:
    """SQL conditions, with their arguments, for the instances of an owner (a filter number or an id) that the user may see."""
    if owner >= 0:
        yield "uid = ?", [owner]
    if owner == Owner.MINE:
        yield "uid = ?", [user.id]
    elif owner == Owner.MINE_AND_GROUP or not user.is_administrator:
        yield "(uid = ? OR substr(permissions, 7, 1) = '1' OR (uid <> 0 AND substr(permissions, 4, 1) = '1'))", [user.id]


def _unlocked(record: Record, right: str) -> bool:
    return not record.lock or record.lock["level"] > _REFUSED_UP_TO[right]


def _digest(token: str) -> str:
    import hashlib

    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
