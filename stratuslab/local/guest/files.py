"""The file system of a simulated guest: held in memory, bounded, gone with the machine's process.

Nothing in here touches the disk of this computer. Errors are the OSErrors that a kernel would give.
"""

from __future__ import annotations

import errno
import os
import posixpath
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

CAPACITY = 32 * 1024 * 1024
"""Bytes that all files together may hold. It is this process's memory, so it is little."""

MAX_NODES = 10_000
"""Files and directories that there may be."""

CHUNK = 32 * 1024
"""Bytes per piece when a file is streamed."""


@dataclass
class Node:
    """A file or (``content`` is None) a directory. ``source`` computes the content of those in /proc when they are read."""

    mode: int
    content: bytearray | None = None
    source: Callable[[], str] | None = None
    device: Callable[[], Iterator[bytes]] | None = None
    modified: float = field(default_factory=time.time)

    @property
    def is_directory(self) -> bool:
        return self.content is None


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class FileSystem:
    """Paths are absolute and normalised, see :meth:`resolve`; every method is safe to be called from several sessions."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {"/": Node(0o755)}
        self._lock = threading.RLock()
        self._used = 0

    @staticmethod
    def resolve(directory: str, path: str) -> str:
        """The path, seen from a directory, in its one absolute form."""
        # POSIX lets two leading slashes mean something else, and normpath keeps them.
        return "/" + posixpath.normpath(posixpath.join(directory, path)).lstrip("/")

    @property
    def used(self) -> int:
        """Bytes held in files."""
        return self._used

    def node(self, path: str) -> Node:
        """The file or directory at the path; raises FileNotFoundError, NotADirectoryError."""
        node = self._nodes.get(path)
        if node is None:
            parent = self._nodes.get(posixpath.dirname(path))
            raise _failure(errno.ENOTDIR if parent is not None and not parent.is_directory else errno.ENOENT, path)
        return node

    def exists(self, path: str) -> bool:
        return path in self._nodes

    def is_directory(self, path: str) -> bool:
        node = self._nodes.get(path)
        return node is not None and node.is_directory

    def names(self, path: str) -> list[str]:
        """The sorted names in a directory."""
        with self._lock:
            if not self.node(path).is_directory:
                raise _failure(errno.ENOTDIR, path)
            prefix = path.rstrip("/") + "/"
            below = (other[len(prefix) :] for other in self._nodes if other.startswith(prefix))
            return sorted(name for name in below if name and "/" not in name)

    def read(self, path: str) -> bytes:
        """The content of a regular file."""
        node = self.node(path)
        if node.content is None:
            raise _failure(errno.EISDIR, path)
        return node.source().encode() if node.source else bytes(node.content)

    def stream(self, path: str) -> Iterator[bytes]:
        """The content in pieces; a device such as /dev/zero has no end. The path is checked at once."""
        node = self.node(path)
        return node.device() if node.device else _pieces(self.read(path))

    def open(self, path: str, append: bool = False) -> Callable[[bytes], None]:
        """Make or empty the file (unless ``append``); returns the function that writes to it."""
        with self._lock:
            node = self._nodes.get(path)
            if node is None:
                node = self._add(path, Node(0o644, bytearray()))
            if node.content is None:
                raise _failure(errno.EISDIR, path)
            if node.device:
                return lambda data: None
            if node.source:
                raise _failure(errno.EACCES, path)
            if not append:
                self._used -= len(node.content)
                node.content = bytearray()
            node.modified = time.time()
        opened = node
        return lambda data: self._extend(path, opened, data)

    def _extend(self, path: str, node: Node, data: bytes) -> None:
        with self._lock:
            if self._used + len(data) > CAPACITY:
                raise _failure(errno.ENOSPC, path)
            if node.content is not None:
                node.content += data
                self._used += len(data)

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file with this text; directories above it are made."""
        self.make_directories(posixpath.dirname(path))
        self.open(path)(text.encode(errors="surrogateescape"))
        self._nodes[path].mode = mode

    def put_source(self, path: str, source: Callable[[], str]) -> None:
        """A read-only file whose content is computed whenever it is read."""
        self.make_directories(posixpath.dirname(path))
        self._add(path, Node(0o444, bytearray(), source=source))

    def put_device(self, path: str, device: Callable[[], Iterator[bytes]]) -> None:
        """A file that is read from a function and swallows what is written."""
        self.make_directories(posixpath.dirname(path))
        self._add(path, Node(0o666, bytearray(), device=device))

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        with self._lock:
            if path in self._nodes:
                raise _failure(errno.EEXIST, path)
            self._add(path, Node(mode))

    def make_directories(self, path: str) -> None:
        """The directory and all above it, as far as they are not there."""
        with self._lock:
            if path not in self._nodes:
                self.make_directories(posixpath.dirname(path))
                self._add(path, Node(0o755))
            elif not self._nodes[path].is_directory:
                raise _failure(errno.ENOTDIR, path)

    def remove(self, path: str, recursive: bool = False) -> None:
        """Remove a file, or with ``recursive`` a directory and all below it."""
        with self._lock:
            node = self.node(path)
            if path == "/" or path.startswith("/proc"):
                raise _failure(errno.EPERM, path)
            if node.is_directory and not recursive:
                raise _failure(errno.EISDIR, path)
            for other in [path, *(other for other in self._nodes if other.startswith(path + "/"))]:
                self._used -= len(self._nodes.pop(other).content or b"")

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self._lock:
            if self.names(path):
                raise _failure(errno.ENOTEMPTY, path)
            self.remove(path, recursive=True)

    def rename(self, path: str, target: str) -> None:
        """Move a file, or a directory with all below it, over what is at the target."""
        with self._lock:
            node = self.node(path)
            if target == path:
                return
            if (target + "/").startswith(path.rstrip("/") + "/"):
                raise _failure(errno.EINVAL, target)
            if self.exists(target):
                if self.is_directory(target) != node.is_directory:
                    raise _failure(errno.EISDIR if self.is_directory(target) else errno.ENOTDIR, target)
                (self.remove_directory if node.is_directory else self.remove)(target)
            self._check_parent(target)
            for other in [path, *(other for other in self._nodes if other.startswith(path + "/"))]:
                self._nodes[target + other[len(path) :]] = self._nodes.pop(other)

    def glob(self, directory: str, pattern: str) -> list[str]:
        """The paths that match a shell's pattern, written the way the pattern is (relative or absolute), sorted."""
        found = ["/" if pattern.startswith("/") else ""]
        for part in pattern.split("/"):
            if not part:
                continue
            deeper = []
            for base in found:
                above = self.resolve(directory, base)
                names = self.names(above) if self.is_directory(above) else []
                deeper += [
                    base + name + "/"
                    for name in ([part] if part in (".", "..") else names)
                    if fnmatchcase(name, part) and name.startswith(".") <= part.startswith(".")
                ]
            found = deeper
        return sorted(path.rstrip("/") or "/" for path in found if path)

    def _check_parent(self, path: str) -> None:
        if not self.node(posixpath.dirname(path)).is_directory:
            raise _failure(errno.ENOTDIR, path)

    def _add(self, path: str, node: Node) -> Node:
        with self._lock:
            self._check_parent(path)
            if len(self._nodes) >= MAX_NODES:
                raise _failure(errno.ENOSPC, path)
            self._nodes[path] = node
            return node


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK):
        yield content[start : start + CHUNK]
