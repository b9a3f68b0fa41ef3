"""The keys of a simulated guest's SSH server: the host key of its own, and the public keys that may log in."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from stratuslab.files import replace
from stratuslab.key_format import new_private_key, public_keys

ACCEPTED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Key types, as the first field of a public key names them (an ssh-rsa key signs with SHA-2)."""


def authorized(text: str) -> frozenset[bytes]:
    """The public keys that may log in, as they go over the wire, out of lines as in an authorized_keys file.

    Certificate authorities are no keys of a user. Other options have no meaning in a guest that forwards nothing.
    """
    return frozenset(key.blob for key in public_keys(text) if key.type in ACCEPTED and "cert-authority" not in key.options)


def make_host_key(path: Path) -> None:
    """A new host key, unless there is one: a machine keeps its identity over restarts."""
    if not path.exists():
        replace(path, new_private_key())


def fingerprint(blob: bytes) -> str:
    """The fingerprint of a public key as ``ssh-keygen -l`` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=").decode()
