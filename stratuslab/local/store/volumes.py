"""Volumes: disks that outlive the instances they are attached to.

A volume is a row in the store and a sparse raw file, ``volumes/UUID`` in the store's directory. Only one instance at a time
can have it. Templates name it as StratusLab's do, ``SOURCE="pdisk:HOST:PORT:UUID"``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from stratuslab.errors import NotFound, StratusLabError, UsageError
from stratuslab.local.api_error import APIError
from stratuslab.local.store.database import Store
from stratuslab.opennebula.error_codes import ErrorCode
from stratuslab.private_files import why

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SOURCE = re.compile(rf"pdisk:(?:.*[:/])?({_UUID})\Z")


class Volume(NamedTuple):
    """``created`` is seconds since the epoch; ``instance`` is the one it is attached to, if any."""

    uuid: str
    name: str
    size_mib: int
    created: int
    instance: int | None


def volume_of(disk: Mapping[str, str]) -> str:
    """The UUID of the volume in a DISK's SOURCE, empty for other disks."""
    match = _SOURCE.match(disk.get("SOURCE", "").strip())
    return match[1] if match else ""


def volume_file(directory: Path, uuid: str) -> Path:
    """The file of a volume, below the store's directory."""
    return directory / "volumes" / uuid


class Volumes:
    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Volume]:
        """Every volume, oldest first."""
        rows = self._store.query("SELECT uuid, name, size_mib, created, instance FROM volumes ORDER BY created, rowid")
        return [Volume(*row) for row in rows]

    def named(self, word: str) -> Volume:
        """The volume of that UUID or name. Raises NotFound, and UsageError if several have the name."""
        found = [volume for volume in self.all() if word in (volume.uuid, volume.name)]
        if not found:
            raise NotFound(f'the embedded cloud has no volume "{word}"', "see: stratus-local-cloud volumes")
        if len(found) > 1:
            raise UsageError(f'several volumes are called "{word}": {", ".join(volume.uuid for volume in found)}', "use a UUID")
        return found[0]

    def create(self, size_mib: int, name: str, now: int) -> Volume:
        """Create an empty volume. Raises StratusLabError if its file cannot be created."""
        from uuid import uuid4

        volume = Volume(str(uuid4()), name, size_mib, now, None)
        with self._store.transaction():
            # Files are created in a transaction only, so one without a row is left from a process that was killed.
            listed = {volume.uuid for volume in self.all()}
            for path in (self._store.directory / "volumes").glob("*"):
                if path.name not in listed:
                    path.unlink(missing_ok=True)
            self._store.query("INSERT INTO volumes (uuid, name, size_mib, created, instance) VALUES (?, ?, ?, ?, ?)", volume)
            _make(volume_file(self._store.directory, volume.uuid), size_mib)
        return volume

    def deletable(self, word: str) -> Volume:
        """The volume of that UUID or name. Raises as :meth:`named` does, and UsageError if it is attached."""
        volume = self.named(word)
        if volume.instance is not None:
            raise UsageError(f"volume {volume.uuid} is attached to machine {volume.instance}", "kill the machine first")
        return volume

    def delete(self, uuid: str) -> None:
        """Delete a volume and its data. Raises like :meth:`deletable`."""

        def forget() -> None:
            with self._store.transaction():
                self.deletable(uuid)
                self._store.query("DELETE FROM volumes WHERE uuid = ?", (uuid,))

        self._store.with_reserve(forget)
        volume_file(self._store.directory, uuid).unlink(missing_ok=True)

    def attach(self, uuid: str, instance: int, disk: int) -> Volume | None:
        """Attach a volume to an instance as the disk of that number, and return it. Part of a transaction.

        Returns None if it does not exist. Raises APIError if it is attached already.
        """
        volume = next((volume for volume in self.all() if volume.uuid == uuid), None)
        if volume is None:
            return None
        if volume.instance is not None:
            text = f"DISK {disk}: Cannot acquire volume {uuid}: it is already in use by VM {volume.instance}"
            raise APIError(ErrorCode.ACTION, text)
        self._store.query("UPDATE volumes SET instance = ? WHERE uuid = ?", (instance, uuid))
        return volume


def _make(path: Path, size_mib: int) -> None:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.touch(0o600, exist_ok=False)
        os.truncate(path, size_mib << 20)
    except OSError as error:
        path.unlink(missing_ok=True)
        too_large = error.errno in (errno.EFBIG, errno.EINVAL)
        reason = "the file system does not allow such a large file" if too_large else why(error)
        raise StratusLabError(f"cannot create a volume of {size_mib} MiB in {path.parent}: {reason}") from error
