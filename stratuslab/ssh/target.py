"""The machine to log in to, in the words that both ways of speaking SSH (OpenSSH and paramiko) understand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import UsageError

_HOST = re.compile(r"[A-Za-z0-9_:](?:[A-Za-z0-9_.:-]*(?:%[A-Za-z0-9_.-]+)?)\Z")
_USER = re.compile(r"[^-\s\x00-\x1f\x7f'\"`$\\;&<>|(){}][^\s\x00-\x1f\x7f'\"`$\\;&<>|(){}]*\Z")


@dataclass(frozen=True)
class Target:
    """Who logs in to which host, and how both are known.

    ``alias`` is the name under which the file ``known_hosts`` has the host's key. ``key`` is the private key to offer (or a
    public one, whose private half the agent has); with ``only_key`` no other is offered, without it the agent's keys and
    those of ``~/.ssh`` are as well. ``connect_timeout`` is in seconds. Raises UsageError for a host or a user that cannot be
    one: these come out of documents, and must never be taken for an option.
    """

    host: str
    port: int
    alias: str
    known_hosts: Path
    user: str = "root"
    key: Path | None = None
    only_key: bool = False
    connect_timeout: int = 10

    def __post_init__(self) -> None:
        if not _HOST.match(self.host):
            raise UsageError(f"{self.host[:60]!r} is no host to connect to")
        if not 0 < self.port < 65536:
            raise UsageError(f"{self.port} is no port", "ports are from 1 to 65535")
        if not _USER.match(self.user):
            raise UsageError(f"{self.user[:60]!r} is no user to log in as")


def remote_command(words: Sequence[str]) -> str:
    """The command line that the remote shell is given: the words with blanks between them, and nothing quoted.

    That is what ``ssh host WORDS`` has always done, so that ``-- echo '$USER'`` is expanded by the remote shell and
    ``-- 'cd /tmp && ls'`` is a line of shell. Who wants words kept together quotes twice, as with ssh.
    """
    return " ".join(words)
