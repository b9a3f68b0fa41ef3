"""The files of a simulated guest: a bounded tree in memory, gone with the machine's process.

Nothing here touches this computer's disk. Errors are the OSErrors that a kernel would give.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import threading
import time
from collections.abc import Iterator

CAPACITY = 32 * 1024 * 1024  # bytes of all files together; little, as it is this process's memory
MAX_NODES = 4096  # files and directories
MAX_PATH = 1024
PIECE = 32 * 1024


def failure(number: int, path: str) -> OSError:
    """The OSError that a kernel gives for a path."""
    return OSError(number, os.strerror(number), path)


class Node:
    """A file or a directory, with attributes as of ``os.stat``. ``path`` is where it was created."""

    st_uid = st_gid = 0

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.content = bytearray()
        self.removed = False
        self.st_mode = mode
        self.st_mtime = self.st_atime = time.time()

    @property
    def st_size(self) -> int:
        """The size of a file in bytes."""
        return len(self.content)

    def pieces(self) -> Iterator[bytes]:
        """The content of a file in pieces."""
        offset = 0
        while piece := bytes(self.content[offset : offset + PIECE]):
            yield piece
            offset += len(piece)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.st_mode)


class FileTree:
    """Paths are absolute or relative to the home directory. Several sessions can use it at once."""

    def __init__(self) -> None:
        self._nodes = {"/": Node("/", stat.S_IFDIR | 0o755)}
        self._lock = threading.RLock()
        self.used = 0

    @staticmethod
    def resolve(path: str) -> str:
        """The normalized absolute path."""
        # normpath keeps two leading slashes, which POSIX gives another meaning.
        return "/" + posixpath.normpath(posixpath.join("/root", path)).lstrip("/")

    def node(self, path: str) -> Node:
        """The file or directory at the path."""
        node = self._nodes.get(self.resolve(path))
        if node is None:
            raise failure(errno.ENOENT, path)
        return node

    def listing(self, path: str) -> dict[str, Node]:
        """The content of a directory by name, sorted."""
        with self._lock:
            if not self.node(path).is_directory:
                raise failure(errno.ENOTDIR, path)
            path = self.resolve(path)
            inside = sorted(other for other in self._nodes if posixpath.dirname(other) == path != other)
            return {posixpath.basename(other): self._nodes[other] for other in inside}

    def file(self, path: str, create: bool = False, mode: int = 0o644) -> Node:
        """The file at the path, created if missing with ``create``."""
        with self._lock:
            node = self.add(path, stat.S_IFREG | mode) if create and self.resolve(path) not in self._nodes else self.node(path)
        if node.is_directory:
            raise failure(errno.EISDIR, path)
        return node

    def add(self, path: str, mode: int) -> Node:
        """Create a file or a directory, depending on the type in the mode."""
        with self._lock:
            path = self.resolve(path)
            self._check_new(path, len(path))
            if len(self._nodes) >= MAX_NODES:
                raise failure(errno.ENOSPC, path)
            self._nodes[path] = Node(path, mode)
            return self._nodes[path]

    def write(self, node: Node, data: bytes, offset: int | None = None) -> None:
        """Write to a file, by default at its end."""
        with self._lock:
            start = node.st_size if offset is None else offset
            self.resize(node, max(node.st_size, start + len(data)))
            node.content[start : start + len(data)] = data

    def resize(self, node: Node, size: int) -> None:
        """Truncate a file, or extend it with zeros."""
        with self._lock:
            added = size - node.st_size
            # A removed file that is still open is not counted, so it must not grow.
            if node.removed or node.is_directory:
                raise failure(errno.ENOENT if node.removed else errno.EISDIR, node.path)
            if added > 0 and self.used + added > CAPACITY:
                raise failure(errno.ENOSPC, node.path)
            node.content += bytes(max(added, 0))
            del node.content[size:]
            self.used += added
            node.st_mtime = time.time()

    def remove(self, path: str, directory: bool = False) -> None:
        """Remove a file, or with ``directory`` an empty directory."""
        with self._lock:
            node = self.node(path)
            if node.is_directory != directory:
                raise failure(errno.ENOTDIR if directory else errno.EISDIR, path)
            if directory and (self.resolve(path) == "/" or self.listing(path)):
                raise failure(errno.ENOTEMPTY, path)
            if not directory:
                self.resize(node, 0)
            node.removed = True
            del self._nodes[self.resolve(path)]

    def rename(self, path: str, target: str) -> None:
        """Rename a file or a directory to a path that does not exist."""
        with self._lock:
            self.node(path)
            path, target = self.resolve(path), self.resolve(target)
            if (target + "/").startswith(path.rstrip("/") + "/"):
                raise failure(errno.EINVAL, target)
            moved = {old: target + old[len(path) :] for old in self._nodes if (old + "/").startswith(path + "/")}
            self._check_new(target, max(map(len, moved.values())))
            for old, new in moved.items():
                self._nodes[new] = self._nodes.pop(old)

    def _check_new(self, path: str, longest: int) -> None:
        if longest > MAX_PATH:
            raise failure(errno.ENAMETOOLONG, path)
        if path in self._nodes:
            raise failure(errno.EEXIST, path)
        if not self.node(posixpath.dirname(path)).is_directory:
            raise failure(errno.ENOTDIR, path)
