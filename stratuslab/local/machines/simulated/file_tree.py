"""The files of a simulated guest: a bounded tree in memory, gone with the machine's process.

Nothing here touches this computer's disk. Errors are the OSErrors that a kernel would give. The tree is what paramiko's SFTP
server asks, and what the guest's commands use.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import threading
import time
from collections.abc import Iterator

import paramiko
from paramiko.sftp import SFTP_OK

CAPACITY = 32 * 1024 * 1024  # bytes of all files together, at most; little, as it is this process's memory
MAX_NODES = 4096  # files and directories
MAX_PATH = 1024
PIECE = 32 * 1024  # bytes read at once


def _failure(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class _Node:
    """A file or a directory; ``path`` is where it was created."""

    def __init__(self, path: str, mode: int) -> None:
        self.path, self.mode, self.removed = path, mode, False
        self.content = bytearray()
        self.modified = int(time.time())

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def attributes(self, name: str = "") -> paramiko.SFTPAttributes:
        found = paramiko.SFTPAttributes()
        found.filename, found.st_mode, found.st_size = name, self.mode, len(self.content)
        found.st_uid = found.st_gid = 0
        found.st_mtime = found.st_atime = self.modified
        return found


class FileTree(paramiko.SFTPServerInterface):
    """Paths are absolute or relative to the home directory. Several sessions can use it at once.

    Methods are those of paramiko's interface; listings are sorted.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._nodes = {"/": _Node("/", stat.S_IFDIR | 0o755)}
        self.lock = threading.RLock()
        self.used = 0

    def canonicalize(self, path: str) -> str:
        """The normalized absolute path."""
        # normpath keeps two leading slashes, which POSIX gives another meaning.
        return "/" + posixpath.normpath(posixpath.join("/root", path)).lstrip("/")

    def node(self, path: str) -> _Node:
        """The file or directory at a path."""
        node = self._nodes.get(self.canonicalize(path))
        if node is None:
            raise _failure(errno.ENOENT, path)
        return node

    def stat(self, path: str) -> paramiko.SFTPAttributes:
        return self.node(path).attributes(path)

    lstat = stat

    def list_folder(self, path: str) -> list[paramiko.SFTPAttributes]:
        with self.lock:
            if not self.node(path).is_directory:
                raise _failure(errno.ENOTDIR, path)
            path = self.canonicalize(path)
            inside = sorted(other for other in self._nodes if posixpath.dirname(other) == path != other)
            return [self._nodes[other].attributes(posixpath.basename(other)) for other in inside]

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes | None = None) -> OpenFile:
        """Open a file, with flags as of ``os.open``."""
        with self.lock:
            if flags & os.O_EXCL or (flags & os.O_CREAT and self.canonicalize(path) not in self._nodes):
                self._add(path, stat.S_IFREG | 0o644, attr)
            node = self.node(path)
            if node.is_directory:
                raise _failure(errno.EISDIR, path)
            if flags & os.O_TRUNC:
                self.resize(node, 0)
            return OpenFile(self, node, flags)

    def mkdir(self, path: str, attr: paramiko.SFTPAttributes | None = None) -> int:
        self._add(path, stat.S_IFDIR | 0o755, attr)
        return SFTP_OK

    def _add(self, path: str, mode: int, attr: paramiko.SFTPAttributes | None) -> None:
        with self.lock:
            path = self.canonicalize(path)
            self._check_new(path, len(path))
            if len(self._nodes) >= MAX_NODES:
                raise _failure(errno.ENOSPC, path)
            node = self._nodes[path] = _Node(path, mode)
            if attr:
                OpenFile(self, node, 0).chattr(attr)

    def _check_new(self, path: str, longest: int) -> None:
        if longest > MAX_PATH:
            raise _failure(errno.ENAMETOOLONG, path)
        if path in self._nodes:
            raise _failure(errno.EEXIST, path)
        if not self.node(posixpath.dirname(path)).is_directory:
            raise _failure(errno.ENOTDIR, path)

    def resize(self, node: _Node, size: int) -> None:
        """Truncate a file, or extend it with zeros."""
        with self.lock:
            added = size - len(node.content)
            # A removed file that is still open is not counted, so it must not grow.
            if node.removed or node.is_directory:
                raise _failure(errno.ENOENT if node.removed else errno.EISDIR, node.path)
            if added > 0 and self.used + added > self.capacity:
                raise _failure(errno.ENOSPC, node.path)
            node.content += bytes(max(added, 0))
            del node.content[size:]
            self.used += added
            node.modified = int(time.time())

    def remove(self, path: str) -> int:
        with self.lock:
            node = self.node(path)
            self.resize(node, 0)
            node.removed = True
            del self._nodes[self.canonicalize(path)]
        return SFTP_OK

    def rmdir(self, path: str) -> int:
        with self.lock:
            if self.list_folder(path) or self.canonicalize(path) == "/":
                raise _failure(errno.ENOTEMPTY, path)
            del self._nodes[self.canonicalize(path)]
        return SFTP_OK

    def rename(self, oldpath: str, newpath: str) -> int:
        """Rename a file or a directory to a path that does not exist."""
        with self.lock:
            self.node(oldpath)
            path, target = self.canonicalize(oldpath), self.canonicalize(newpath)
            if (target + "/").startswith(path.rstrip("/") + "/"):
                raise _failure(errno.EINVAL, target)
            moved = {old: target + old[len(path) :] for old in self._nodes if (old + "/").startswith(path + "/")}
            self._check_new(target, max(map(len, moved.values())))
            for old, new in moved.items():
                self._nodes[new] = self._nodes.pop(old)
        return SFTP_OK

    def chattr(self, path: str, attr: paramiko.SFTPAttributes) -> int:
        return OpenFile(self, self.node(path), 0).chattr(attr)


class OpenFile(paramiko.SFTPHandle):
    """A file of a tree that is open, always for reading and writing."""

    def __init__(self, files: FileTree, node: _Node, flags: int) -> None:
        super().__init__(flags)
        self._files, self._node, self._appends = files, node, bool(flags & os.O_APPEND)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._node.content[offset : offset + min(length, PIECE)])

    def pieces(self) -> Iterator[bytes]:
        offset = 0
        while piece := self.read(offset, PIECE):
            yield piece
            offset += len(piece)

    def write(self, offset: int, data: bytes) -> int:  # type: ignore[override]
        """Write at the offset, or at the end if the file was opened to append."""
        content = self._node.content
        with self._files.lock:
            start = len(content) if self._appends else offset
            self._files.resize(self._node, max(len(content), start + len(data)))
            content[start : start + len(data)] = data
        return SFTP_OK

    def stat(self) -> paramiko.SFTPAttributes:
        return self._node.attributes()

    def chattr(self, attr: paramiko.SFTPAttributes) -> int:
        """Change the size, the permissions and the time, as far as they are given."""
        if attr.st_size is not None:
            self._files.resize(self._node, attr.st_size)
        if attr.st_mode is not None:
            self._node.mode = stat.S_IFMT(self._node.mode) | stat.S_IMODE(attr.st_mode)
        if attr.st_mtime is not None:
            self._node.modified = attr.st_mtime
        return SFTP_OK
