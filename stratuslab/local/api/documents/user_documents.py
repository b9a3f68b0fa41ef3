"""The documents of users and of the two groups, administrators and users."""

from __future__ import annotations

from stratuslab.local.api.documents.element_tables import elements, ids, written
from stratuslab.local.api_error import APIError, no_such
from stratuslab.local.engine.engine import Engine
from stratuslab.local.store.instance_record import User
from stratuslab.local.xml_writer import escape, wrapped
from stratuslab.opennebula.error_codes import ErrorCode

_USER = elements("ID GID GROUPS GNAME NAME PASSWORD AUTH_DRIVER=[core] ENABLED=1 TEMPLATE")
_GROUP = elements("ID NAME TEMPLATE USERS ADMINS")
_NO_QUOTAS = "<DATASTORE_QUOTA/><NETWORK_QUOTA/><VM_QUOTA/><IMAGE_QUOTA/>"


def groups(engine: Engine, caller: User) -> str:
    """The group pool; ordinary users see their own group."""
    visible = (0, 1) if caller.is_administrator else (1,)
    document = "".join(_group(engine, number) for number in visible)
    return wrapped("GROUP_POOL", document + wrapped("DEFAULT_GROUP_QUOTAS", _NO_QUOTAS))


def group(engine: Engine, caller: User, number: int) -> str:
    """One group; -1 is the caller's. Raises APIError."""
    wanted = caller.group[0] if number == -1 else number
    if wanted not in (0, 1):
        raise no_such("group", wanted)
    if wanted != caller.group[0] and not caller.is_administrator:
        raise APIError(ErrorCode.AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform USE GROUP [{wanted}].")
    return _with_quotas(_group(engine, wanted), "GROUP")


def _group(engine: Engine, number: int) -> str:
    members = [user for user in _users(engine) if user.group[0] == number]
    name = members[0].group[1] if members else "users"
    return written("GROUP", _GROUP, 0, {"ID": number, "NAME": name, "USERS": ids(user.id for user in members)})


def users(engine: Engine, caller: User) -> str:
    """The user pool; ordinary users see themselves."""
    visible = [user for user in _users(engine) if caller.is_administrator or user.id == caller.id]
    return wrapped("USER_POOL", "".join(map(_user, visible)) + wrapped("DEFAULT_USER_QUOTAS", _NO_QUOTAS))


def user(engine: Engine, caller: User, number: int) -> str:
    """One user; -1 is the caller. Only the administrator sees others. Passwords are never shown. Raises APIError."""
    wanted = caller.id if number == -1 else number
    found = [user for user in _users(engine) if user.id == wanted]
    if not found:
        raise no_such("user", wanted)
    if wanted != caller.id and not caller.is_administrator:
        raise APIError(ErrorCode.AUTHORIZATION, f"User [{caller.id}] : Not authorized to perform USE USER [{wanted}].")
    return _with_quotas(_user(found[0]), "USER")


def _users(engine: Engine) -> list[User]:
    return [User(*row) for row in engine.store.query("SELECT id, name FROM users ORDER BY id")]


def _user(user: User) -> str:
    gid, group = user.group
    content = {"ID": user.id, "GID": gid, "GROUPS": ids([gid]), "GNAME": group, "NAME": escape(user.name)}
    return written("USER", _USER, 0, content)


def _with_quotas(document: str, kind: str) -> str:
    """The document with quotas, which it does not have in a pool."""
    return document.replace(f"</{kind}>", f"{_NO_QUOTAS}{wrapped(f'DEFAULT_{kind}_QUOTAS', _NO_QUOTAS)}</{kind}>")
