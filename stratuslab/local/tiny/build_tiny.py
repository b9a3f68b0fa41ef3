"""Builds the image ``tiny``: a kernel, an initrd and the kernel's parameters in one tar, which QEMU boots directly.

The same packages give the same bytes, and so the same identifier.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.local.tiny.apt_packages import Apt, AptError, Package, Report
from stratuslab.local.tiny.initrd import GUEST, guest_paths, initrd
from stratuslab.local.tiny.kernel_modules import Modules
from stratuslab.local.tiny.package_files import PackageSelection, files, programs, select
from stratuslab.private_files import is_disk_full, locked, private_directory, replacing

FORMAT = 1
"""The version of this builder: increased when it makes another image of the same packages."""

PARAMETERS = "console=ttyS0 quiet loglevel=1 cryptomgr.notests"
"""The kernel's parameters. Without cryptomgr.notests, a boot without KVM takes 0.2 s longer."""

# The kernel stays compressed and the initrd is not. Until SSH answers, without KVM, this takes 2.15 s of CPU time; 0.1 s more
# with gzip for the initrd; 0.15 s less with the kernel uncompressed, but the image has 61 MB then, not 23.

_ALTERNATIVE = "it is built from Debian's or Ubuntu's packages; to add another image: stratus-local-cloud add-image FILE"
_NETWORK = "check the network, and the package sources with apt-get update"


@dataclass(frozen=True)
class TinyImage:
    """An image that was built. ``version`` depends on the packages; ``os_version`` is the kernel's release;
    ``packages`` are the packages' names and versions, as ``busybox-static 1:1.35.0-4``."""

    path: Path
    version: str
    os_version: str
    packages: tuple[str, ...]


def build(cache: Path, environ: Mapping[str, str], report: Report) -> TinyImage:
    """The image of the current packages, built unless it is in the cache.

    ``cache`` is a directory for this only; ``environ`` is apt's environment. One process at a time builds in a cache, others
    wait. Raises StratusLabError if apt or dpkg is not installed, a package cannot be downloaded, or the disk is full.
    """
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(program, path=environ.get("PATH", os.defpath)) is None:
            raise StratusLabError(f"cannot build the tiny image on this computer: {program} is not installed", _ALTERNATIVE)
    try:
        with locked(private_directory(cache) / "build", None, lambda: report("waiting for another build", None)):
            return _build(cache, environ, report)
    except OSError as error:
        if is_disk_full(error):
            raise _full(cache) from error
        raise StratusLabError(f"cannot build the tiny image in {cache}: {error.strerror or error}") from error
    except AptError as error:
        if re.search("No space left|enough free space", error.message):
            raise _full(cache) from error
        hint = _NETWORK if "Failed to fetch" in error.message else _ALTERNATIVE
        raise StratusLabError(f"cannot build the tiny image: {error.message}", hint) from error


def _full(cache: Path) -> StratusLabError:
    return StratusLabError(f"cannot build the tiny image: the disk of {cache} is full", "it needs 120 MB")


def _build(cache: Path, environ: Mapping[str, str], report: Report) -> TinyImage:
    (cache / "packages").mkdir(mode=0o700, exist_ok=True)
    apt = Apt(cache / "apt", environ)
    try:
        return _build_with(apt, cache, environ, report)
    except AptError:
        # The system has no package lists, as in a new container, or old ones with versions that no longer exist.
        apt.update(report)
        return _build_with(apt, cache, environ, report)


def _build_with(apt: Apt, cache: Path, environ: Mapping[str, str], report: Report) -> TinyImage:
    report("looking for the packages", None)
    selection = select(apt)
    version = _version(selection)
    image = TinyImage(
        path=cache / f"tiny-{version}.tar",
        version=version,
        os_version=re.sub(r"^linux-image-(?:unsigned-)?", "", selection.kernel.name),
        packages=tuple(f"{package.name} {package.version}" for package in selection.packages),
    )
    if not image.path.exists():
        _fetch(apt, selection.packages, cache / "packages", report)
        report("building the image", None)
        _write(image.path, _content(selection, cache / "packages", environ))
        _remove_others(image.path, selection.packages)
    return image


def _version(selection: PackageSelection) -> str:
    digest = hashlib.sha256(PARAMETERS.encode())
    for package in selection.packages:
        digest.update(package.file.encode() + b"\0")
    for path in guest_paths():
        digest.update(path.relative_to(GUEST).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{FORMAT}-{selection.kernel.version.replace(':', '_')}-{digest.hexdigest()[:8]}"


def _fetch(apt: Apt, packages: Iterable[Package], store: Path, report: Report) -> None:
    missing = [package for package in packages if not (store / package.file).exists()]
    if missing:
        size = sum(package.size for package in missing)
        what = f"downloading {len(missing)} packages ({size / 1e6:.0f} MB)"
        report(what, 0.0)
        apt.download(missing, store, lambda part: report(what, part))


def _content(selection: PackageSelection, store: Path, environ: Mapping[str, str]) -> dict[str, bytes]:
    parts: dict[str, dict[str, bytes]] = {kind: {} for kind in ("kernel", "module", "library", "program")}
    for package in selection.packages:
        for (kind, name), content in files(store / package.file, environ).items():
            parts[kind][name] = content
    if not parts["kernel"]:
        raise AptError(f"package {selection.kernel.name} has no kernel")
    release, kernel = min(parts["kernel"].items())
    try:
        first_files = initrd(programs(parts["program"]), parts["library"], Modules(parts["module"]), release)
    except ValueError as error:
        raise AptError(f"the packages do not match: {error}") from error
    return {"vmlinuz": kernel, "initrd": first_files, "cmdline": f"{PARAMETERS}\n".encode()}


def _write(path: Path, content: Mapping[str, bytes]) -> None:
    """Write the tar atomically, without times and owners."""
    with replacing(path) as new, tarfile.open(new, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _remove_others(image: Path, packages: Iterable[Package]) -> None:
    """Remove older images and packages, and what a killed build has left, so that the cache does not grow."""
    kept = {image.name, *(package.file for package in packages)}
    for path in [*image.parent.glob("tiny-*"), *(image.parent / "packages").iterdir()]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in kept:
            path.unlink(missing_ok=True)
