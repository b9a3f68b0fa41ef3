"""The images of the embedded cloud: the entries of its Marketplace, and the content that real machines boot from.

Content is kept uncompressed in ``images/IDENTIFIER/image`` of the store's directory, and is never changed.
"""

from __future__ import annotations

from stratuslab.errors import StratusLabError


class ImageError(StratusLabError):
    """An image cannot be had, or what is there is none that a machine can use."""


def about(subject: str, error: StratusLabError) -> StratusLabError:
    """The error with what it is about in front of it."""
    return error.replaced(f"{subject}: {error.message}")
