"""Where the content of images is kept: ``images/IDENTIFIER/image`` in the store's directory.

A file comes to that name only when it is whole, by renaming. While it is written it is in ``images/incoming``, locked by the
process that writes it; what lies there unlocked was left by a process that was killed, and the next one removes it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stratuslab.files import acquire, open_locked, private_directory, why
from stratuslab.local.child_process import python_path
from stratuslab.local.images import ImageError
from stratuslab.marketplace.identifier import is_identifier

PARTIAL_SECONDS = 30 * 86400
"""How long a download that was broken off waits to be continued."""


def content(directory: Path, identifier: str) -> Path | None:
    """The content of the image with this identifier; None where it is not kept. ``directory`` is the store's."""
    path = images(directory) / identifier / "image"
    return path if is_identifier(identifier) and path.is_file() else None


def obtain(directory: Path, identifier: str, environ: Mapping[str, str], metadata_url: str = "") -> Path:
    """The content of the image with this identifier, downloaded if it is not kept: from where its entries in the embedded
    Marketplace say, else from where the metadata at the URL says. Raises ImageError.

    The download is a process of its own, so that this one stays as small as a supervisor has to be. It ends with this one.
    """
    return content(directory, identifier) or _fetched(directory, identifier, environ, metadata_url)


def _fetched(directory: Path, identifier: str, environ: Mapping[str, str], metadata_url: str) -> Path:
    import subprocess

    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "stratuslab.local.images.fetch_process", str(directory.absolute()), identifier, metadata_url],
            # Python looks for modules in its working directory first: no one else's.
            cwd=private_directory(images(directory)),
            env={**environ, "PYTHONPATH": python_path()},
            # Nothing is written to it: that it is closed tells the other process that this one is gone.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    except OSError as error:
        raise ImageError(f"image {identifier} cannot be fetched: {why(error)}") from error
    with process:
        assert process.stdout is not None
        said = process.stdout.read().decode("utf-8", "replace").strip()
    kept = content(directory, identifier)
    if kept is None:
        raise ImageError(said or f"image {identifier} cannot be fetched: the download ended with status {process.returncode}")
    return kept


def images(directory: Path) -> Path:
    """Where images are, below the store's directory."""
    return directory / "images"


class Incoming:
    """A file on its way into the store. As a context manager it is gone at the end, unless it was kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        place = private_directory(images(directory) / "incoming")
        _tidy(directory)
        self.path = place / os.urandom(8).hex()
        self.descriptor = open_locked(self.path)

    def keep(self, identifier: str) -> Path:
        """Give it its name in the store, where it is the content of that image."""
        return keep(self._directory, identifier, self.path, self.descriptor)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def keep(directory: Path, identifier: str, path: Path, descriptor: int) -> Path:
    """Make a file of the store's directory the content of an image; it is on the disk when this returns."""
    os.fchmod(descriptor, 0o400)
    os.fsync(descriptor)
    kept = private_directory(images(directory) / identifier) / "image"
    # Another process may have been faster: machines use that file already, and this one is the same.
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


def _tidy(directory: Path) -> None:
    """Remove what processes that were killed have left, and downloads that nobody continues."""
    for path in (images(directory) / "incoming").iterdir():
        _remove_unlocked(path)
    long_ago = time.time() - PARTIAL_SECONDS
    for path in (images(directory) / "partial").glob("*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < long_ago:
                _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if acquire(descriptor, 0):
                path.unlink()
        finally:
            os.close(descriptor)
