"""The keys of a simulated guest's SSH server: the host key of its own, and the public keys that may log in."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from pathlib import Path

from stratuslab.files import replace

ACCEPTED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Key types, as the first field of a public key names them (an ssh-rsa key signs with SHA-2)."""

# sshd(8), AUTHORIZED_KEYS FILE FORMAT: options may stand before the key; blanks in them only inside double quotes.
_LINE = re.compile(r'(?P<options>(?:[^\s"]|"(?:\\"|[^"])*")+\s+)?(?P<type>[a-z0-9-]+)\s+(?P<blob>[A-Za-z0-9+/]+=*)(?:\s|\Z)')


def authorized(text: str) -> frozenset[bytes]:
    """The public keys in the wire form of RFC 4253, out of lines as in an authorized_keys file.

    Comments, lines that are no key, and keys of a type that is not accepted are passed over; so are certificate
    authorities, which are no keys of a user. Other options have no meaning in a guest that forwards nothing.
    """
    return frozenset(filter(None, map(_blob, text.splitlines())))


def _blob(line: str) -> bytes | None:
    line = line.strip()
    match = None if line.startswith("#") else _LINE.match(line)
    if match is None or match["type"] not in ACCEPTED or "cert-authority" in (match["options"] or ""):
        return None
    try:
        blob = base64.b64decode(match["blob"], validate=True)
    except (binascii.Error, ValueError):
        return None
    name = match["type"].encode()
    return blob if blob.startswith(len(name).to_bytes(4, "big") + name) else None


def make_host_key(path: Path) -> None:
    """A new Ed25519 key in OpenSSH's format, mode 0600, unless there is one: a machine keeps its identity over restarts."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    if path.exists():
        return
    text = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    replace(path, text)


def fingerprint(blob: bytes) -> str:
    """The fingerprint of a public key as ``ssh-keygen -l`` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
