"""Private files: whole or not at all, one writer at a time, closed to others."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from stratuslab.errors import UsageError
from stratuslab.private_files import (
    free_bytes,
    is_disk_full,
    locked,
    open_locked,
    private_directory,
    replace,
    replacing,
    require_own,
    why,
)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_closed_with_those_above_it(tmp_path: Path):
    assert mode(private_directory(tmp_path / "a" / "b")) == 0o700
    assert mode(tmp_path / "a") == 0o700
    (tmp_path / "a").chmod(0o755)
    private_directory(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o755


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_it_is_closed_whatever_the_umask(tmp_path: Path, umask: int):
    before = os.umask(umask)
    try:
        private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)


STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


@pytest.mark.parametrize("kind", ["open", "open above", "open to a group", "link", pytest.param("other", marks=needs_root)])
def test_what_others_can_change_is_refused(tmp_path: Path, kind: str):
    above, path = tmp_path / "above", tmp_path / "above" / "place"
    path.mkdir(parents=True)
    wrong = path
    if kind == "open above":
        wrong = above
        above.chmod(0o777)
    elif kind == "open to a group":
        if os.geteuid() == 0:
            os.chown(path, -1, STRANGER)
        else:
            pytest.skip("only root can give a directory to any group")
        path.chmod(0o770)
    elif kind == "link":
        wrong, path = path, tmp_path / "link"
        path.symlink_to(wrong)
        wrong.chmod(0o707)
    elif kind == "other":
        os.chown(path, STRANGER, -1)
    else:
        path.chmod(0o777)
    with pytest.raises(UsageError) as refused:
        require_own(path)
    assert refused.value.message.startswith(f"refusing to use {path}: ")
    reason = f"it belongs to user {STRANGER}" if kind == "other" else "other users can write to "
    assert reason in refused.value.message
    assert refused.value.hint == ("use one of your own" if kind == "other" else f"close it: chmod go-w {wrong}")


def test_one_s_own_are_used(tmp_path: Path):
    sticky, path = tmp_path / "tmp", tmp_path / "tmp" / "file"
    sticky.mkdir()
    sticky.chmod(0o1777)
    require_own(path)
    path.write_bytes(b"")
    require_own(path)
    require_own(Path("/etc/passwd"), or_root=True)
    require_own(Path("/dev/null"), or_root=True)


@needs_root
def test_a_link_of_another_user_is_refused(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    link = tmp_path / "link"
    link.symlink_to("mine")
    os.lchown(link, STRANGER, -1)
    with pytest.raises(UsageError, match=rf"it belongs to user {STRANGER}"):
        require_own(link)


@needs_root
def test_a_lock_of_another_user_is_not_waited_for(tmp_path: Path):
    (tmp_path / ".file.lock").write_bytes(b"")
    os.chown(tmp_path / ".file.lock", STRANGER, -1)
    with pytest.raises(PermissionError, match="another user"), locked(tmp_path / "file", None):
        pass


def test_a_pipe_is_not_a_lock(tmp_path: Path):
    os.mkfifo(tmp_path / ".file.lock")
    with pytest.raises(PermissionError), locked(tmp_path / "file", None):
        pass


@pytest.mark.parametrize("wanted", [0o600, 0o644])
def test_a_file_is_replaced(tmp_path: Path, wanted: int):
    path = tmp_path / "file"
    path.write_bytes(b"a longer text that was there")
    replace(path, b"new", wanted)
    assert (path.read_bytes(), mode(path), names(tmp_path)) == (b"new", wanted, ["file"])


def test_it_is_nobody_else_s_while_it_is_written(tmp_path: Path):
    with replacing(tmp_path / "file", 0o644) as new:
        assert mode(new) == 0o600
        assert not (tmp_path / "file").exists()


def test_what_fails_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "file"
    replace(path, b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as new:
        new.write_bytes(b"half")
        raise ZeroDivisionError
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["file"])


def test_what_a_killed_process_has_left_is_written_over(tmp_path: Path):
    (tmp_path / "file.new").write_bytes(b"half of something that was much longer")
    replace(tmp_path / "file", b"whole")
    assert ((tmp_path / "file").read_bytes(), names(tmp_path)) == (b"whole", ["file"])


def test_several_at_once_write_one_after_another(tmp_path: Path):
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=replace, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_a_lock_is_waited_for_and_leaves_nothing(tmp_path: Path):
    path, waiting, order = tmp_path / "file", threading.Event(), list[str]()

    def second() -> None:
        with locked(path, None, waiting.set):
            order.append("second")

    other = threading.Thread(target=second)
    with locked(path):
        assert names(tmp_path) == [".file.lock"]
        other.start()
        assert waiting.wait(10)
        order.append("first")
    other.join()
    assert (order, names(tmp_path)) == (["first", "second"], [])


def test_a_lock_that_stays_is_not_waited_for_for_ever(tmp_path: Path):
    descriptor = open_locked(tmp_path / "file")
    try:
        with pytest.raises(TimeoutError, match="locked by another process"):
            open_locked(tmp_path / "file", 0.02)
    finally:
        os.close(descriptor)
    os.close(open_locked(tmp_path / "file", 0))


def test_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "file.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        replace(tmp_path / "file", b"x")
    assert not (tmp_path / "elsewhere").exists()


def test_the_disk(tmp_path: Path):
    assert free_bytes(tmp_path) > 0
    assert [is_disk_full(OSError(number, "")) for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES)] == [True, True, False]
    assert why(OSError(errno.EACCES, "Permission denied")) == "permission denied"
    assert why(OSError("No number")) == "no number"
