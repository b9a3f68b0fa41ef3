"""The interface that reports the progress of downloading and reading an image."""

from __future__ import annotations


class ProgressListener:
    """Ignores everything. Commands have subclasses that show it to the user."""

    def step(self, text: str) -> None:
        """A step begins; the text is a sentence without a full stop."""

    def moved(self, what: str, done: int, total: int | None) -> None:
        """So many bytes are done, of the total if known; ``what`` is a word such as ``Downloading``."""


SILENT = ProgressListener()
