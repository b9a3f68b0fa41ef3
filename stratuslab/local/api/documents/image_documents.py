"""The documents of images: the entries of the Marketplace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratuslab.local.api.documents.element_tables import OWNED, elements, ids, written
from stratuslab.local.engine.engine import Engine
from stratuslab.local.xml_writer import attributes, cdata, escape
from stratuslab.opennebula.states import State

IMAGE_IDENTIFIER = "MARKETPLACE_IDENTIFIER"
"""The attribute of an image's template with its Marketplace identifier."""

_IMAGE = elements(
    f"{OWNED} TYPE=0 DISK_TYPE:4-=0 PERSISTENT=0 REGTIME MODTIME:7- SOURCE PATH FSTYPE:-5 FORMAT:6-=[raw] FS:6- SIZE STATE "
    "PREV_STATE:6-=1 RUNNING_VMS CLONING_OPS:4-=0 CLONING_ID:4-=-1 TARGET_SNAPSHOT:4-=-1 DATASTORE_ID:4-=1 DATASTORE:4-=default "
    "VMS:4- CLONES:4- APP_CLONES:5- TEMPLATE SNAPSHOTS:4- BACKUP_INCREMENTS:6- BACKUP_DISK_IDS:7-"
)
_NO_SNAPSHOTS = attributes([("ALLOW_ORPHANS", "NO"), ("CURRENT_BASE", "-1"), ("NEXT_SNAPSHOT", "0")])


def images(engine: Engine, release: int, number: int | None = None) -> list[str]:
    """All images, or that of the number."""
    users = _users(engine)
    condition, arguments = ("1", []) if number is None else ("id = ?", [number])
    rows = engine.store.query(
        f"SELECT id, identifier, title, bytes, registered FROM entries WHERE {condition} ORDER BY id", arguments
    )
    return [_image(row, users, release) for row in rows]


def _users(engine: Engine) -> dict[str, list[int]]:
    """The instances that use each image."""
    found: dict[str, list[int]] = {}
    rows = engine.store.query("SELECT image, id FROM instances WHERE state <> ? ORDER BY id", (State.DONE,))
    for identifier, instance in rows:
        found.setdefault(identifier, []).append(instance)
    return found


def _image(row: tuple[Any, ...], users: Mapping[str, list[int]], release: int) -> str:
    number, identifier, title, size, registered = row
    instances = users.get(identifier, [])
    content = {
        "ID": number,
        "NAME": escape(title),
        "REGTIME": registered,
        "MODTIME": registered,
        "SOURCE": cdata(identifier),
        "PATH": cdata(identifier),
        "SIZE": -(-size // 2**20),
        "STATE": 2 if instances else 1,
        "RUNNING_VMS": len(instances),
        "VMS": ids(instances),
        "TEMPLATE": attributes([("DEV_PREFIX", "sd"), (IMAGE_IDENTIFIER, identifier)]),
        "SNAPSHOTS": _NO_SNAPSHOTS if release >= 5 else "",
    }
    return written("IMAGE", _IMAGE, release, content)
