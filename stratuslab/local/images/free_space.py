"""The disk of the store: whether there is space for an image, and what is said where there is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stratuslab.files import free_bytes, is_disk_full, size_text, why
from stratuslab.local.images import ImageError

SPARE_MIB = 32
"""What stays free on the disk for the store itself."""

_FREE = "free some space"


class NoSpace(ImageError):
    """The disk of the store has no room for the image."""


def free(place: Path | int) -> int:
    """The bytes that images may take of the disk of a path or open file; what the store itself needs is left out."""
    return max(free_bytes(place) - (SPARE_MIB << 20), 0)


def require(directory: Path, size: int) -> None:
    """Raise NoSpace unless so many bytes fit."""
    if size > free(directory):
        raise NoSpace(
            f"the disk of {directory} is full: the image needs {size_text(size)}, {size_text(free(directory))} are free", _FREE
        )


@contextmanager
def keeping(directory: Path) -> Iterator[None]:
    """What the system refuses while the block keeps something in the directory, told: NoSpace, or else ImageError."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        if not is_disk_full(error):
            raise ImageError(f"the image cannot be kept in {directory}: {why(error)}") from error
        # What the block had written is gone by now.
        raise NoSpace(
            f"the disk of {directory} is full: {size_text(free(directory))} are free, and the image needs more", _FREE
        ) from error
