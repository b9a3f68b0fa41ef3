"""The documents of users and of the two groups, administrators and users."""

from __future__ import annotations

from collections.abc import Mapping

from stratuslab.local.api.documents.element_tables import elements, ids, written
from stratuslab.local.api_error import APIError, no_such
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.stored_records import User
from stratuslab.local.xml_writer import escape, wrapped
from stratuslab.opennebula.error_codes import ErrorCode

_USER = elements("ID GID GROUPS GNAME NAME PASSWORD AUTH_DRIVER=[core] ENABLED=1 TEMPLATE")
_GROUP = elements("ID NAME TEMPLATE USERS ADMINS")
_NO_QUOTAS = "<DATASTORE_QUOTA/><NETWORK_QUOTA/><VM_QUOTA/><IMAGE_QUOTA/>"


def users(engine: Engine, caller: User, number: int | None = None) -> str:
    """The users, or the one of the number. Passwords are never shown. Raises APIError."""
    return _seen("user", {user.id: _user(user) for user in _users(engine)}, caller, caller.id, number)


def groups(engine: Engine, caller: User, number: int | None = None) -> str:
    """The groups, or the one of the number. Raises APIError."""
    return _seen("group", {gid: _group(engine, gid) for gid in (0, 1)}, caller, caller.group[0], number)


def _seen(kind: str, documents: Mapping[int, str], caller: User, own: int, number: int | None) -> str:
    """The pool, or the document of the number with quotas; -1 is the caller's own. Only the administrator sees others."""
    tag = kind.upper()
    defaults = wrapped(f"DEFAULT_{tag}_QUOTAS", _NO_QUOTAS)
    if number is None:
        visible = [document for known, document in documents.items() if caller.is_administrator or known == own]
        return wrapped(f"{tag}_POOL", "".join(visible) + defaults)
    wanted = own if number == -1 else number
    if wanted not in documents:
        raise no_such(kind, wanted)
    if wanted != own and not caller.is_administrator:
        raise APIError(ErrorCode.AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform USE {tag} [{wanted}].")
    return documents[wanted].replace(f"</{tag}>", f"{_NO_QUOTAS}{defaults}</{tag}>")


def _group(engine: Engine, number: int) -> str:
    members = [user for user in _users(engine) if user.group[0] == number]
    name = members[0].group[1] if members else "users"
    return written("GROUP", _GROUP, 0, {"ID": number, "NAME": name, "USERS": ids(user.id for user in members)})


def _users(engine: Engine) -> list[User]:
    return [User(*row) for row in engine.store.query("SELECT id, name FROM users ORDER BY id")]


def _user(user: User) -> str:
    gid, group = user.group
    content = {"ID": user.id, "GID": gid, "GROUPS": ids([gid]), "GNAME": group, "NAME": escape(user.name)}
    return written("USER", _USER, 0, content)
