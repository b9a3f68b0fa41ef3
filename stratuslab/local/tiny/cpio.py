"""A writer of cpio archives in the form `newc`, of which Linux makes its first file system.

The format is that of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. The archive is written by us as
no tool is needed that way, device nodes need no root, and the same files always give the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Member:
    """A file, directory, symbolic link or device node of an archive, owned by root.

    ``path`` is relative; ``mode`` is as in stat, with the type; ``content`` is a file's, or where a link leads; ``device``
    is a device node's major and minor number.
    """

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str, rights: int = 0o755) -> Member:
    return Member(path, stat.S_IFDIR | rights)


def file(path: str, content: bytes, rights: int = 0o644) -> Member:
    return Member(path, stat.S_IFREG | rights, content)


def link(path: str, target: str) -> Member:
    return Member(path, stat.S_IFLNK | 0o777, target.encode())


def character_device(path: str, major: int, minor: int, rights: int = 0o600) -> Member:
    return Member(path, stat.S_IFCHR | rights, device=(major, minor))


def archive(members: Iterable[Member]) -> bytes:
    """The archive of the members, sorted by path, with the directories above them where none was given.

    Times are 0 and inodes count, so that the same members give the same bytes. Raises ValueError for a path that is absolute
    or leads upwards, or that is there twice.
    """
    by_path: dict[str, Member] = {}
    for member in members:
        parts = member.path.split("/")
        if not all(parts) or ".." in parts or "." in parts or "\0" in member.path:
            raise ValueError(f"{member.path!r} is no path for an archive")
        if by_path.setdefault(member.path, member) != member:
            raise ValueError(f"{member.path} is there twice")
    for path in list(by_path):
        while "/" in path:
            path = path.rpartition("/")[0]
            by_path.setdefault(path, directory(path))
    # Sorted by path a directory comes before what is in it, which the kernel needs.
    entries = [_entry(inode, by_path[path]) for inode, path in enumerate(sorted(by_path), start=1)]
    return b"".join([*entries, _entry(0, Member("TRAILER!!!", 0))])


def _entry(inode: int, member: Member) -> bytes:
    name = member.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(member.mode) else 1
    numbers = (inode, member.mode, 0, 0, links, 0, len(member.content), 0, 0, *member.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + name) + _padded(member.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
