"""Taking an image into the store: read, checked, told by its form, and only then given its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.local.images.checksums import USUAL
from stratuslab.local.images.download import Download
from stratuslab.local.images.free_space import keeping
from stratuslab.local.images.image_format import Form, form
from stratuslab.local.images.image_store import Incoming, keep
from stratuslab.local.images.progress_listener import SILENT, Listener
from stratuslab.local.images.sparse_writer import Read, read
from stratuslab.marketplace.compression import Readable

Check = Callable[[Read, Path], str]
"""Looks at what was read, and at the file with the content: the identifier to keep it under. Raises what is wrong with it."""


@dataclass(frozen=True)
class Taken:
    """Content that is in the store now."""

    path: Path
    read: Read
    form: Form


@dataclass(frozen=True)
class Intake:
    """The way into the store of a directory, past a check.

    Content longer than ``limit`` is refused; the sums are taken by the named ``algorithms``. Raises NoSpace, ImageError for
    what is no image that can be used, StratusLabError for damaged compression, and what the check raises.
    """

    directory: Path
    check: Check
    limit: int | None = None
    algorithms: Iterable[str] = USUAL
    listener: Listener = SILENT

    def of_stream(self, stream: Readable, size: int | None) -> Taken:
        """Copy the content of a stream of that length, if it is known."""
        with keeping(self.directory), Incoming(self.directory) as file:
            found = self._read(stream, file.descriptor, size)
            identifier, kind = self.check(found, file.path), form(file.path)
            return Taken(file.keep(identifier), found, kind)

    def of_download(self, download: Download) -> Taken:
        """Take what was downloaded: the file itself where it is not compressed. It is gone from where it was, also where it is
        refused, but not after an interruption."""
        try:
            with keeping(self.directory), download.path.open("rb") as stream:
                if download.packing:
                    taken = self.of_stream(stream, download.size)
                else:
                    found = self._read(stream, None, download.size)
                    identifier, kind = self.check(found, download.path), form(download.path)
                    download.forget_version()
                    taken = Taken(keep(self.directory, identifier, download.path, download.descriptor), found, kind)
        except StratusLabError:
            download.discard()
            raise
        download.discard()
        return taken

    def _read(self, stream: Readable, descriptor: int | None, size: int | None) -> Read:
        return read(stream, descriptor, size=size, limit=self.limit, algorithms=self.algorithms, listener=self.listener)
