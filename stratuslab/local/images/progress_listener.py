"""Who is told how it goes while an image is fetched, read and kept."""

from __future__ import annotations


class Listener:
    """Hears nothing; a command's own listener tells its user."""

    def step(self, text: str) -> None:
        """What is done now, in a sentence without an end."""

    def moved(self, what: str, done: int, total: int | None) -> None:
        """So many bytes of the total, which may not be known, have gone through; ``what`` is a word for the work."""


SILENT = Listener()
