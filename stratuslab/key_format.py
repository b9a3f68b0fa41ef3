"""SSH keys as OpenSSH writes them: public ones in lines of ``authorized_keys``, and a new private one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

# sshd(8), AUTHORIZED_KEYS FILE FORMAT: options may stand before the key; blanks in them only inside double quotes.
_LINE = (
    r'(?P<options>(?:[^\s"]|"(?:[^"\\]|\\"|\\(?!"))*")+\s+)?'
    r"(?P<type>(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r"(?:-cert-v01@openssh\.com)?)\s+(?P<blob>[A-Za-z0-9+/]+={0,2})(?:\s|\Z)"
)


class PublicKey(NamedTuple):
    """``blob`` is the key as it goes over the wire (RFC 4253, section 6.6), ``options`` what stands before it in a line."""

    type: str
    blob: bytes
    options: str = ""


def public_key(line: str) -> PublicKey | None:
    """The public key in a line; None in a comment, and in one whose key is cut off or of another type than is written."""
    line = line.strip()
    match = None if line.startswith("#") else re.match(_LINE, line)
    if match is None:
        return None
    try:
        blob = base64.b64decode(match["blob"], validate=True)
    except binascii.Error:
        return None
    name, rest = take_string(blob)
    return PublicKey(match["type"], blob, (match["options"] or "").strip()) if name == match["type"].encode() and rest else None


def public_keys(text: str) -> Iterator[PublicKey]:
    """The public keys of a text's lines; other lines are passed over."""
    return filter(None, map(public_key, text.splitlines()))


def new_private_key() -> bytes:
    """A new Ed25519 key, without a passphrase."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """The string (RFC 4251, section 5) that the data begins with, and what follows it. Too short data gives what there is."""
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]
