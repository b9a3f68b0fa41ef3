"""The identifier of an image: the SHA-1 of its uncompressed content, written with 27 characters.

The 160 bits of the digest are extended with two zero bits on the *left* and cut into 27 groups of six, most significant
first, each a character of the base64url alphabet (StratusLab's technical note on the Marketplace, 3.0). It is therefore not
the base64url text of the digest, which pads on the right. As the first group holds four bits only, the first character is
always one of ``A`` to ``P``: a word of 27 legal characters that begins otherwise stands for no SHA-1 and is no identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, cast

from stratuslab.errors import StratusLabError, UsageError

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_IDENTIFIER = re.compile(r"[A-P][A-Za-z0-9_-]{26}\Z")
_SHA1 = re.compile(r"0*[0-9A-Fa-f]{1,40}\Z")
_CHUNK = 1 << 20


def is_identifier(text: str) -> bool:
    """Whether the text is the identifier of some image; that a Marketplace has the image is not said."""
    return _IDENTIFIER.match(text) is not None


def identifier_from_sha1(hexdigest: str) -> str:
    """The identifier of the image that has this SHA-1, given as hexadecimal digits in either case.

    Leading zeros may be missing or too many, as they are in metadata that was written by older tools. Raises UsageError for
    what is no number of 160 bits.
    """
    if not _SHA1.match(hexdigest):
        raise UsageError(f"{hexdigest[:60]!r} is no SHA-1 checksum", "it has 40 hexadecimal digits")
    number = int(hexdigest, 16)
    return "".join(_ALPHABET[number >> shift & 0x3F] for shift in range(156, -1, -6))


def sha1_from_identifier(identifier: str) -> str:
    """The SHA-1 that an identifier stands for: 40 lower-case hexadecimal digits. Raises UsageError for no identifier."""
    if not is_identifier(identifier):
        raise UsageError(
            f"{identifier[:60]!r} is no image identifier", "it has 27 letters, digits, - or _, the first one of A to P"
        )
    number = 0
    for character in identifier:
        number = number << 6 | _ALPHABET.index(character)
    return f"{number:040x}"


def identifier_of_file(stream: BinaryIO) -> str:
    """The identifier of an image that is read from the stream to its end, without keeping more than a piece in memory.

    An image that is compressed with gzip, bzip2 or xz (told by its first bytes, never by a name) is decompressed on the way,
    because the identifier is that of the content. The stream need not be seekable. Raises StratusLabError when the
    compressed data is damaged or cut short; OSError of the stream itself passes.
    """
    import hashlib

    digest = hashlib.sha1(usedforsecurity=False)
    for chunk in _content(stream):
        digest.update(chunk)
    return identifier_from_sha1(digest.hexdigest())


def _content(stream: BinaryIO) -> Iterator[bytes]:
    import bz2
    import gzip
    import lzma
    import zlib

    source = _Rejoined(stream)
    head = source.peek(6)
    # What the decompressors ask of a file is its read() alone.
    content = cast(BinaryIO, source)
    if head.startswith(b"\x1f\x8b\x08"):
        content = cast(BinaryIO, gzip.GzipFile(fileobj=content, mode="rb"))
    elif head.startswith(b"BZh"):
        content = cast(BinaryIO, bz2.BZ2File(content))
    elif head.startswith(b"\xfd7zXZ\x00"):
        content = cast(BinaryIO, lzma.LZMAFile(content))  # noqa: SIM115 - the stream stays the caller's
    try:
        while chunk := content.read(_CHUNK):
            yield chunk
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise StratusLabError(f"the compressed image is damaged: {error}") from error
    except OSError as error:
        # bz2 says damage with an OSError that, unlike the system's, has no number.
        if error.errno is not None:
            raise
        raise StratusLabError(f"the compressed image is damaged: {error}") from error


class _Rejoined:
    """A stream of which the first bytes can be looked at before they are read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._head = b""

    def peek(self, size: int) -> bytes:
        while len(self._head) < size and (more := self._stream.read(size - len(self._head))):
            self._head += more
        return self._head

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            head, self._head = self._head, b""
            return head + self._stream.read()
        # Exactly the size: the decompressors take a short answer inside a header for a damaged file.
        self.peek(size)
        taken, self._head = self._head[:size], self._head[size:]
        return taken
