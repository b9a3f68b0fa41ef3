"""Adds an image from a file or a URL to the store, with an entry in the Marketplace."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.local.images import SILENT, ImageError, ProgressListener, about
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries, local_location
from stratuslab.local.images.free_space import require
from stratuslab.local.images.image_format import lacks_boot_loader
from stratuslab.local.images.image_import import ImageImport, ImportedImage
from stratuslab.local.images.image_reader import ALGORITHMS, USUAL, ReadResult
from stratuslab.local.store.database import Store
from stratuslab.marketplace.image_decompression import MAGIC_SIZE, packing
from stratuslab.marketplace.metadata import Metadata, is_web_page
from stratuslab.private_files import why
from stratuslab.url_credentials import shown

_ENDLESS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a character device", stat.S_IFSOCK: "a socket"}
_ENDINGS = {".gz", ".bz2", ".xz", ".img", ".raw", ".qcow", ".qcow2", ".disk"}


@dataclass(frozen=True)
class ExpectedChecksum:
    """A checksum that an image's file or its uncompressed content must have. Algorithms are named as in entries."""

    algorithm: str
    value: str

    @classmethod
    def of(cls, text: str) -> ExpectedChecksum:
        """The checksum in ``[ALGORITHM:]DIGITS``; the default algorithm is the one with that length. Raises UsageError."""
        name, _, digits = text.strip().rpartition(":")
        named = re.sub(r"\AMD-", "MD", re.sub(r"\ASHA-?", "SHA-", name.strip().upper()))
        fitting = ALGORITHMS.get(len(digits)) if re.match(r"[0-9a-fA-F]+\Z", digits) else None
        if fitting is None:
            raise UsageError(
                f'"{text[:140]}" is not a checksum', "give 32 (MD5), 40 (SHA-1), 64 (SHA-256) or 128 (SHA-512) hexadecimal digits"
            )
        if name and named != fitting:
            raise UsageError(f'"{text[:140]}" is not a checksum: {len(digits)} digits are a {fitting}, not "{name[:20]}"')
        return cls(fitting, digits.lower())


_UNKNOWN = Metadata(identifier="", version="1.0")


@dataclass(frozen=True)
class ImageAdder:
    """Adds images to a store. ``now`` is seconds since the epoch, ``verify`` as in requests.

    ``known`` is what is known of the image besides its content; its title is by default the name of the file. ``data`` takes
    content that no machine can boot from. Methods return
    the entry in the Marketplace. If they raise, nothing is kept: UsageError if the source cannot be read, ImageError if it is
    not an image or has another checksum, NoSpace, StratusLabError for damaged compression, and what Download raises.
    """

    store: Store
    now: float
    checksum: ExpectedChecksum | None = None
    known: Metadata = _UNKNOWN
    verify: bool | str = True
    listener: ProgressListener = SILENT
    data: bool = False

    def of(self, source: str, path: Path) -> Metadata:
        """Add the image at an http or https URL, or for any other source the file at the path."""
        if not source:
            raise UsageError("no image file given", "give a file, or an http:// or https:// URL")
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
        if scheme is None:
            return self.of_file(path)
        if scheme[1].lower() == "file":
            return self.of_file(Path(unquote(urlsplit(source).path)))
        if scheme[1].lower() in ("http", "https"):
            return self.of_url(source)
        raise UsageError(f"cannot download {shown(source)}", "give a file, or an http:// or https:// URL")

    def of_file(self, path: Path) -> Metadata:
        """Add a copy of a file's content."""
        self.listener.step(f"Reading {path}")
        with _opened(path) as stream:
            status = os.fstat(stream.fileno())
            size = status.st_size if stat.S_ISREG(status.st_mode) else None
            try:
                if size is not None:
                    # Holes stay holes, and compressed content does not get smaller.
                    packed = bool(packing(os.pread(stream.fileno(), MAGIC_SIZE, 0)))
                    require(self.store.directory, size if packed else min(status.st_blocks * 512, size))
                imported = self._import().of_stream(stream, size)
            except StratusLabError as error:
                raise about(str(path), error) from error
        return self._registered(imported, path.name)

    def of_url(self, url: str) -> Metadata:
        """Add the image at the URL. An interrupted download is continued."""
        from stratuslab.local.images.download import Download  # loads requests

        self.listener.step(f"Downloading {shown(url)}")
        try:
            with Download(self.store.directory, url, verify=self.verify, listener=self.listener) as download:
                download.fetch()
                imported = self._import().of_download(download)
        except StratusLabError as error:
            raise about(shown(url), error) from error
        return self._registered(imported, unquote(PurePosixPath(urlsplit(url).path).name), *_public(url))

    def _import(self) -> ImageImport:
        algorithms = {*USUAL, self.checksum.algorithm} if self.checksum else USUAL
        return ImageImport(self.store.directory, self._check, algorithms=algorithms, listener=self.listener)

    def _check(self, read: ReadResult, path: Path) -> str:
        if self.checksum is not None:
            content, came = (sums.checksums[self.checksum.algorithm] for sums in read)
            if self.checksum.value not in (came, content):
                inside = "" if came == content else f", that of its content {content}"
                raise ImageError(f"its {self.checksum.algorithm} is {came}{inside}, expected {self.checksum.value}")
        if not read.content.bytes:
            raise ImageError("it is empty")
        with path.open("rb") as file:
            if is_web_page(file.read(1024)):
                raise ImageError("it is a web page", "give the address of the file itself")
        if not self.data and lacks_boot_loader(path):
            raise ImageError(
                "no machine can boot from it: it has no boot loader",
                "add it as a further disk with --data. Unpack archives, and convert VMDK, VDI and other formats with: "
                "qemu-img convert -O qcow2 IMAGE NEW",
            )
        return read.content.identifier

    def _registered(self, imported: ImportedImage, name: str, *locations: str) -> Metadata:
        content = imported.read.content
        self.listener.step(f"Kept as {imported.path}")
        metadata = replace(
            self.known,
            identifier=content.identifier,
            bytes=content.bytes,
            checksums={algorithm: content.checksums[algorithm] for algorithm in USUAL},
            title=self.known.title or _without_endings(name) or content.identifier,
            format=imported.format,
            locations=(local_location(content.identifier), *locations),
            disks_bus="virtio",
            kind="disk" if self.data else self.known.kind,
        )
        entry, has_one_more = MarketplaceEntries(self.store, self.now).register(metadata)
        if has_one_more:
            *others, added = (f'"{name}"' for name in entry.names)
            self.listener.note(f"image {entry.identifier} is here already, as {', '.join(others)}; it is now also called {added}")
        return entry


def _without_endings(name: str) -> str:
    while (ending := name[name.rfind(".") :]).lower() in _ENDINGS:
        name = name[: -len(ending)]
    return name


def _opened(path: Path) -> BinaryIO:
    """Open a file or a disk. Pipes and devices that may never end are refused."""
    try:
        kind = _ENDLESS.get(stat.S_IFMT(path.stat().st_mode))
        if kind is None:
            return path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {why(error)}") from error
    raise UsageError(f"cannot read {path}: it is {kind}", "give a file or a disk")


def _public(url: str) -> tuple[str, ...]:
    """The URL, unless it has a password or a query, which may be secret: all users can read entries."""
    parts = urlsplit(url)
    return () if "@" in parts.netloc or parts.query else (parts._replace(fragment="").geturl(),)
