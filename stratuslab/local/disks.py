"""The disks of an instance, filled in: images found, devices named.

An image is named by its number, by its name, or as the original StratusLab client does by its Marketplace URL in SOURCE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

from stratuslab.local.leases import owner_named
from stratuslab.local.record import User
from stratuslab.local.refusal import bad_template
from stratuslab.local.store import Store

_IDENTIFIER_IN_URL = re.compile(r"(?:\A|/)([A-P][A-Za-z0-9_-]{26})(?:/[^/]*){0,2}\Z")
_OF_EVERY_IMAGE = {
    "ALLOW_ORPHANS": "NO",
    "CLONE": "YES",
    "CLONE_TARGET": "SYSTEM",
    "CLUSTER_ID": "0",
    "DATASTORE": "default",
    "DATASTORE_ID": "1",
    "DISK_SNAPSHOT_TOTAL_SIZE": "0",
    "DISK_TYPE": "FILE",
    "DRIVER": "raw",
    "FORMAT": "raw",
    "IMAGE_STATE": "2",
    "IMAGE_UNAME": "oneadmin",
    "LN_TARGET": "NONE",
    "PERSISTENT_SNAPSHOTS": "YES",
    "READONLY": "NO",
    "SAVE": "NO",
    "TM_MAD": "local",
    "TYPE": "FILE",
}


class Disks:
    """The disks that a template asks for; part of a transaction. Raises Refusal.

    ``image`` is the identifier of the first one's image, or what it was named by; ``obstacle`` says which image cannot be
    copied, empty where all can: OpenNebula finds that out later, so that the instance is made and its prolog fails.
    """

    def __init__(self, store: Store, user: User, wanted: list[dict[str, str]]) -> None:
        self._store = store
        self._user = user
        self.image = ""
        self.obstacle = ""
        self.all = [{**disk, "DISK_ID": str(number), **self._kind(number, disk)} for number, disk in enumerate(wanted)]
        self._name_devices()

    def _name_devices(self) -> None:
        targets: set[str] = set()
        for target in (disk.get("TARGET", "") for disk in self.all):
            if target and target in targets:
                raise bad_template(f"Two disks have defined the same target {target}.")
            targets.add(target)
        for disk in self.all:
            prefix = disk.setdefault("DEV_PREFIX", disk.get("TARGET", "")[:2] or "sd")
            if not disk.get("TARGET"):
                free = (prefix + letter for letter in ascii_lowercase if prefix + letter not in targets)
                disk["TARGET"] = next(free, prefix)
                targets.add(disk["TARGET"])

    def _kind(self, number: int, disk: Mapping[str, str]) -> dict[str, str]:
        if "IMAGE_ID" in disk or "IMAGE" in disk:
            return self._image(number, disk)
        if disk.get("SOURCE"):
            return self._source(disk["SOURCE"])
        kind = disk.get("TYPE", "").lower()
        if kind not in ("fs", "swap"):
            raise bad_template(f"DISK {number}: Unknown disk type {disk.get('TYPE', '').upper()}".rstrip())
        size = disk.get("SIZE", "").strip()
        # The original client asks for a swap disk of size 0 where no swap is wanted.
        if not re.match(r"[0-9]{1,12}\Z", size) or (int(size) == 0 and kind == "fs"):
            raise bad_template(f"DISK {number}: SIZE attribute must be a positive integer value.")
        return {"TYPE": kind, "SIZE": size}

    def _image(self, number: int, disk: Mapping[str, str]) -> dict[str, str]:
        image_id = disk.get("IMAGE_ID", "").strip()
        if image_id:
            entry = self._entry("id = ?", int(image_id)) if re.match(r"[0-9]{1,9}\Z", image_id) else None
            if entry is None:
                raise bad_template(f"DISK {number}: Image with ID: {image_id} does not exist")
            return self._copied(entry)
        name = disk.get("IMAGE", "")
        owner = owner_named(self._store, disk.get("IMAGE_UID", ""), disk.get("IMAGE_UNAME", ""), self._user)
        entry = self._entry("title = ?", name) if owner == 0 else None
        if entry is None:
            raise bad_template(
                f"DISK {number}: User {owner} does not own an image with name: {name} . "
                "Set IMAGE_UNAME or IMAGE_UID of owner in DISK."
            )
        return self._copied(entry)

    def _source(self, source: str) -> dict[str, str]:
        match = _IDENTIFIER_IN_URL.search(source.strip().strip("\"'").rstrip("/"))
        entry = self._entry("identifier = ?", match[1]) if match else None
        if entry is not None:
            return {**self._copied(entry), "SOURCE": source}
        named = match[1] if match else source
        self.image = self.image or named
        self.obstacle = self.obstacle or f"the image {named} is not in this cloud's Marketplace"
        return {"TYPE": "FILE", "READONLY": "NO"}

    def _entry(self, condition: str, value: Any) -> tuple[Any, ...] | None:
        rows = self._store.query(
            f"SELECT id, identifier, title, bytes FROM entries WHERE {condition} ORDER BY created DESC LIMIT 1", (value,)
        )
        return rows[0] if rows else None

    def _copied(self, entry: tuple[Any, ...]) -> dict[str, str]:
        number, identifier, title, size = entry
        self.image = self.image or identifier
        mib = str(-(-size // 2**20))
        named = {"IMAGE": title, "IMAGE_ID": str(number), "SOURCE": identifier, "SIZE": mib, "ORIGINAL_SIZE": mib}
        return {**_OF_EVERY_IMAGE, **named}
