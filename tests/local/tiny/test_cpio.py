"""The cpio archives of which the kernel makes the guest's file system."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.local.tiny import cpio
from stratuslab.local.tiny.cpio import Member


def read(archive: bytes) -> list[Member]:
    """The members of an archive, read by the format's description."""
    members: list[Member] = []
    place = 0
    while True:
        header = archive[place : place + 110]
        assert header[:6] == b"070701"
        numbers = [int(header[start : start + 8], 16) for start in range(6, 110, 8)]
        _inode, mode, uid, gid, _links, time, size, _major, _minor, major, minor, name_size, _sum = numbers
        assert (uid, gid, time) == (0, 0, 0)
        name = archive[place + 110 : place + 110 + name_size]
        assert name[-1:] == b"\0"
        place += -(-(110 + name_size) // 4) * 4
        content = archive[place : place + size]
        place += -(-size // 4) * 4
        if name == b"TRAILER!!!\0":
            assert archive[place:].strip(b"\0") == b""
            return members
        members.append(Member(name[:-1].decode(), mode, content, (major, minor)))


NAMES = st.text("abcäß. -", min_size=1, max_size=6).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(PATHS, st.binary(max_size=40), max_size=8))
def test_what_is_written_is_read(files: dict[str, bytes]):
    # Where one name is a file and also a directory above another, the kernel could not make both.
    files = {path: content for path, content in files.items() if not any(other.startswith(path + "/") for other in files)}
    archive = cpio.archive([cpio.file(path, content) for path, content in files.items()])
    members = read(archive)
    assert {member.path: member.content for member in members if stat.S_ISREG(member.mode)} == files
    assert len(archive) % 4 == 0
    seen: set[str] = set()
    for member in members:
        assert "/" not in member.path or member.path.rpartition("/")[0] in seen
        seen.add(member.path)


def test_kinds_and_rights_and_order():
    members = [
        cpio.link("sbin", "bin"),
        cpio.character_device("dev/console", 5, 1),
        cpio.file("bin/sh", b"#!", 0o755),
        cpio.directory("root", 0o700),
    ]
    archive = cpio.archive(members)
    assert archive == cpio.archive(reversed(members))
    assert [(member.path, stat.filemode(member.mode), member.content, member.device) for member in read(archive)] == [
        ("bin", "drwxr-xr-x", b"", (0, 0)),
        ("bin/sh", "-rwxr-xr-x", b"#!", (0, 0)),
        ("dev", "drwxr-xr-x", b"", (0, 0)),
        ("dev/console", "crw-------", b"", (5, 1)),
        ("root", "drwx------", b"", (0, 0)),
        ("sbin", "lrwxrwxrwx", b"bin", (0, 0)),
    ]


@pytest.mark.skipif(shutil.which("cpio") is None, reason="there is no cpio")
def test_cpio_reads_it(tmp_path: Path):
    archive = cpio.archive([cpio.file("etc/hostname", b"tiny\n", 0o640), cpio.link("lib64", "lib")])
    subprocess.run(["cpio", "-i", "-d", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "etc/hostname").read_bytes() == b"tiny\n"
    assert (tmp_path / "lib64").readlink() == Path("lib")
