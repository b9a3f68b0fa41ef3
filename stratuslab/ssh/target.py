"""The machine to log in to, in the words that both ways of speaking SSH (OpenSSH and paramiko) understand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import UsageError

_HOST = re.compile(r"[A-Za-z0-9_:](?:[A-Za-z0-9_.:-]*(?:%[A-Za-z0-9_.-]+)?)\Z")
_USER = re.compile(r"[^-\s\x00-\x1f\x7f'\"`$\\;&<>|(){}][^\s\x00-\x1f\x7f'\"`$\\;&<>|(){}]*\Z")

_JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<bracketed>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]*))"
    r"(?::(?P<port>[0-9]{1,5}))?\Z"
)


@dataclass(frozen=True)
class Target:
    """Who logs in to which host, and how both are known.

    ``alias`` is the name under which the file ``known_hosts`` has the host's key. ``key`` is the private key to offer (or a
    public one, whose private half the agent has); with ``only_key`` no other is offered, without it the agent's keys and
    those of ``~/.ssh`` are as well. ``connect_timeout`` is in seconds. ``jump`` names the hosts that lead there, as ``ssh -J``
    takes them. ``known`` says that the file has a key of the host, so that no other is accepted. ``patience`` is for how many
    seconds paramiko tries again what jump hosts do not reach yet. Raises UsageError for a host or a user that cannot be one:
    these come out of documents, and must never be taken for an option.
    """

    host: str
    port: int
    alias: str
    known_hosts: Path
    user: str = "root"
    key: Path | None = None
    only_key: bool = False
    connect_timeout: int = 10
    jump: str = ""
    known: bool = False
    patience: float = 0.0

    def __post_init__(self) -> None:
        checked_host(self.host)
        if not 0 < self.port < 65536:
            raise UsageError(f"{self.port} is no port", "ports are from 1 to 65535")
        checked_user(self.user)
        jumps(self.jump)


def checked_host(text: str) -> str:
    """The text, which must be a host name or an address; raises UsageError otherwise."""
    if not _HOST.match(text):
        raise UsageError(f"{text[:60]!r} is no host to connect to")
    return text


def checked_user(text: str) -> str:
    """The text, which must be a user's name; raises UsageError otherwise."""
    if not _USER.match(text):
        raise UsageError(f"{text[:60]!r} is no user to log in as", "name one with --login")
    return text


@dataclass(frozen=True)
class Jump:
    """A host on the way: ``user`` is empty and ``port`` 0 where ssh's configuration or its defaults decide."""

    host: str
    port: int = 0
    user: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


def jumps(text: str) -> list[Jump]:
    """The hosts of ``[USER@]HOST[:PORT],...``, the first hop first; none of empty text. Raises UsageError for another form."""
    return [_jump(piece) for piece in text.split(",")] if text else []


def _jump(piece: str) -> Jump:
    match = _JUMP.match(piece)
    port = int(match["port"] or 0) if match else 65536
    if match is None or port > 65535 or (match["user"] and not _USER.match(match["user"])):
        raise UsageError(f"{piece[:60]!r} is no jump host", "-J takes [USER@]HOST[:PORT], several with commas between them")
    return Jump(match["bracketed"] or match["host"], port, match["user"] or "")


def remote_command(words: Sequence[str]) -> str:
    """The command line that the remote shell is given: the words with blanks between them, and nothing quoted.

    That is what ``ssh host WORDS`` has always done, so that ``-- echo '$USER'`` is expanded by the remote shell and
    ``-- 'cd /tmp && ls'`` is a line of shell. Who wants words kept together quotes twice, as with ssh.
    """
    return " ".join(words)
