"""Selects the packages of the image, and reads the files in them."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from stratuslab.local.tiny.apt_packages import Apt, AptError, Package

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


class PackageSelection(NamedTuple):
    """The current packages of an image, and the kernel's among them."""

    packages: list[Package]
    kernel: Package


def select(apt: Apt) -> PackageSelection:
    """Select the packages of the image. Raises AptError, also if a package does not exist."""
    known = apt.names("linux-image-")
    meta = next((name for name in _KERNELS if name in known), _KERNELS[0])
    needed = apt.needed([*PROGRAMS, meta])
    kernel = next((package for package in needed if _KERNEL.fullmatch(package.name)), None)
    if kernel is None:
        raise AptError(f"package {meta} has no kernel")
    libraries = [package for package in needed if package.name in PROGRAMS or _DEPENDENCY.fullmatch(package.name)]
    return PackageSelection(sorted([*libraries, kernel]), kernel)


def files(package: Path, environ: Mapping[str, str], wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The wanted files in a package by path, without a leading slash; links are replaced by the files.

    Raises AptError for a damaged package."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    found: dict[str, bytes] = {}
    links: dict[str, str] = {}
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, env=environ, stdin=silent, stdout=subprocess.PIPE, stderr=silent) as process:
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
        process.communicate()  # dpkg-deb fails unless the rest after the last member is read
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
