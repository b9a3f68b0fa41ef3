"""Examines a private key file without using it: whether ssh will accept it, whether it is encrypted, its public key."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import UsageError
from stratuslab.openssh_keys import public_keys, take_string
from stratuslab.ssh.user_public_key import MAXIMUM_SIZE, certificate_refused

_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True)
class PrivateKey:
    """A private key file. ``blob`` is its public key in SSH's wire format, empty if unknown without the passphrase;
    ``encrypted`` says that it has a passphrase."""

    path: Path
    blob: bytes = b""
    encrypted: bool = False


def examine(path: Path) -> PrivateKey:
    """Read what a private key file shows without its passphrase. Raises UsageError for one that ``ssh`` would not use."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"private key {path} is not a file", "name another one with --key")
            content = file.read(MAXIMUM_SIZE + 1)
    except FileNotFoundError:
        raise UsageError(f'private key "{path}" does not exist', "name another one with --key") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read private key {path}: {why}", "name another one with --key") from error
    # Like OpenSSH's sshkey_perm_ok(): a file of another owner, such as one on a mounted disk, is accepted.
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        raise UsageError(
            f"other users can read private key {path} (mode {stat.S_IMODE(status.st_mode):04o}), so ssh ignores it",
            f"chmod 600 {path}",
        )
    if len(content) > MAXIMUM_SIZE or b"PRIVATE KEY-----" not in content:
        raise UsageError(f"{path} is not a private key", "name another one with --key")
    blob, encrypted = _of_openssh(content) or _of_pem(content)
    return PrivateKey(path, blob or public_blob(path.with_name(f"{path.name}.pub")), encrypted)


def public_blob(path: Path) -> bytes:
    """The public key in a ``.pub`` file, in SSH's wire format; empty if the file is missing or holds none.

    Raises UsageError for a certificate.
    """
    try:
        with path.open("rb") as file:
            found = next(public_keys(file.read(MAXIMUM_SIZE).decode("utf-8", "replace")), None)
    except OSError:
        return b""
    if found and found.is_certificate:
        raise certificate_refused(path)
    return found.blob if found else b""


def _of_openssh(content: bytes) -> tuple[bytes, bool] | None:
    """Cipher and public key of OpenSSH's own format (PROTOCOL.key); None for another format."""
    match = re.search(rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", content, re.DOTALL)
    if match is None:
        return None
    try:
        data = base64.b64decode(b"".join(match[1].split()), validate=True)
    except binascii.Error:
        return b"", False
    if not data.startswith(_MAGIC):
        return b"", False
    cipher, rest = take_string(data[len(_MAGIC) :])
    for _ in range(2):  # the key derivation's name and its options
        _, rest = take_string(rest)
    blob, _ = take_string(rest[4:])
    return blob, cipher != b"none"


def _of_pem(content: bytes) -> tuple[bytes, bool]:
    if b"ENCRYPTED" in content:
        return b"", True
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_private_key(content, None)
        line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # ssh may still be able to read it.
        return b"", False
    return base64.b64decode(line.split()[1]), False
