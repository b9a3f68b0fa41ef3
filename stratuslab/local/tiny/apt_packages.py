"""Downloads the distribution's packages with apt, which checks their signatures, without root.

It uses the system's sources, keys and package lists. If the system has no lists, as in a new container, or old ones,
:meth:`Apt.update` downloads its own. Nothing in the system is changed.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from stratuslab.errors import StratusLabError
from stratuslab.private_files import make_directory

Report = Callable[[str, float | None], None]
"""Called with the current step, and the part of it that is done: 0 to 1, or None if unknown."""

_DOWNLOAD = re.compile(r"'[^']+' (\S+) (\d+)")
_STATUS = re.compile(r"dlstatus:\d+:([\d.]+):")


class AptError(StratusLabError):
    """Apt or dpkg has failed; the text is its error message."""


class Package(NamedTuple):
    """The version of a package that apt would install: file name, ``NAME_VERSION_ARCHITECTURE.deb``, and size in bytes."""

    file: str
    size: int

    @property
    def name(self) -> str:
        return self.file.partition("_")[0]

    @property
    def version(self) -> str:
        return self.file.split("_")[1].replace("%3a", ":")


class Apt:
    """Apt with its own state in the directory, which is created. ``environ`` is the environment of its programs.

    Methods raise AptError, and OSError if the directory cannot be written.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = {**environ, "LC_ALL": "C"}
        make_directory(directory / "cache/archives/partial")
        # Packages that are installed here must be downloaded, too.
        status = directory / "status"
        status.touch()
        self._options = {
            "Dir::State::status": str(status),
            "Dir::Cache": str(directory / "cache"),
            # Containers turn the cache off, and each call would read the lists again.
            "Dir::Cache::pkgcache": "pkgcache.bin",
            "Dir::Cache::srcpkgcache": "",
            "APT::Architecture": "amd64",
            "APT::Architectures::": "amd64",
            # As root, apt would download as a user who cannot enter the directory.
            "APT::Sandbox::User": "root",
            "APT::Status-Fd": "1",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }

    def update(self, report: Report) -> None:
        """Download own package lists, and use them. Raises AptError only if all sources fail: a single one may not be needed."""
        lists = self._directory / "lists"
        make_directory(lists / "partial")
        self._options["Dir::State::Lists"] = str(lists)
        what = "downloading the package lists"
        _, lines = self._run("apt-get", "update", report=lambda part: report(what, part))
        if not any("_Packages" in path.name for path in lists.iterdir()):
            raise AptError(_reason(lines) or "this computer has no package sources")

    def names(self, beginning: str) -> set[str]:
        """The names of all packages that begin like this."""
        return set(self._run("apt-cache", "pkgnames", beginning)[1])

    def needed(self, names: Iterable[str]) -> list[Package]:
        """The packages and all that they depend on, in the versions that would be downloaded; sorted."""
        status, lines = self._run("apt-get", "--print-uris", "--no-install-recommends", "install", *names)
        if status:
            raise AptError(_reason(lines) or f"apt-get install ended with status {status}")
        return sorted(Package(match[1], int(match[2])) for line in lines if (match := _DOWNLOAD.match(line)))

    def download(self, packages: Collection[Package], directory: Path, report: Callable[[float], None]) -> None:
        """Download the packages into the directory. ``report`` is called with the part that is done."""
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=directory) as incoming:
            wanted = [f"{package.name}={package.version}" for package in packages]
            status, lines = self._run("apt-get", "download", *wanted, place=Path(incoming), report=report)
            for package in packages:
                arrived = Path(incoming, package.file)
                if status or not arrived.is_file() or arrived.stat().st_size != package.size:
                    raise AptError(_reason(lines) or f"package {package.name} was not downloaded")
                arrived.replace(directory / package.file)

    def _run(
        self, program: str, *arguments: str, place: Path | None = None, report: Callable[[float], None] = lambda part: None
    ) -> tuple[int, list[str]]:
        """The status of a program and the lines that it writes, errors too; those about its progress are reported."""
        options = [word for name, value in self._options.items() for word in ("-o", f"{name}={value}")]
        lines: list[str] = []
        with subprocess.Popen(
            [program, "-qq", *options, *arguments],
            cwd=place or self._directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    if status := _STATUS.match(line):
                        report(min(float(status[1]) / 100, 1.0))
                    else:
                        lines.append(line.strip())
            except BaseException:
                process.terminate()
                raise
        return process.returncode, lines


def _reason(lines: Iterable[str]) -> str:
    """The first error among apt's lines, or the first warning if there is no error."""
    for mark in ("E: ", "W: ", "Err:", ""):
        for line in lines:
            if line.startswith(mark) and line:
                return line.removeprefix(mark)
    return ""
