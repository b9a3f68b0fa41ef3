"""Imports an image into the image store: reads it, checks it, detects its format, and moves it into place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.errors import StratusLabError
from stratuslab.local.images import SILENT, ProgressListener
from stratuslab.local.images.free_space import storage_errors
from stratuslab.local.images.image_format import Format, detect_format
from stratuslab.local.images.image_reader import USUAL, ReadResult, read_image
from stratuslab.local.images.image_store import IncomingFile
from stratuslab.marketplace.image_decompression import Readable

if TYPE_CHECKING:
    from stratuslab.local.images.download import Download

Check = Callable[[ReadResult, Path], str]
"""Checks the image in a file, whose checksums it gets too, and returns its identifier. Raises if the image is refused."""


class ImportedImage(NamedTuple):
    """An image in the image store."""

    path: Path
    read: ReadResult
    format: Format


@dataclass(frozen=True)
class ImageImport:
    """Imports images into the store of a directory.

    Content longer than ``limit`` is refused. Methods raise NoSpace, ImageError for an invalid image, StratusLabError for
    damaged compression, and what the check raises.
    """

    directory: Path
    check: Check
    limit: int | None = None
    algorithms: Collection[str] = USUAL
    listener: ProgressListener = SILENT

    def of_stream(self, stream: Readable, size: int | None) -> ImportedImage:
        """Import the content of a stream; ``size`` is its length if known."""
        with storage_errors(self.directory), IncomingFile(self.directory) as file:
            return self._imported(stream, size, file, file.descriptor)

    def of_download(self, download: Download) -> ImportedImage:
        """Import a download, by moving the file if it is not compressed. The download is removed, even if the image is refused,
        but not on an interruption."""
        try:
            with storage_errors(self.directory), download.path.open("rb") as stream:
                if download.packing:
                    taken = self.of_stream(stream, download.size)
                else:
                    taken = self._imported(stream, download.size, download, None)
        except StratusLabError:
            download.discard()
            raise
        download.discard()
        return taken

    def _imported(self, stream: Readable, size: int | None, file: IncomingFile | Download, into: int | None) -> ImportedImage:
        found = read_image(stream, into, size=size, limit=self.limit, algorithms=self.algorithms, listener=self.listener)
        identifier, kind = self.check(found, file.path), detect_format(file.path)
        return ImportedImage(file.keep(identifier), found, kind)
