"""The images of the embedded cloud: Marketplace entries, and the content that real machines boot from.

Content is uncompressed, in ``images/IDENTIFIER/image`` of the store's directory, and never changes.
"""

from __future__ import annotations

from stratuslab.errors import StratusLabError

DISCARDED = "images.discarded."
"""How directories with images that were removed begin, until they are deleted."""


class ImageError(StratusLabError):
    """An image cannot be fetched or used."""


def about(subject: str, error: StratusLabError) -> StratusLabError:
    """The error with its subject before the message."""
    return error.replaced(f"{subject}: {error.message}")


class ProgressListener:
    """Receives the progress of downloading and reading an image, and ignores it. Commands have a subclass that shows it."""

    def step(self, text: str) -> None:
        """A step begins; the text is a sentence without a full stop."""

    def note(self, text: str) -> None:
        """The user should know this; the text is a sentence without a full stop."""

    def moved(self, what: str, done: int, total: int | None) -> None:
        """So many bytes are done, of the total if known; ``what`` is a word such as ``Downloading``."""


SILENT = ProgressListener()
