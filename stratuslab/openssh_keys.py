"""SSH keys in OpenSSH's formats: public keys in lines of ``authorized_keys``, and a new private key."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

# sshd(8), AUTHORIZED_KEYS FILE FORMAT: options may precede the key, with blanks only inside double quotes.
_LINE = (
    r'(?P<options>(?:[^\s"]|"(?:[^"\\]|\\"|\\(?!"))*")+\s+)?'
    r"(?P<type>(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)"
    r"(?:-cert-v01@openssh\.com)?)\s+(?P<blob>[A-Za-z0-9+/]+={0,2})(?:\s|\Z)"
)


class PublicKey(NamedTuple):
    """``blob`` is the key in wire format (RFC 4253, section 6.6), ``options`` what precedes it in a line."""

    type: str
    blob: bytes
    options: str = ""

    @property
    def is_certificate(self) -> bool:
        """Whether an authority has signed it: an OpenSSH certificate, which is shown at a login and not listed for one."""
        return "-cert-v01@" in self.type


def public_key(line: str) -> PublicKey | None:
    """The public key in a line; None for a comment, and for a key that is cut off or of another type than stated."""
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
    """The public keys in a text, one on a line; other lines are ignored."""
    return filter(None, map(public_key, text.splitlines()))


def new_private_key() -> bytes:
    """A new Ed25519 key, without a passphrase."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """The string (RFC 4251, section 5) at the start of the data, and what follows. Short data yields a shorter string."""
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]
