"""Completes the disks of a template: finds their images, attaches volumes, names devices.

An image is given by its number, by its name, or, as in the original StratusLab client, by its Marketplace URL in SOURCE; a
volume by its UUID in SOURCE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from string import ascii_lowercase
from typing import Any

from stratuslab.local.api_error import BadTemplate, NoSuchImage
from stratuslab.local.engine.server_rules import ServerRules
from stratuslab.local.images import ImageError
from stratuslab.local.images.embedded_marketplace import read_entry
from stratuslab.local.images.image_format import detect_format, virtual_size
from stratuslab.local.images.image_listing import ContentLocation, content_location
from stratuslab.local.images.image_store import content
from stratuslab.local.store.database import Store
from stratuslab.local.store.leases import owner_named
from stratuslab.local.store.stored_records import User
from stratuslab.local.store.volumes import Volumes, volume_of

_IDENTIFIER_IN_URL = re.compile(r"(?:\A|/)([A-P][A-Za-z0-9_-]{26})(?:/[^/]*){0,2}\Z")
_IMAGE_DEFAULTS = {
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
    "LN_TARGET": "NONE",
    "PERSISTENT_SNAPSHOTS": "YES",
    "SAVE": "NO",
    "TM_MAD": "local",
    "TYPE": "FILE",
}


def image_of(disk: Mapping[str, str]) -> str:
    """The Marketplace identifier of the image in a DISK's SOURCE, empty if there is none."""
    match = _IDENTIFIER_IN_URL.search(disk.get("SOURCE", "").strip().strip("\"'").rstrip("/"))
    return match[1] if match else ""


class DiskAllocation:
    """The completed disks of a template, for the instance of that number. Part of a transaction. Raises APIError.

    ``image`` is the identifier of the first disk's image, or the SOURCE that names it. ``boots`` is whether a real machine can
    boot from the first disk. ``missing`` says which image or volume does not exist here, and ``fetchable`` is whether the
    Marketplace in the template has all that is missing. As with OpenNebula the instance is created, and its prolog fails with
    ``prolog_error``. ``disk_mib`` is the space that real disks take on this computer when they are full.
    """

    def __init__(self, store: Store, user: User, wanted: list[dict[str, str]], instance: int, rules: ServerRules) -> None:
        self._store = store
        self._user = user
        self._instance = instance
        self._rules = rules
        self.image = ""
        self.boots = False
        self.missing = ""
        self.prolog_error = ""
        self.fetchable = True
        self.disk_mib = 0
        self.all = [{**disk, "DISK_ID": str(number), **self._kind(number, disk)} for number, disk in enumerate(wanted)]

    def name_devices(self, bus: str) -> None:
        """Give each disk a device name; ``bus`` is the default prefix, such as ``sd``."""
        targets: set[str] = set()
        for target in (disk.get("TARGET", "") for disk in self.all):
            if target and target in targets:
                raise BadTemplate(f"Two disks have defined the same target {target}.")
            targets.add(target)
        for disk in self.all:
            prefix = disk.setdefault("DEV_PREFIX", disk.get("TARGET", "")[:2] or bus)
            if not disk.get("TARGET"):
                free = (prefix + letter for letter in ascii_lowercase if prefix + letter not in targets)
                disk["TARGET"] = next(free, prefix)
                targets.add(disk["TARGET"])

    def _kind(self, number: int, disk: Mapping[str, str]) -> dict[str, str]:
        if "IMAGE_ID" in disk or "IMAGE" in disk:
            return self._image(number, disk)
        if self._rules.sources and volume_of(disk):
            return self._volume(number, volume_of(disk))
        if self._rules.sources and disk.get("SOURCE"):
            return self._source(number, disk)
        kind = disk.get("TYPE", "").lower()
        if kind not in ("fs", "swap"):
            raise BadTemplate(f"DISK {number}: Unknown disk type {disk.get('TYPE', '').upper()}")
        size = disk.get("SIZE", "").strip()
        is_number = re.match(r"[0-9]{1,12}\Z", size)
        if is_number and int(size) == 0 and kind == "swap" and self._rules.empty_swap:
            self.prolog_error = self.prolog_error or "mkswap: error: swap area needs to be at least 40 KiB"
        elif not is_number or int(size) == 0:
            raise BadTemplate(f"DISK {number}: SIZE attribute must be a positive integer value.")
        self.disk_mib += int(size)
        return {"TYPE": kind, "SIZE": size}

    def _volume(self, number: int, uuid: str) -> dict[str, str]:
        volume = Volumes(self._store).attach(uuid, self._instance, number)
        self.boots = self.boots or number == 0
        if volume is None:
            self.missing = self.missing or f"the embedded cloud has no volume {uuid}"
            self.fetchable = False
        return {"TYPE": "BLOCK", "READONLY": "NO", "PERSISTENT": "YES", "SIZE": str(volume.size_mib if volume else 0)}

    def _image(self, number: int, disk: Mapping[str, str]) -> dict[str, str]:
        image_id, name = disk.get("IMAGE_ID", "").strip(), disk.get("IMAGE", "")
        if image_id:
            entry = self._entry("id = ?", image_id)
            missing = f"Image with ID: {image_id} does not exist"
        else:
            owner = owner_named(self._store, disk.get("IMAGE_UID", ""), disk.get("IMAGE_UNAME", ""), self._user)
            entry = self._entry("title = ?", name) if owner == 0 else None
            missing = f"User {owner} does not own an image with name: {name} . Set IMAGE_UNAME or IMAGE_UID of owner in DISK."
        if entry is None:
            raise NoSuchImage(f"DISK {number}: {missing}")
        return self._copied(number, disk, entry)

    def _source(self, number: int, disk: Mapping[str, str]) -> dict[str, str]:
        source, identifier = disk["SOURCE"], image_of(disk)
        entry = self._entry("identifier = ?", identifier) if identifier else None
        if entry is not None:
            return {**self._copied(number, disk, entry), "SOURCE": source}
        self.image = self.image or identifier or source
        self.missing = self.missing or f"the image {identifier or source} is not in this cloud's Marketplace"
        if not (identifier and source.startswith(("http:", "https:"))):
            self.fetchable = False
        elif number == 0:
            self.boots = True
        return {"TYPE": "FILE", "READONLY": "NO"}

    def _entry(self, condition: str, value: str) -> tuple[Any, ...] | None:
        newest = f"SELECT id, identifier, title, bytes, document FROM entries WHERE {condition} ORDER BY created DESC LIMIT 1"
        rows = self._store.query(newest, (value,))
        return rows[0] if rows else None

    def _copied(self, number: int, disk: Mapping[str, str], entry: tuple[Any, ...]) -> dict[str, str]:
        image_id, identifier, title, size, document = entry
        self.image = self.image or identifier
        kept = content(self._store.directory, identifier)
        locations = read_entry(document.encode()).metadata.locations
        is_somewhere = content_location(self._store, identifier, locations) is not ContentLocation.NOWHERE
        self.boots = self.boots or (number == 0 and is_somewhere)
        read_only = disk.get("READONLY", "").upper() == "YES"
        copied = not read_only
        if kept is not None:
            with suppress(ImageError, OSError):
                size = virtual_size(kept)
                copied = copied and detect_format(kept) != "kernel"  # its copy is in memory
        original = -(-size // 2**20)
        wanted = disk.get("SIZE", "").strip()
        # The document shows the size that was requested, but a copy is never smaller than its image.
        mib = int(wanted) if re.match(r"[0-9]{1,12}\Z", wanted) and int(wanted) else original
        self.disk_mib += original * (kept is None) + max(original, mib) * copied
        sizes = {"SIZE": str(mib), "ORIGINAL_SIZE": str(original)}
        named = {"IMAGE": title, "IMAGE_ID": str(image_id), "SOURCE": identifier, **sizes}
        return {**_IMAGE_DEFAULTS, **named, "READONLY": "YES" if read_only else "NO"}
