"""Comparing a machine's host key with the known one before ``ssh`` is started.

``ssh`` itself refuses a changed key, with a page of warnings. Asking first, with OpenSSH's ``ssh-keyscan``, turns that into one
line that says what it means for an instance of a cloud. The check that counts remains ssh's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stratuslab.errors import SSHError
from stratuslab.ssh.openssh import printed_by

_TIMEOUT = 5


def changed(host: str) -> SSHError:
    """The error for an instance whose host key has changed."""
    return SSHError(
        f"{host}: the host key has changed: another machine answers there, or this one was reinstalled",
        "if you expected that, remove the old key with --forget-host-key; otherwise do not connect",
    )


def check_shown_key(ssh: str, host: str, port: int, known: Sequence[tuple[str, str]]) -> None:
    """Raise SSHError if the host shows none of the known keys. A host that cannot be asked raises nothing."""
    # A host that no longer has a key of the known type shows one of another type.
    shown = _shown(ssh, host, port, [_name(kind) for kind, _ in known]) or _shown(ssh, host, port, _NAMES)
    if shown and not shown & set(known):
        raise changed(host)


_NAMES = ("ed25519", "ecdsa", "rsa")
"""The types as ssh-keyscan names them."""


def _shown(ssh: str, host: str, port: int, names: Sequence[str]) -> set[tuple[str, str]]:
    kinds = ",".join(dict.fromkeys(names))
    argv = [str(Path(ssh).with_name("ssh-keyscan")), "-T", str(_TIMEOUT), "-t", kinds, "-p", str(port), "--", host]
    lines = (line.split() for line in printed_by(argv, _TIMEOUT + 5) if not line.startswith("#"))
    return {(words[1], words[2]) for words in lines if len(words) >= 3}


def _name(kind: str) -> str:
    return kind.removeprefix("ssh-").partition("-sha2-")[0]
