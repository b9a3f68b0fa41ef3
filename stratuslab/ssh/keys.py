"""The user's SSH keys: which public key an instance is given, and which private key opens it again."""

from __future__ import annotations

from pathlib import Path

from stratuslab.errors import StratusLabError, UsageError
from stratuslab.files import locked, private_directory, replace
from stratuslab.key_format import new_private_key, public_key

USUAL_NAMES = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
"""The public keys of ``~/.ssh`` that are looked for, in this order."""

_MAXIMUM_SIZE = 64 << 10
_MADE_NAME = "id_ed25519"


def public_key_file(home: Path) -> Path | None:
    """The first of the usual public keys that this home directory has; None where it has none."""
    for name in USUAL_NAMES:
        path = home / ".ssh" / name
        if path.is_file():
            return path
    return None


def private_half(public: Path) -> Path:
    """The file of the private key that belongs to a public one: without the suffix ``.pub``; another file stays itself."""
    return public.with_suffix("") if public.suffix == ".pub" else public


def read_public_keys(path: Path) -> str:
    """The public keys of the file, one a line, as an instance's ``authorized_keys`` takes them.

    Blank lines, comments (``#``) and the ``Comment:`` lines of some key generators are left out. Raises UsageError, which
    never shows anything of the content, for a file that is missing, empty, a private key, or holds something else.
    """
    lines = [line.strip() for line in _text(path).splitlines()]
    keys = [line for line in lines if line and not line.startswith(("#", "Comment:"))]
    if not keys:
        raise UsageError(f"the public key file {path} is empty", "make a key pair with ssh-keygen, or name another file")
    for key in keys:
        if public_key(key) is None:
            raise UsageError(
                f"line {lines.index(key) + 1} of {path} is no public key in OpenSSH's form",
                "it begins with a type such as ssh-ed25519; ssh-keygen -i -f FILE converts other forms",
            )
    return "\n".join(keys)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_SIZE + 1)
    except FileNotFoundError:
        raise UsageError(f"there is no public key file {path}", "name one with --key, or make one with ssh-keygen") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"the public key file {path} cannot be read: {why}", "name another one with --key") from error
    if b"PRIVATE KEY" in content or content.startswith(b"PuTTY-User-Key-File-"):
        raise _private_key(path)
    if len(content) > _MAXIMUM_SIZE:
        raise UsageError(f"{path} is too large for a file of public keys", "name another file with --key")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no public key but something binary", "name another file with --key") from None


def _private_key(path: Path) -> UsageError:
    public = path.with_name(f"{path.name}.pub")
    hint = f"give its public half, {public}" if public.is_file() else f"ssh-keygen -y -f {path} shows its public half"
    return UsageError(f"{path} is a private key, and must not leave this computer", hint)


def made_key(directory: Path) -> Path | None:
    """The public key of the pair that :func:`make_key_pair` made in the client's own directory; None where there is none."""
    private, public = directory / _MADE_NAME, directory / f"{_MADE_NAME}.pub"
    return public if private.is_file() and public.is_file() else None


def make_key_pair(directory: Path) -> Path:
    """The public key (``id_ed25519.pub``) of the pair in the client's own directory; the pair is made where there is none.

    The private key is readable by the user only. Several processes that come here at once end up with one and the same pair.
    Raises StratusLabError where it cannot be made.
    """
    private, public = directory / _MADE_NAME, directory / f"{_MADE_NAME}.pub"
    if made := made_key(directory):
        return made
    try:
        private_directory(directory)
        with locked(private):
            if not private.is_file():
                # A public key without its private half opens nothing, while from a private key the public one can be made.
                replace(private, new_private_key())
                replace(public, _public_half(private), 0o644)
            elif not public.is_file():
                replace(public, _public_half(private), 0o644)
    except OSError as error:
        raise StratusLabError(
            f"no SSH key pair can be made in {directory}: {error.strerror or error}", "name a public key with --key"
        ) from error
    return public


def _public_half(private: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_ssh_private_key(private.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StratusLabError(
            f"the private key {private} cannot be read", "remove it, and a new one is made; or name a public key with --key"
        ) from error
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return line + b" stratuslab\n"
