"""The images of the embedded cloud: Marketplace entries, and the content that real machines boot from.

Content is uncompressed, in ``images/IDENTIFIER/image`` of the store's directory, and never changes.
"""

from __future__ import annotations

from stratuslab.errors import StratusLabError


class ImageError(StratusLabError):
    """An image cannot be fetched or used."""


def about(subject: str, error: StratusLabError) -> StratusLabError:
    """The error with its subject before the message."""
    return error.replaced(f"{subject}: {error.message}")
