"""Downloads the distribution's packages with apt, which checks their signatures, without root.

It uses the system's sources, keys and package lists. If the system has no lists, as in a new container, or old ones,
:meth:`Apt.update` downloads its own. Nothing in the system is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.private_files import make_directory

Report = Callable[[str, float | None], None]
"""Called with the current step, and the part of it that is done: 0 to 1, or None if unknown."""

ALTERNATIVE = "it is built from Debian's or Ubuntu's packages; to add another image: stratus-local-cloud add-image FILE"

_DEPENDENCY = re.compile(r" [ |](?:Pre)?Depends: <?([^:>\s]+)")
_DOWNLOAD = re.compile(r"'[^']+' (\S+) (\d+) \S*")
_STATUS = re.compile(r"dlstatus:\d+:([\d.]+):")


class AptError(StratusLabError):
    """Apt or dpkg has failed; the text is its error message."""


@dataclass(frozen=True)
class Package:
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

    def __init__(self, directory: Path, environ: Mapping[str, str], own_lists: bool) -> None:
        self._directory = directory
        self._environ = {**environ, "LC_ALL": "C"}
        self._search = environ.get("PATH", os.defpath)
        make_directory(directory)
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
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        make_directory(directory / "cache/archives/partial")
        if own_lists:
            lists = directory / "lists"
            make_directory(lists / "partial")
            self._options["Dir::State::Lists"] = str(lists)

    def update(self, report: Report) -> None:
        """Download own package lists. Raises AptError only if all sources fail, as a single one may not be needed."""
        what = "downloading the package lists"
        _, errors = self._fetch("update", [], self._directory, lambda part: report(what, part))
        lists = Path(self._options.get("Dir::State::Lists", "/var/lib/apt/lists"))
        if not any("_Packages" in path.name for path in lists.iterdir()):
            raise AptError(_reason(errors) or "this computer has no package sources")

    def dependencies(self, names: Iterable[str]) -> dict[str, list[str]]:
        """The direct dependencies of the packages and, recursively, of their dependencies. Unknown packages are missing."""
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
        """The versions that would be downloaded, sorted."""
        output = self._run("apt-get", "-qq", "--print-uris", "download", *sorted(names))
        return sorted((Package(match[1], int(match[2])) for match in _DOWNLOAD.finditer(output)), key=lambda it: it.file)

    def download(self, packages: Iterable[Package], directory: Path, report: Callable[[float], None]) -> None:
        """Download the packages into the directory. ``report`` is called with the part that is done."""
        packages = list(packages)
        with tempfile.TemporaryDirectory(prefix="incoming-", dir=directory) as incoming:
            wanted = [f"{package.name}={package.version}" for package in packages]
            status, errors = self._fetch("download", wanted, Path(incoming), report)
            if status:
                raise AptError(_reason(errors) or f"apt-get download ended with status {status}")
            for package in packages:
                arrived = Path(incoming, package.file)
                if not arrived.is_file() or arrived.stat().st_size != package.size:
                    raise AptError(_reason(errors) or f"package {package.name} was not downloaded")
                arrived.replace(directory / package.file)

    def _fetch(self, action: str, arguments: list[str], place: Path, report: Callable[[float], None]) -> tuple[int, str]:
        """Run apt-get and report its progress. Returns its status and its error output."""
        command = self._command("apt-get", "-qq", "-o", "APT::Status-Fd=1", action, *arguments)
        silent = subprocess.DEVNULL
        with tempfile.TemporaryFile() as errors:
            with subprocess.Popen(
                command, cwd=place, env=self._environ, stdin=silent, stdout=subprocess.PIPE, stderr=errors
            ) as process:
                try:
                    for line in process.stdout or ():
                        status = _STATUS.match(line.decode("utf-8", "replace"))
                        if status:
                            report(min(float(status[1]) / 100, 1.0))
                except BaseException:
                    process.terminate()
                    raise
            errors.seek(0)
            text = errors.read().decode("utf-8", "replace")
        return process.returncode, text

    def _run(self, program: str, *arguments: str) -> str:
        command = self._command(program, *arguments)
        ran = subprocess.run(command, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        errors = ran.stderr.decode("utf-8", "replace")
        if ran.returncode:
            raise AptError(_reason(errors) or f"{program} ended with status {ran.returncode}")
        return ran.stdout.decode("utf-8", "replace")

    def _command(self, program: str, *arguments: str) -> list[str]:
        path = find_program(program, self._search)
        options = [word for name, value in self._options.items() for word in ("-o", f"{name}={value}")]
        return [path, *options, *arguments]


def find_program(name: str, search: str) -> str:
    """The program's path. Raises StratusLabError if it is not installed, as on other systems than Debian."""
    path = shutil.which(name, path=search)
    if path is None:
        raise StratusLabError(f"cannot build the tiny image on this computer: {name} is not installed", ALTERNATIVE)
    return path


def _reason(errors: str) -> str:
    """The first error in apt's error output, or the first warning if there is no error."""
    lines = [line.strip() for line in errors.splitlines()]
    for mark in ("E: ", "W: ", "Err:", ""):
        for line in lines:
            if line.startswith(mark) and line:
                return line.removeprefix(mark)
    return ""
