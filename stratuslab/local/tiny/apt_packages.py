"""The distribution's packages through apt, which checks their signatures: as any user, with the system's sources and keys.

The system's package lists are taken as they are; :meth:`Apt.update` makes lists of our own, where the system has none (as in
a new container) or they are too old. Nothing of the system is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from stratuslab.errors import StratusLabError

Report = Callable[[str, float | None], None]
"""Told what is being done, and which part of it is done: 0 to 1, None where that is not known."""

OTHERWISE = "it is made of Debian's or Ubuntu's packages; an image that you have is added by stratus-local-cloud add-image FILE"

_DEPENDENCY = re.compile(r" [ |](?:Pre)?Depends: <?([^:>\s]+)")
_DOWNLOAD = re.compile(r"'[^']+' (\S+) (\d+) \S*")
_STATUS = re.compile(r"dlstatus:\d+:([\d.]+):")


class AptError(StratusLabError):
    """Apt or dpkg could not do what was asked; the text says why in its own words."""


@dataclass(frozen=True)
class Package:
    """A package at the version that apt would install: its file's name, ``NAME_VERSION_ARCHITECTURE.deb``, and size in bytes."""

    file: str
    size: int

    @property
    def name(self) -> str:
        return self.file.partition("_")[0]

    @property
    def version(self) -> str:
        return self.file.split("_")[1].replace("%3a", ":")


class Apt:
    """Apt with state of its own in the directory, that is made. ``environ`` is what the programs are run with.

    Every method raises AptError, and OSError where the directory cannot be written.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str], own_lists: bool) -> None:
        self._directory = directory
        self._environ = {**environ, "LC_ALL": "C"}
        self._search = environ.get("PATH", os.defpath)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What is installed here says nothing of what can be fetched.
        status = directory / "status"
        status.touch()
        self._options = {
            "Dir::State::status": str(status),
            "Dir::Cache": str(directory / "cache"),
            # Where a container's configuration turns it off, each call would read the lists anew.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "",
            "APT::Architecture": "amd64",
            "APT::Architectures::": "amd64",
            # Root's apt would fetch as a user who may not enter our directory.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        (directory / "cache/archives/partial").mkdir(mode=0o700, parents=True, exist_ok=True)
        if own_lists:
            lists = directory / "lists"
            (lists / "partial").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._options["Dir::State::Lists"] = str(lists)

    def update(self, report: Report) -> None:
        """Fetch the package lists into our own. A source that fails is one that we may not need; that all fail is an error."""
        what = "fetching the package lists"
        _, complaints = self._fetch("update", [], self._directory, lambda part: report(what, part))
        lists = Path(self._options.get("Dir::State::Lists", "/var/lib/apt/lists"))
        if not any("_Packages" in path.name for path in lists.iterdir()):
            raise AptError(_reason(complaints) or "this computer has no package sources")

    def dependencies(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The known ones of the packages and of all below them, with what each depends on."""
        output = self._run("apt-cache", "--important", "--recurse", "depends", *names)
        found: dict[str, list[str]] = {}
        below: list[str] = []
        for line in output.splitlines():
            dependency = _DEPENDENCY.match(line)
            if dependency:
                below.append(dependency[1])
            elif line[:1] not in (" ", "<", ""):
                below = found.setdefault(line.strip(), [])
        return found

    def candidates(self, names: Iterable[str]) -> list[Package]:
        """The packages as they would be fetched, sorted."""
        output = self._run("apt-get", "-qq", "--print-uris", "download", *sorted(names))
        return sorted((Package(match[1], int(match[2])) for match in _DOWNLOAD.finditer(output)), key=lambda it: it.file)

    def download(self, packages: Iterable[Package], directory: Path, report: Callable[[float], None]) -> None:
        """Fetch the packages into the directory, under their names. ``report`` is told which part is done."""
        packages = list(packages)
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=directory) as incoming:
            wanted = [f"{package.name}={package.version}" for package in packages]
            status, complaints = self._fetch("download", wanted, Path(incoming), report)
            if status:
                raise AptError(_reason(complaints) or f"apt-get download ended with status {status}")
            for package in packages:
                arrived = Path(incoming, package.file)
                if not arrived.is_file() or arrived.stat().st_size != package.size:
                    raise AptError(_reason(complaints) or f"the package {package.name} did not arrive")
                arrived.replace(directory / package.file)

    def _fetch(self, action: str, arguments: list[str], place: Path, report: Callable[[float], None]) -> tuple[int, str]:
        """Run apt-get with a report of its progress; its status, and what it complains of."""
        command = self._command("apt-get", "-qq", "-o", "APT::Status-Fd=1", action, *arguments)
        with tempfile.TemporaryFile() as complaints:
            with self._started(command, cwd=place, stderr=complaints) as process:
                for line in process.stdout or ():
                    status = _STATUS.match(line.decode("utf-8", "replace"))
                    if status:
                        report(min(float(status[1]) / 100, 1.0))
            complaints.seek(0)
            text = complaints.read().decode("utf-8", "replace")
        return process.returncode, text

    def _run(self, program: str, *arguments: str) -> str:
        command = self._command(program, *arguments)
        ran = subprocess.run(command, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        complaints = ran.stderr.decode("utf-8", "replace")
        if ran.returncode:
            raise AptError(_reason(complaints) or f"{program} ended with status {ran.returncode}")
        return ran.stdout.decode("utf-8", "replace")

    def _command(self, program: str, *arguments: str) -> list[str]:
        path = find_program(program, self._search)
        options = [word for name, value in self._options.items() for word in ("-o", f"{name}={value}")]
        return [path, *options, *arguments]

    @contextlib.contextmanager
    def _started(self, command: list[str], cwd: Path, stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        ) as process:
            try:
                yield process
            except BaseException:
                process.terminate()
                raise


def find_program(name: str, search: str) -> str:
    """Where the program is on the search path. Raises StratusLabError where it is not: this is no Debian."""
    path = shutil.which(name, path=search)
    if path is None:
        raise StratusLabError(f"the tiny image cannot be made on this computer: there is no {name}", OTHERWISE)
    return path


def _reason(complaints: str) -> str:
    """The first error in what apt complains of, or the first warning where there is no error."""
    lines = [line.strip() for line in complaints.splitlines()]
    for mark in ("E: ", "W: ", "Err:", ""):
        for line in lines:
            if line.startswith(mark) and line:
                return line.removeprefix(mark)
    return ""
