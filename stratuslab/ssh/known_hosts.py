"""The host keys of instances, kept in a file of our own and not in the user's ``~/.ssh/known_hosts``.

Clouds reuse addresses, so a key is kept for the *instance*, under an alias made of the cloud's endpoint and the instance's id
(OpenSSH's HostKeyAlias): a reused address raises no alarm, a changed key of a living instance does. The file is in OpenSSH's
format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), and ``ssh`` adds to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.private_files import locked, private_directory, replace
from stratuslab.url_credentials import without_login

LOCK_SECONDS = 3.0
"""Seconds to wait for another process that changes the file; on network file systems a lock may be held by nobody who lives."""


def host_key_alias(endpoint: str, instance: int) -> str:
    """The name of an instance in the file, such as ``165.cloud.example.com.5f2b8c1de0``.

    It does not depend on the user, so user and password in the URL are ignored; the digest at its end tells apart clouds on
    one host. No character in it has a meaning in known_hosts, in a shell or in an option.
    """
    import hashlib

    cloud = without_login(endpoint).rstrip("/").lower()
    host = re.sub(r"\A[a-z][a-z0-9+.-]*://", "", cloud).partition("/")[0]
    readable = re.sub(r"[^a-z0-9.-]+", "-", host).strip("-.")[:60] or "cloud"
    return f"{instance}.{readable}.{hashlib.sha256(cloud.encode('utf-8', 'surrogateescape')).hexdigest()[:10]}"


@contextmanager
def _errors_named(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotRecorded(
            f"cannot {what} the host key file {path}: {error.strerror or error}", "check its permissions and the disk"
        ) from error


class NotRecorded(StratusLabError):
    """The file cannot be read or written: a disk that is full or read-only, or a lock that another process holds."""


class KnownHosts:
    """The file, in the client's own directory. Every method raises NotRecorded if it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the file, readable by the user only, if it does not exist: ``ssh`` would make it with other permissions."""
        with _errors_named(self.path, "write"):
            private_directory(self.path.parent)
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))

    def keys(self, alias: str) -> list[tuple[str, str]]:
        """The known keys of an instance: type and base64 text."""
        return [(kind, text) for name, kind, text in self._entries() if name == alias]

    def add(self, alias: str, kind: str, text: str) -> None:
        """Add a key: its type (``ssh-ed25519``) and its base64 text."""
        self.prepare()
        with _errors_named(self.path, "write"), locked(self.path, LOCK_SECONDS):
            content = self.path.read_bytes()
            start = b"" if not content or content.endswith(b"\n") else b"\n"
            with self.path.open("ab") as file:
                file.write(start + f"{alias} {kind} {text}\n".encode("ascii"))

    def forget(self, *aliases: str) -> bool:
        """Remove the keys of instances; whether there were any."""
        with _errors_named(self.path, "write"):
            gone = set(aliases)
            # Without the lock where there is nothing to do.
            if gone.isdisjoint(name for name, _, _ in self._entries()):
                return False
            with locked(self.path, LOCK_SECONDS):
                while True:
                    content = self.path.read_bytes()
                    lines = content.splitlines(keepends=True)
                    kept = [line for line in lines if line.partition(b" ")[0].decode("utf-8", "replace") not in gone]
                    if len(kept) == len(lines):
                        return False
                    # ssh appends without our lock: read again what it wrote meanwhile rather than lose it.
                    if self.path.stat().st_size == len(content):
                        replace(self.path, b"".join(kept))
                        return True

    def _entries(self) -> Iterator[tuple[str, str, str]]:
        with _errors_named(self.path, "read"):
            try:
                content = self.path.read_text("utf-8", "replace")
            except FileNotFoundError:
                return
        for line in content.splitlines():
            words = line.split()
            if len(words) >= 3 and not line.startswith(("#", "@")):
                for name in words[0].split(","):
                    yield name, words[1], words[2]
