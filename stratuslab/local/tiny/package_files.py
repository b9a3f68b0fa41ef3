"""Selects the packages of the image, and reads the files in them."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stratuslab.local.tiny.apt_packages import Apt, AptError, Package, find_program

PROGRAMS = {
    "busybox-static": ("bin/busybox",),
    "dropbear-bin": ("sbin/dropbear", "bin/dropbearkey"),
    "e2fsprogs": ("sbin/mke2fs",),
    "openssh-sftp-server": ("lib/openssh/sftp-server",),
    "util-linux": ("sbin/blkid",),
}
"""The packages of the guest's programs, with the ends of the programs' paths."""

_KERNELS = ("linux-image-cloud-amd64", "linux-image-virtual", "linux-image-amd64", "linux-image-generic")
"""The packages that depend on the newest kernel of Debian or Ubuntu, smaller ones first. The first that exists is used."""

_KERNEL = re.compile(r"linux-image-(?:unsigned-)?\d\S*")
_DEPENDENCY = re.compile(r"linux-modules-\d\S*|(lib(blkid|c|com-err|crypt|ext2fs|gmp|tomcrypt|tommath|uuid)[\d.]+|zlib1g)(t64)?")
"""The dependencies to download: Ubuntu's modules, and the libraries that the programs need on any release."""


@dataclass(frozen=True)
class PackageSelection:
    """The current packages of an image, and the kernel's among them."""

    packages: tuple[Package, ...]
    kernel: Package


def select(apt: Apt) -> PackageSelection:
    """Select the packages of the image. Raises AptError, also if a package does not exist."""
    below = apt.dependencies([*PROGRAMS, *_KERNELS])
    for name in PROGRAMS:
        if name not in below:
            raise AptError(f"package {name} does not exist")
    meta = next((name for name in _KERNELS if name in below), None)
    kernel = next((name for name in below[meta] if _KERNEL.fullmatch(name)), None) if meta else None
    if kernel is None:
        raise AptError(f"package {_KERNELS[0]} or {_KERNELS[1]} does not exist")
    names = {kernel, *PROGRAMS}
    open_ = list(names)
    while open_:
        new = {name for name in below.get(open_.pop(), ()) if _DEPENDENCY.fullmatch(name)} - names
        names |= new
        open_ += new
    packages = tuple(apt.candidates(names))
    missing = names - {package.name for package in packages}
    if missing:
        raise AptError(f"package {min(missing)} does not exist")
    return PackageSelection(packages, next(package for package in packages if package.name == kernel))


def files(package: Path, environ: Mapping[str, str], wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The wanted files in a package by path, without a leading slash; links are replaced by the files.

    Raises AptError for a damaged package."""
    command = [find_program("dpkg-deb", environ.get("PATH", "")), "--fsys-tarfile", str(package)]
    found: dict[str, bytes] = {}
    links: dict[str, str] = {}
    with subprocess.Popen(
        command, env={**environ, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    path = member.name.removeprefix("./")
                    if not wanted(path):
                        continue
                    if member.isfile():
                        content = archive.extractfile(member)
                        found[path] = content.read() if content else b""
                    elif member.issym() and "/" not in member.linkname:
                        links[path] = str(Path(path).with_name(member.linkname))
        except (tarfile.TarError, EOFError) as error:
            raise AptError(f"package {package.name} is damaged") from error
        finally:
            # dpkg-deb blocks unless the rest after the last member is read.
            while process.stdout is not None and process.stdout.read(1 << 16):
                pass
    if process.returncode:
        raise AptError(f"package {package.name} is damaged")
    return found | {path: found[target] for path, target in links.items() if target in found}


def programs(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The guest's programs by name, from the packages' files. Raises AptError for a missing one."""
    found = {}
    for package, ends in PROGRAMS.items():
        for end in ends:
            program = next((content for path, content in contents.items() if f"/{path}".endswith(f"/{end}")), None)
            if program is None:
                raise AptError(f"package {package} has no program {end}")
            found[end.rpartition("/")[2]] = program
    return found
