"""The identifier of an image: the SHA-1 of its uncompressed content, written with 27 characters.

The 160 bits of the digest are extended with two zero bits on the *left* and cut into 27 groups of six, most significant
first, each a character of the base64url alphabet (StratusLab's technical note on the Marketplace, 3.0). It is therefore not
the base64url text of the digest, which pads on the right, but that of the digest after a zero byte, without its first
character. As the first group holds four bits only, an identifier always begins with one of ``A`` to ``P``.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from stratuslab.errors import UsageError

_IDENTIFIER = re.compile(r"[A-P][A-Za-z0-9_-]{26}\Z")
_SHA1 = re.compile(r"0*[0-9A-Fa-f]{1,40}\Z")


def is_identifier(text: str) -> bool:
    """Whether the text has the form of an identifier, whether or not a Marketplace has the image."""
    return _IDENTIFIER.match(text) is not None


def identifier_from_sha1(hexdigest: str) -> str:
    """The identifier of the image with this SHA-1, given as hexadecimal digits in either case.

    Leading zeros may be missing or too many, as in metadata written by older tools. Raises UsageError for text that is not a
    number of 160 bits.
    """
    if not _SHA1.match(hexdigest):
        raise UsageError(f"{hexdigest[:60]!r} is not a SHA-1 checksum", "expected 40 hexadecimal digits")
    return urlsafe_b64encode(int(hexdigest, 16).to_bytes(21, "big")).decode()[1:]


def sha1_from_identifier(identifier: str) -> str:
    """The SHA-1 that an identifier stands for: 40 lower-case hexadecimal digits. Raises UsageError for an invalid identifier."""
    if not is_identifier(identifier):
        raise UsageError(
            f"{identifier[:60]!r} is not an image identifier", "expected 27 letters, digits, - or _, the first one from A to P"
        )
    return urlsafe_b64decode(f"A{identifier}").hex()[2:]
