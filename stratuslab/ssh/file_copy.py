"""Copies files and folders to and from an instance by SFTP.

A file appears under its name only when it is complete. What stands in the names and attributes that a guest sends is not trusted.
"""

from __future__ import annotations

import os
import posixpath
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stratuslab.errors import StratusLabError, UsageError

if TYPE_CHECKING:
    from paramiko import SFTPClient, SFTPFile

_BLOCK = 1 << 15  # bytes; every SFTP server takes so many at once
_DEEPEST = 64  # folders in each other: a link that leads back to its own folder ends here

Report = Callable[[str, int, int], object]
"""Gets the name of the file that is being copied, how many bytes of it are done, and of how many."""


class FileCopy:
    """Copies over one connection. ``name`` is what messages call the instance. Files that cannot be copied are in ``errors``; the
    others are copied all the same: ``files`` counts them, and ``size`` their bytes. With ``recursive`` folders are copied with
    all that is in them."""

    def __init__(self, sftp: SFTPClient, name: str, recursive: bool, report: Report) -> None:
        self._sftp = sftp
        self._name = name
        self._recursive = recursive
        self._report = report
        self.errors: list[StratusLabError] = []
        self.files = 0
        self.size = 0

    def put(self, sources: list[Path], destination: str) -> None:
        """Copy files of this computer to a path of the instance: into it if it is a folder. Raises UsageError if it must be a
        folder and is none."""
        into = _is_folder(self._remote_mode(destination))
        if not into and (len(sources) > 1 or destination.endswith("/")):
            raise UsageError(f"{self._shown(destination)} is not a folder", "create it first")
        for source in sources:
            name = posixpath.join(destination, source.resolve().name).removeprefix("./")
            self._put(source, name if into else destination, 0)

    def get(self, sources: list[str], destination: Path, several: bool) -> None:
        """Copy files of the instance to a path of this computer: into it if it is a folder, which it must be for ``several``.
        Raises UsageError if it is none."""
        into = destination.is_dir()
        if not into and several:
            raise UsageError(f'"{destination}" is not a folder', "create it first")
        for source in sources:
            name = posixpath.basename(posixpath.normpath(source))
            with self._errors_kept(self._shown(source)):
                if into and name in ("", ".", "..", "/"):
                    name = posixpath.basename(self._sftp.normalize(source))
                self._get(source, destination / name if into else destination, 0)

    def _put(self, source: Path, target: str, depth: int) -> None:
        with self._errors_kept(str(source), self._shown(target)):
            mode = source.stat().st_mode
            if stat.S_ISDIR(mode):
                self._check_folder(str(source), depth)
                if not _is_folder(self._remote_mode(target)):
                    self._sftp.mkdir(target, stat.S_IMODE(mode))
                for entry in sorted(source.iterdir()):
                    self._put(entry, posixpath.join(target, entry.name), depth + 1)
                return
            _check_regular(str(source), mode)
            with source.open("rb") as content:
                self._put_file(content, source.name, target, os.fstat(content.fileno()))

    def _put_file(self, content: BinaryIO, name: str, target: str, found: os.stat_result) -> None:
        before = self._remote_mode(target)
        if _is_folder(before):
            raise IsADirectoryError(f"{self._shown(target)} is a folder")
        part = target if before is not None and not stat.S_ISREG(before) else _part(target)
        try:
            with self._sftp.open(part, "w" if part == target else "wx") as file:
                # In a pipeline errors can be missed: the size of the file is compared at the end, which a device does not have.
                file.set_pipelined(part != target)
                done = self._carry(content, file, name, found.st_size)
            if part != target:
                if self._sftp.stat(part).st_size != done:
                    raise OSError(f"{self._shown(target)} arrived incomplete; the machine's disk may be full")
                self._sftp.chmod(part, stat.S_IMODE(found.st_mode))
                self._replace(part, target)
        except BaseException:
            if part != target:
                with suppress(OSError, EOFError):
                    self._sftp.remove(part)
            raise
        self.files += 1
        self.size += done

    def _replace(self, part: str, target: str) -> None:
        try:
            self._sftp.posix_rename(part, target)
        except OSError:
            # An extension of OpenSSH's server. Without it a file cannot be replaced in one step.
            with suppress(FileNotFoundError):
                self._sftp.remove(target)
            self._sftp.rename(part, target)

    def _get(self, source: str, target: Path, depth: int) -> None:
        with self._errors_kept(self._shown(source), str(target)):
            mode = self._sftp.stat(source).st_mode or 0
            if stat.S_ISDIR(mode):
                self._check_folder(self._shown(source), depth)
                target.mkdir(exist_ok=True)
                for name in sorted(self._sftp.listdir(source)):
                    if name in ("", ".", "..") or "/" in name or "\0" in name:
                        raise OSError(f"the machine names a file {name!r}, which no file can be called")
                    self._get(posixpath.join(source, name), target / name, depth + 1)
                return
            _check_regular(self._shown(source), mode)
            self._get_file(source, target, mode)

    def _get_file(self, source: str, target: Path, mode: int) -> None:
        if target.is_dir():
            raise IsADirectoryError(f"{target} is a folder")
        special = target.exists() and not target.is_file()
        part = target if special else Path(_part(str(target)))
        flags = os.O_WRONLY if special else os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            opened = os.open(part, flags, stat.S_IMODE(mode) & 0o777)
            with os.fdopen(opened, "wb") as file, self._sftp.open(source, "rb") as content:
                size = content.stat().st_size or 0
                content.prefetch(size)
                done = self._carry(content, file, posixpath.basename(source), size)
            if not special:
                part.replace(target)
        except BaseException:
            if not special:
                with suppress(OSError):
                    part.unlink()
            raise
        self.files += 1
        self.size += done

    def _carry(self, source: BinaryIO | SFTPFile, target: BinaryIO | SFTPFile, name: str, size: int) -> int:
        """Copy the content, and report it; its size in the end."""
        done = 0
        while block := source.read(_BLOCK):
            target.write(block)
            done += len(block)
            self._report(name, done, size)
        return done

    def _remote_mode(self, path: str) -> int | None:
        """The mode of a file of the instance; None if there is none."""
        try:
            return self._sftp.stat(path).st_mode or 0
        except FileNotFoundError:
            return None

    def _check_folder(self, name: str, depth: int) -> None:
        if not self._recursive:
            raise IsADirectoryError(f"{name} is a folder: use -r to copy it with all that is in it")
        if depth >= _DEEPEST:
            raise OSError(f"{name} is more than {_DEEPEST} folders deep")

    @contextmanager
    def _errors_kept(self, *names: str) -> Iterator[None]:
        """Keep an error with the file that it is about, and go on."""
        try:
            yield
        except ConnectionError:
            raise EOFError from None
        except (OSError, ValueError) as error:
            # Errors of SFTP have a number for a missing file and a missing right only.
            why = getattr(error, "strerror", None) or str(error)
            why = "the machine gives no reason; its disk may be full" if why == "Failure" else why
            about = any(name in why for name in names)
            self.errors.append(StratusLabError(why if about else f"cannot copy {' to '.join(names)}: {why}"))

    def _shown(self, path: str) -> str:
        return f"{self._name}:{path}"


def _is_folder(mode: int | None) -> bool:
    return mode is not None and stat.S_ISDIR(mode)


def _check_regular(name: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(f"{name} is neither a file nor a folder")


def _part(path: str) -> str:
    """Where a file is kept until it is complete: beside its place, so that it can be moved there in one step."""
    folder, name = posixpath.split(path)
    short = os.fsencode(name)[:200].decode("utf-8", "ignore")  # a name has at most 255 bytes
    return posixpath.join(folder, f".{short}.{secrets.token_hex(4)}.part")
