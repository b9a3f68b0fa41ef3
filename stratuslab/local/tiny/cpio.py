"""Writes cpio archives in the format ``newc``, from which Linux makes its initial file system.

The format is explained in the kernel's Documentation/driver-api/early-userspace/buffer-format.rst. No tool and no root is needed
this way, and the same files give the same bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import NamedTuple


class Member(NamedTuple):
    """A file, directory, symbolic link or device node of an archive, owned by root.

    ``path`` is relative; ``mode`` includes the type, as in stat; ``content`` is that of a file, or the target of a link;
    ``device`` has the major and minor number of a device node.
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


def character_device(path: str, major: int, minor: int) -> Member:
    return Member(path, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(members: Iterable[Member]) -> bytes:
    """The archive of the members, sorted by path, with missing parent directories added.

    Times are 0 and inodes are counted, so that the same members give the same bytes.
    """
    by_path = {member.path: member for member in members}
    for path in list(by_path):
        while "/" in path:
            path = path.rpartition("/")[0]
            by_path.setdefault(path, directory(path))
    # Sorted, because the kernel needs a directory before its content.
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
