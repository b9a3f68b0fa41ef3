"""The machine to log in to, as OpenSSH and paramiko both need it."""

from __future__ import annotations

import re
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
    """A host, a user, and the keys of both.

    ``alias`` is the host's name in the file ``known_hosts``. ``key`` is the private key to offer (or a public one whose private
    key is in the agent); with ``only_key`` no other is offered, without it those of the agent and of ``~/.ssh`` as well.
    ``connect_timeout`` is in seconds, and so is ``silence``: how long a server may send nothing before it is given up (0: as ssh
    is configured). ``jump`` lists the jump hosts as ``ssh -J`` takes them. ``known`` says that the file has a key of the host,
    so that no other is accepted; ``recorded``, that a new key is added to it. ``patience`` is how many seconds paramiko keeps
    trying to reach the host through the jump hosts. Raises UsageError for an invalid host or user: these come from documents
    and must never be read as an option.
    """

    host: str
    port: int
    alias: str
    known_hosts: Path
    user: str = "root"
    key: Path | None = None
    only_key: bool = False
    connect_timeout: int = 10
    silence: int = 0
    jump: str = ""
    known: bool = False
    recorded: bool = True
    patience: float = 0.0

    def __post_init__(self) -> None:
        checked_host(self.host)
        if not 0 < self.port < 65536:
            raise UsageError(f"invalid port {self.port}", "ports are from 1 to 65535")
        checked_user(self.user)
        jumps(self.jump)


def checked_host(text: str) -> str:
    """The text, if it is a host name or an address; raises UsageError otherwise."""
    if not _HOST.match(text):
        raise UsageError(f"invalid host name {text[:60]!r}")
    return text


def checked_user(text: str) -> str:
    """The text, if it is a user name; raises UsageError otherwise."""
    if not _USER.match(text):
        raise UsageError(f"invalid user name {text[:60]!r}", "name another one with --login")
    return text


@dataclass(frozen=True)
class Jump:
    """A jump host: ``user`` is empty and ``port`` 0 where ssh's configuration or its defaults decide."""

    host: str
    port: int = 0
    user: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (f"{self.user}@" if self.user else "") + host + (f":{self.port}" if self.port else "")


def jumps(text: str) -> list[Jump]:
    """The hosts in ``[USER@]HOST[:PORT],...``, the first hop first; none for empty text. Raises UsageError for anything else."""
    return [_jump(piece) for piece in text.split(",")] if text else []


def _jump(piece: str) -> Jump:
    match = _JUMP.match(piece)
    port = int(match["port"] or 0) if match else 65536
    if match is None or port > 65535 or (match["user"] and not _USER.match(match["user"])):
        raise UsageError(f"invalid jump host {piece[:60]!r}", "-J takes [USER@]HOST[:PORT], separated by commas")
    return Jump(match["bracketed"] or match["host"], port, match["user"] or "")
