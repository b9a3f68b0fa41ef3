"""Whether the machine that answers is the one whose key is known, found out before ``ssh`` is started.

``ssh`` refuses another key by itself, with a page of warnings. Asking first, with OpenSSH's ``ssh-keyscan``, makes it a line
that says what it means for an instance of a cloud. It is no more than that: the check that counts is ssh's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stratuslab.errors import SSHError

_TIMEOUT = 5


def changed(host: str) -> SSHError:
    """The error that an instance shows another key than it had."""
    return SSHError(
        f"{host} has not the host key that this instance had: another machine answers there, or this one was set up anew",
        "where you expect that, forget the old key with --forget-host-key; otherwise nothing should be typed there",
    )


def check_shown_key(ssh: str, host: str, port: int, known: Sequence[tuple[str, str]]) -> None:
    """Raise SSHError where the host shows another key than those that are known. What cannot be asked raises nothing."""
    # A host that has no key any more of the type that it had shows one of another type.
    shown = _shown(ssh, host, port, [_name(kind) for kind, _ in known]) or _shown(ssh, host, port, _NAMES)
    if shown and not shown & set(known):
        raise changed(host)


_NAMES = ("ed25519", "ecdsa", "rsa")
"""The types as ssh-keyscan names them."""


def _shown(ssh: str, host: str, port: int, names: Sequence[str]) -> set[tuple[str, str]]:
    import subprocess

    kinds = ",".join(dict.fromkeys(names))
    argv = [str(Path(ssh).with_name("ssh-keyscan")), "-T", str(_TIMEOUT), "-t", kinds, "-p", str(port), "--", host]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT + 5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return set()
    lines = (line.split() for line in done.stdout.splitlines() if not line.startswith("#"))
    return {(words[1], words[2]) for words in lines if len(words) >= 3}


def _name(kind: str) -> str:
    return kind.removeprefix("ssh-").partition("-sha2-")[0]
