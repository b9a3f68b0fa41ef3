"""Selects the packages of the image, and reads the files in them."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
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
"""The packages of the guest's programs, with the programs' paths, which may be below usr/."""

_WANTED = re.compile(
    r"boot/vmlinuz-(?P<kernel>.+)|(?:usr/)?(?:(?P<module>lib/modules/[^/]+/.+\.ko(?:\.\w+)?)"
    rf"|lib/x86_64-linux-gnu/(?P<library>[^/]+\.so[.\d]*)|(?P<program>{'|'.join(chain.from_iterable(PROGRAMS.values()))}))"
)

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


def files(package: Path, environ: Mapping[str, str]) -> dict[tuple[str, str], bytes]:
    """The wanted files in a package by kind (``kernel``, ``module``, ``library`` or ``program``) and name, which is a kernel's
    release. Links are replaced by the files.

    Raises AptError for a damaged package, and removes it: the next build downloads it again."""
    found: dict[tuple[str, str], bytes] = {}
    links: dict[tuple[str, str], tuple[str, str]] = {}
    complete, silent = False, subprocess.DEVNULL
    with (
        suppress(tarfile.TarError, EOFError),
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], env=environ, stdin=silent, stdout=subprocess.PIPE, stderr=silent
        ) as process,
    ):
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                match = _WANTED.fullmatch(member.name.removeprefix("./"))
                if match is None or match.lastgroup is None:
                    continue
                kind, name = match.lastgroup, match[match.lastgroup]
                if (content := archive.extractfile(member) if member.isfile() else None) is not None:
                    found[kind, name] = content.read()
                elif member.issym():
                    links[kind, name] = kind, member.linkname
        process.communicate()  # dpkg-deb fails unless the rest after the last member is read
        complete = process.returncode == 0
    if not complete:
        package.unlink(missing_ok=True)
        raise AptError(f"package {package.name} is damaged")
    return found | {name: found[target] for name, target in links.items() if target in found}


def programs(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """The guest's programs by name, from the packages' programs. Raises AptError for a missing one."""
    for package, paths in PROGRAMS.items():
        for path in paths:
            if path not in contents:
                raise AptError(f"package {package} has no program {path}")
    return {path.rpartition("/")[2]: content for path, content in contents.items()}
