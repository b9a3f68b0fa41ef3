"""The store of images' content: ``images/IDENTIFIER/image`` in the store's directory.

A file is renamed to that when it is complete. Before, it is in ``images/incoming``, locked by the process that writes it.
Unlocked files there are left from killed processes, and removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from stratuslab.local import child_python
from stratuslab.local.images import ImageError
from stratuslab.marketplace.identifier import is_identifier
from stratuslab.private_files import acquire, open_locked, private_directory, why

NETWORKS_VARIABLE = "STRATUSLAB_DOWNLOAD_NETWORKS"
"""The networks that images may be downloaded from for strangers, besides public addresses."""

STRANGER = "stranger"
_FETCH = "stratuslab.local.images.fetch_process"

PARTIAL_SECONDS = 30 * 86400
"""How long an interrupted download is kept."""


def content(directory: Path, identifier: str) -> Path | None:
    """The content of an image in the store's ``directory``, None if it is not there."""
    path = images(directory) / identifier / "image"
    return path if is_identifier(identifier) and path.is_file() else None


def obtain(
    directory: Path, identifier: str, environ: Mapping[str, str], metadata_url: str = "", *, stranger: bool = False
) -> Path:
    """The content of an image, downloaded if missing from a location in its entries in the embedded Marketplace, else in the
    metadata at the URL. A ``stranger`` is a user who is not the owner of the cloud. Raises ImageError.

    The download runs in a process of its own to keep supervisors small. It ends with this process.
    """
    if kept := content(directory, identifier):
        return kept
    import subprocess

    asker = STRANGER if stranger else ""
    try:
        process = subprocess.Popen(
            child_python.command(_FETCH, str(directory.absolute()), identifier, metadata_url, asker),
            cwd=child_python.WORKING_DIRECTORY,
            env=child_python.environment(environ),
            # Never written to: the download ends when this process does and so closes it.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    except OSError as error:
        raise ImageError(f"cannot download image {identifier}: {why(error)}") from error
    with process:
        assert process.stdout is not None
        said = process.stdout.read().decode("utf-8", "replace").strip()
    kept = content(directory, identifier)
    if kept is None:
        raise ImageError(said or f"cannot download image {identifier}: the download ended with status {process.returncode}")
    return kept


def images(directory: Path) -> Path:
    """The directory of images, below the store's directory."""
    return directory / "images"


class IncomingFile:
    """A file that is being written. As a context manager it is removed at the end unless it was kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        place = private_directory(images(directory) / "incoming")
        _remove_leftovers(directory)
        self.path = place / os.urandom(8).hex()
        self.descriptor = open_locked(self.path)

    def keep(self, identifier: str) -> Path:
        """Move it to its place as the content of that image."""
        return keep(self._directory, identifier, self.path, self.descriptor)

    def __enter__(self) -> IncomingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def keep(directory: Path, identifier: str, path: Path, descriptor: int) -> Path:
    """Make a file in the store's directory the content of an image, and sync it to the disk."""
    os.fchmod(descriptor, 0o400)
    os.fsync(descriptor)
    kept = private_directory(images(directory) / identifier) / "image"
    # If another process was faster, machines may use its file already, which is the same.
    if content(directory, identifier) is None:
        path.rename(kept)
        _sync(kept.parent)
        _sync(images(directory))
    else:
        path.unlink(missing_ok=True)
    return kept


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(directory: Path) -> None:
    """Remove the files of killed processes, and old downloads."""
    for path in (images(directory) / "incoming").iterdir():
        _remove_unlocked(path)
    long_ago = time.time() - PARTIAL_SECONDS
    for path in (images(directory) / "partial").glob("*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < long_ago:
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("rb") as file:
        if acquire(file.fileno(), 0):
            path.unlink()
