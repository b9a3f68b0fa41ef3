"""Space for images on the disk of the store, and the error if there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stratuslab.byte_sizes import size_text
from stratuslab.local.images import ImageError
from stratuslab.private_files import free_bytes, is_disk_full, why

SPARE_MIB = 32
"""Space that stays free on the disk for the store itself."""

_FREE = "free some space"


class NoSpace(ImageError):
    """The disk of the store has no space for the image."""


def free(place: Path | int) -> int:
    """The bytes that are free for images on the disk of a path or open file."""
    return max(free_bytes(place) - (SPARE_MIB << 20), 0)


def require(directory: Path, size: int) -> None:
    """Raise NoSpace unless so many bytes are free."""
    if size > free(directory):
        raise NoSpace(
            f"the disk of {directory} is full: the image needs {size_text(size)}, {size_text(free(directory))} are free", _FREE
        )


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn an OSError in the block, which writes to the directory, into NoSpace or ImageError."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        if not is_disk_full(error):
            raise ImageError(f"cannot write the image to {directory}: {why(error)}") from error
        # The block has removed what it had written.
        raise NoSpace(
            f"the disk of {directory} is full: {size_text(free(directory))} are free, and the image needs more", _FREE
        ) from error
