"""Makes the image ``tiny``: a kernel, an initrd and the kernel's parameters in one tar, which QEMU boots without a boot loader.

The packages come from apt, the image is put together here; the same packages give the same bytes, and so the same identifier.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratuslab.errors import StratusLabError
from stratuslab.files import is_disk_full, locked, private_directory, replacing
from stratuslab.local.tiny.apt_packages import OTHERWISE, Apt, AptError, Package, Report, find_program
from stratuslab.local.tiny.initrd import GUEST, guest_paths, initrd
from stratuslab.local.tiny.kernel_modules import Modules
from stratuslab.local.tiny.package_files import PROGRAMS, Selection, files, programs, select

FORMAT = 1
"""Counts the changes of what this program makes of the same packages."""

PARAMETERS = "console=ttyS0 quiet loglevel=1 cryptomgr.notests"
"""The kernel's parameters. Its self-tests of ciphers cost 0.2 s of a boot without KVM."""

# The kernel stays as it is packed, and the initrd is not compressed. Until SSH answers, without KVM, that takes 2.15 s of
# processor time; with an initrd by gzip 0.1 s more; with the kernel unpacked 0.15 s less, but of an image of 61 MB, not 23.

_NETWORK = "check the network, and with apt-get update the package sources"

_KERNEL = re.compile(r"boot/vmlinuz-(.+)")
_MODULE = re.compile(r"(?:usr/)?lib/modules/[^/]+/.+\.ko(?:\.\w+)?")
_LIBRARY = re.compile(r"(?:usr/)?lib/x86_64-linux-gnu/(?!.*/)[^/]+\.so[.\d]*")
_PROGRAMS = frozenset(end for ends in PROGRAMS.values() for end in ends)


@dataclass(frozen=True)
class TinyImage:
    """An image that was made. ``version`` tells images of different packages apart; ``os_version`` is the kernel's release;
    ``packages`` are the packages' names and versions, as ``busybox-static 1:1.35.0-4``."""

    path: Path
    version: str
    os_version: str
    packages: tuple[str, ...]


def build(cache: Path, environ: Mapping[str, str], report: Report) -> TinyImage:
    """The image of the present packages, made where the cache has none of them.

    ``cache`` is a directory of its own; ``environ`` is what apt is run with. One process at a time builds in a cache, others
    wait for it. Raises StratusLabError: no apt or dpkg here, no network, no such package, a full disk.
    """
    search = environ.get("PATH", os.defpath)
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        find_program(program, search)
    try:
        with locked(private_directory(cache) / "build", None, lambda: report("waiting for another build", None)):
            return _build(cache, {**environ, "PATH": search}, report)
    except OSError as error:
        if is_disk_full(error):
            raise _full(cache) from error
        raise StratusLabError(f"the tiny image cannot be made in {cache}: {error.strerror or error}") from error
    except AptError as error:
        if re.search("No space left|enough free space", error.message):
            raise _full(cache) from error
        hint = _NETWORK if "Failed to fetch" in error.message else OTHERWISE
        raise StratusLabError(f"the tiny image cannot be made: {error.message}", hint) from error


def _full(cache: Path) -> StratusLabError:
    return StratusLabError(f"the tiny image cannot be made: the disk of {cache} is full", "it needs 120 MB")


def _build(cache: Path, environ: Mapping[str, str], report: Report) -> TinyImage:
    store = cache / "packages"
    store.mkdir(mode=0o700, exist_ok=True)
    try:
        return _build_with(Apt(cache / "apt", environ, own_lists=False), cache, environ, report)
    except AptError:
        # The system has no lists of packages, as a new container, or they name versions that are gone.
        apt = Apt(cache / "apt", environ, own_lists=True)
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
        report("making the image", None)
        _write(image.path, _content(selection, cache / "packages", environ))
        _remove_others(image.path, selection.packages)
    return image


def _version(selection: Selection) -> str:
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
        what = f"fetching {len(missing)} packages ({size / 1e6:.0f} MB)"
        report(what, 0.0)
        apt.download(missing, store, lambda part: report(what, part))


def _content(selection: Selection, store: Path, environ: Mapping[str, str]) -> dict[str, bytes]:
    """The files of the image, made of the packages' files."""
    contents: dict[str, bytes] = {}
    for package in selection.packages:
        try:
            contents.update(files(store / package.file, environ, _wanted))
        except AptError:
            # The next build is to fetch it again.
            (store / package.file).unlink(missing_ok=True)
            raise
    kernels = [(match[1], content) for path, content in sorted(contents.items()) if (match := _KERNEL.fullmatch(path))]
    if not kernels:
        raise AptError(f"the package {selection.kernel.name} has no kernel")
    release, kernel = kernels[0]
    modules = Modules({path: content for path, content in contents.items() if _MODULE.fullmatch(path)})
    libraries = {path.rpartition("/")[2]: content for path, content in contents.items() if _LIBRARY.fullmatch(path)}
    try:
        first_files = initrd(programs(contents), libraries, modules, release)
    except ValueError as error:
        raise AptError(f"the packages do not fit together: {error}") from error
    return {"vmlinuz": kernel, "initrd": first_files, "cmdline": f"{PARAMETERS}\n".encode()}


def _wanted(path: str) -> bool:
    if _KERNEL.fullmatch(path) or _MODULE.fullmatch(path) or _LIBRARY.fullmatch(path):
        return True
    return any(f"/{path}".endswith(f"/{end}") for end in _PROGRAMS)


def _write(path: Path, content: Mapping[str, bytes]) -> None:
    """Write the tar whole or not at all, with nothing in it of the time or of who made it."""
    with replacing(path) as new, tarfile.open(new, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _remove_others(image: Path, packages: Iterable[Package]) -> None:
    """Older images and packages, and what a killed build left, so that the cache does not grow with every update."""
    import shutil

    kept = {image.name, *(package.file for package in packages)}
    for path in [*image.parent.glob("tiny-*"), *(image.parent / "packages").iterdir()]:
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
