"""The user's public SSH keys: which one an instance gets, and the key pair that is made where the user has none."""

from __future__ import annotations

from pathlib import Path

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.openssh_keys import new_private_key, public_key
from stratuslab.private_files import locked, private_directory, replace

USUAL_NAMES = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub", "id_ed25519_sk.pub", "id_ecdsa_sk.pub")
"""The public keys of ``~/.ssh`` that are looked for, in this order. Those of FIDO tokens are last: somebody has to touch them."""

MAXIMUM_SIZE = 64 << 10
"""Bytes of a key file that are read at most."""

_MADE_NAME = "id_ed25519"


def public_key_file(home: Path) -> Path | None:
    """The first of the usual public keys in this home directory; None without one."""
    return next((path for name in USUAL_NAMES if (path := home / ".ssh" / name).is_file()), None)


def private_half(public: Path) -> Path:
    """The private key file for a public one: without the suffix ``.pub``; any other path is returned as it is."""
    return public.with_suffix("") if public.suffix == ".pub" else public


def read_public_keys(path: Path) -> str:
    """The public keys in the file, one per line, as in ``authorized_keys``.

    Blank lines, comments (``#``) and the ``Comment:`` lines of some key generators are left out. Raises UsageError, which
    shows nothing of the content, for a file that is missing, empty, a private key, or anything else.
    """
    lines = [line.strip() for line in _text(path).splitlines()]
    keys = [line for line in lines if line and not line.startswith(("#", "Comment:"))]
    if not keys:
        raise UsageError(f"the public key file {path} is empty", "make a key pair with ssh-keygen, or name another file")
    for key in keys:
        found = public_key(key)
        if found and found.is_certificate:
            raise certificate_refused(path)
        if found is None:
            raise UsageError(
                f"line {lines.index(key) + 1} of {path} is not a public key in OpenSSH's format",
                "a key begins with its type, such as ssh-ed25519; ssh-keygen -i -f FILE converts other formats",
            )
    return "\n".join(keys)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_SIZE + 1)
    except FileNotFoundError:
        raise UsageError(f"public key file {path} does not exist", "name one with --key, or make one with ssh-keygen") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read public key file {path}: {why}", "name another one with --key") from error
    if b"PRIVATE KEY" in content or content.startswith(b"PuTTY-User-Key-File-"):
        raise _private_key(path)
    if len(content) > MAXIMUM_SIZE:
        raise UsageError(f"{path} is too large for a public key file", "name another file with --key")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a public key, but a binary file", "name another file with --key") from None


def certificate_refused(path: Path) -> UsageError:
    """The error for a certificate (``id_ed25519-cert.pub``) that was given as a key."""
    key = path.name.removesuffix(".pub").removesuffix("-cert")
    return UsageError(
        f"{path} is a certificate, not a key", f"name the key, {path.with_name(f'{key}.pub')}; ssh uses the certificate beside it"
    )


def _private_key(path: Path) -> UsageError:
    public = path.with_name(f"{path.name}.pub")
    hint = f"use its public key, {public}" if public.is_file() else f"ssh-keygen -y -f {path} prints its public key"
    return UsageError(f"{path} is a private key, which must not leave this computer", hint)


def made_key(directory: Path) -> Path | None:
    """The public key of the pair that :func:`make_key_pair` made in the client's own directory; None without one."""
    private, public = directory / _MADE_NAME, directory / f"{_MADE_NAME}.pub"
    return public if private.is_file() and public.is_file() else None


def make_key_pair(directory: Path) -> Path:
    """The public key (``id_ed25519.pub``) of the key pair in the client's own directory, which is made if it does not exist.

    Only the user can read the private key. Several processes at once end up with the same pair. Raises StratusLabError if it
    cannot be made.
    """
    private, public = directory / _MADE_NAME, directory / f"{_MADE_NAME}.pub"
    if made := made_key(directory):
        return made
    try:
        private_directory(directory)
        with locked(private):
            # The private key first: the public one can be made from it, but not the other way round.
            if is_new := not private.is_file():
                replace(private, new_private_key())
            if is_new or not public.is_file():
                replace(public, _public_half(private), 0o644)
    except OSError as error:
        raise StratusLabError(
            f"cannot make an SSH key pair in {directory}: {error.strerror or error}", "name a public key with --key"
        ) from error
    return public


def _public_half(private: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(private.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StratusLabError(
            f"cannot read private key {private}", "remove it to get a new one, or name a public key with --key"
        ) from error
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return line + b" stratuslab\n"
