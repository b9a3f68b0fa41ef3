"""Size and checksums of data, with the names of algorithms that Marketplace entries use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stratuslab.marketplace.identifier import identifier_from_sha1

ALGORITHMS: Mapping[str, str] = {
    "MD5": "md5",
    "SHA-1": "sha1",
    "SHA-224": "sha224",
    "SHA-256": "sha256",
    "SHA-384": "sha384",
    "SHA-512": "sha512",
}
"""Python's names of the algorithms, by those in entries."""

USUAL = ("MD5", "SHA-1", "SHA-256", "SHA-512")
"""The checksums in StratusLab's entries."""


@dataclass(frozen=True)
class Checksums:
    """The number of bytes, and their checksums as lower-case hexadecimal digits."""

    bytes: int
    checksums: Mapping[str, str] = field(hash=False)

    @property
    def identifier(self) -> str:
        """The identifier of an image with these bytes as its content."""
        return identifier_from_sha1(self.checksums["SHA-1"])


class ChecksumCalculator:
    """Computes checksums of data as it comes."""

    def __init__(self, algorithms: Iterable[str] = USUAL) -> None:
        self.bytes = 0
        self._digests = {name: hashlib.new(ALGORITHMS[name], usedforsecurity=False) for name in algorithms}

    def add(self, data: bytes) -> None:
        self.bytes += len(data)
        for digest in self._digests.values():
            digest.update(data)

    def sums(self) -> Checksums:
        """The checksums of the data so far."""
        return Checksums(self.bytes, {name: digest.hexdigest() for name, digest in self._digests.items()})
