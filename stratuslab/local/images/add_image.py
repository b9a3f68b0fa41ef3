"""Adding an image that somebody has in a file or knows the address of, with an entry of its own in the Marketplace."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.files import why
from stratuslab.local.images import ImageError, about
from stratuslab.local.images.checksums import USUAL
from stratuslab.local.images.download import Download
from stratuslab.local.images.free_space import require
from stratuslab.local.images.image_format import form
from stratuslab.local.images.intake import Intake, Taken
from stratuslab.local.images.new_entry import kept_here, register
from stratuslab.local.images.progress_listener import SILENT, Listener
from stratuslab.local.images.sparse_writer import Read
from stratuslab.local.store.database import Store
from stratuslab.marketplace.compression import MAGIC_SIZE, packing
from stratuslab.marketplace.metadata import Metadata, is_web_page
from stratuslab.urls import shown

_LENGTHS = {32: "MD5", 40: "SHA-1", 56: "SHA-224", 64: "SHA-256", 96: "SHA-384", 128: "SHA-512"}
_CONVERT = "convert it: qemu-img convert -O qcow2 IMAGE NEW"
_UNPACK = "unpack it, and add the disk that is in it"
# What people have in place of a disk image, by the bytes at an offset. All of it would be kept as a disk, and not boot; a VM that
# does not start says less about why than this does.
_FOREIGN = (
    (0, b"KDMV", "a VMDK disk", _CONVERT),
    (0, b"# Disk DescriptorFile", "the description of a VMDK disk", _CONVERT),
    (0, b"conectix", "a VHD disk", _CONVERT),
    (0, b"vhdxfile", "a VHDX disk", _CONVERT),
    (64, b"\x7f\x10\xda\xbe", "a VDI disk", _CONVERT),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
)
_ENDLESS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a character device", stat.S_IFSOCK: "a socket"}
_ENDINGS = re.compile(r"(\.(gz|bz2|xz|img|raw|qcow2?|disk))+\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Checksum:
    """What an image's file, or its uncompressed content, must have as its checksum; the algorithm is named as in entries."""

    algorithm: str
    value: str

    @classmethod
    def of(cls, text: str) -> Checksum:
        """The checksum in ``[ALGORITHM:]DIGITS``; without a name the number of digits tells it. Raises UsageError."""
        name, _, digits = text.strip().rpartition(":")
        named = re.sub(r"\AMD-", "MD", re.sub(r"\ASHA-?", "SHA-", name.strip().upper()))
        fitting = _LENGTHS.get(len(digits)) if re.match(r"[0-9a-fA-F]+\Z", digits) else None
        if fitting is None:
            raise UsageError(
                f'"{text[:140]}" is no checksum', "it has 32 (MD5), 40 (SHA-1), 64 (SHA-256) or 128 (SHA-512) hexadecimal digits"
            )
        if name and named != fitting:
            raise UsageError(f'"{text[:140]}" is no checksum: so many digits are a {fitting}, not "{name[:20]}"')
        return cls(fitting, digits.lower())


@dataclass(frozen=True)
class Facts:
    """What is known of an image besides its content; without a title it is called as its file."""

    title: str = ""
    description: str = ""
    os: str = ""
    os_version: str = ""
    os_arch: str = ""
    version: str = "1.0"


@dataclass(frozen=True)
class Adding:
    """Adds images to a store; ``now`` is seconds since the epoch, ``verify`` as in requests.

    Methods return the entry that is in the Marketplace then. Raise UsageError for what cannot be read, ImageError for what is
    no image or has another checksum, NoSpace, StratusLabError for damaged compression; the URL's also what Download raises.
    Nothing is kept then.
    """

    store: Store
    now: float
    checksum: Checksum | None = None
    facts: Facts = field(default_factory=Facts)
    verify: bool | str = True
    listener: Listener = SILENT

    def of(self, source: str, path: Path) -> Metadata:
        """Add what is at an http or https URL; any other source is the file at the path."""
        if not source:
            raise UsageError("no file is given", "give a file, or an http:// or https:// URL")
        scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", source)
        if scheme is None:
            return self.of_file(path)
        if scheme[1].lower() == "file":
            return self.of_file(Path(unquote(urlsplit(source).path)))
        if scheme[1].lower() not in ("http", "https"):
            raise UsageError(f"{shown(source)} cannot be downloaded", "give a file, or an http:// or https:// URL")
        return self.of_url(source)

    def of_file(self, path: Path) -> Metadata:
        """Add a copy of the content of a file."""
        self.listener.step(f"Reading {path}")
        with _opened(path) as stream:
            try:
                taken = self._from_stream(stream)
            except StratusLabError as error:
                raise about(str(path), error) from error
        return self._registered(taken, path.name)

    def _from_stream(self, stream: BinaryIO) -> Taken:
        facts = os.fstat(stream.fileno())
        size = facts.st_size if stat.S_ISREG(facts.st_mode) else None
        if size is not None:
            # Holes stay holes; and what is compressed does not become smaller.
            packed = bool(packing(os.pread(stream.fileno(), MAGIC_SIZE, 0)))
            require(self.store.directory, size if packed else min(facts.st_blocks * 512, size))
        return self._intake().of_stream(stream, size)

    def of_url(self, url: str) -> Metadata:
        """Add what is at the URL. A download that was broken off is continued, now and later."""
        self.listener.step(f"Downloading {shown(url)}")
        try:
            with Download(self.store.directory, url, verify=self.verify, listener=self.listener) as download:
                download.fetch()
                taken = self._intake().of_download(download)
        except StratusLabError as error:
            raise about(shown(url), error) from error
        return self._registered(taken, unquote(PurePosixPath(urlsplit(url).path).name), *_public(url))

    def _intake(self) -> Intake:
        more = () if self.checksum is None or self.checksum.algorithm in USUAL else (self.checksum.algorithm,)
        return Intake(self.store.directory, self._check, algorithms=(*USUAL, *more), listener=self.listener)

    def _check(self, read: Read, path: Path) -> str:
        if self.checksum is not None:
            _compare(self.checksum, read)
        _refuse_foreign(read, path)
        return read.content.identifier

    def _registered(self, taken: Taken, name: str, *locations: str) -> Metadata:
        content, facts = taken.read.content, self.facts
        self.listener.step(f"Kept as {taken.path}")
        metadata = Metadata(
            identifier=content.identifier,
            bytes=content.bytes,
            checksums={algorithm: content.checksums[algorithm] for algorithm in USUAL},
            title=facts.title or _ENDINGS.sub("", name) or content.identifier,
            description=facts.description,
            os=facts.os,
            os_version=facts.os_version,
            os_arch=facts.os_arch,
            version=facts.version,
            format=taken.form,
            locations=(kept_here(content.identifier), *locations),
            disks_bus="virtio",
        )
        return register(self.store, self.now, metadata, rename=bool(facts.title))


def _opened(path: Path) -> BinaryIO:
    """A file or a disk to read; what may never end is not waited for."""
    try:
        kind = _ENDLESS.get(stat.S_IFMT(path.stat().st_mode))
        if kind is None:
            return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {why(error)}") from error
    raise UsageError(f"{path} cannot be read: it is {kind}", "give a file or a disk")


def _public(url: str) -> tuple[str, ...]:
    """The URL, unless there is a password in it or its query may be a secret: entries may be read by all users."""
    parts = urlsplit(url)
    return () if "@" in parts.netloc or parts.query else (parts._replace(fragment="").geturl(),)


def _compare(checksum: Checksum, read: Read) -> None:
    came, content = (sums.checksums[checksum.algorithm] for sums in (read.came, read.content))
    if checksum.value in (came, content):
        return
    inside = "" if came == content else f", that of its content {content}"
    raise ImageError(f"its {checksum.algorithm} is {came}{inside}; it should be {checksum.value}")


def _refuse_foreign(read: Read, path: Path) -> None:
    if not read.content.bytes:
        raise ImageError("it is empty")
    with path.open("rb") as file:
        head = file.read(1024)
    if is_web_page(head):
        raise ImageError("it is a web page", "give the address of the file itself")
    if form(path) == "raw":
        for offset, magic, what, hint in _FOREIGN:
            if head.startswith(magic, offset):
                raise ImageError(f"it is {what}, which cannot be booted", hint)
