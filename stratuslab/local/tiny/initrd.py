"""Builds the guest's initrd: programs, libraries, kernel modules, and the scripts in ``guest/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from stratuslab.local.tiny import cpio
from stratuslab.local.tiny.elf import needed_libraries
from stratuslab.local.tiny.kernel_modules import Modules

GUEST = Path(__file__).with_name("guest")
"""This package's own files for the guest, with their paths in the guest."""

EARLY = ("virtio_pci", "virtio_net", "virtio_blk", "isofs", "ext4")
LATE = ("button", "evdev", "virtio_rng")
"""Modules that are loaded before and after the SSH server starts."""

_DIRECTORIES = ("dev", "etc/dropbear", "media", "mnt", "proc", "run", "sys", "var/log", "var/run")
_LINKS = {
    # Users and dropbear look for programs in all of them.
    "sbin": "bin",
    "usr/bin": "../bin",
    "usr/sbin": "../bin",
    "usr/lib": "../lib",
    "lib64": "lib",
    "bin/mkfs.ext2": "mke2fs",
    "bin/mkfs.ext3": "mke2fs",
    "bin/mkfs.ext4": "mke2fs",
    # Older and newer versions of dropbear look for it here.
    "lib/openssh/sftp-server": "../sftp-server",
    "usr/libexec": "../lib",
}


def initrd(programs: Mapping[str, bytes], libraries: Mapping[str, bytes], modules: Modules, release: str) -> bytes:
    """The cpio archive. ``programs`` and ``libraries`` are by name, ``release`` is the kernel's.

    Raises ValueError if a library is missing, or a file is damaged.
    """
    members = [cpio.directory(path) for path in _DIRECTORIES]
    members += [cpio.directory("root", 0o700), cpio.directory("tmp", 0o1777)]
    members += [cpio.link(path, target) for path, target in _LINKS.items()]
    members.append(cpio.character_device("dev/console", 5, 1))
    members += _guest_files()
    members += _modules(modules, f"lib/modules/{release}")
    for name, content in programs.items():
        members.append(cpio.file(f"lib/{name}" if name == "sftp-server" else f"bin/{name}", content, 0o755))
    for name, content in _needed(programs, libraries).items():
        members.append(cpio.file(f"lib/{name}", content, 0o755))
    return cpio.archive(members)


def _guest_files() -> Iterator[cpio.Member]:
    for path in guest_paths():
        content = path.read_bytes()
        yield cpio.file(path.relative_to(GUEST).as_posix(), content, 0o755 if content.startswith(b"#!") else 0o644)


def guest_paths() -> list[Path]:
    return sorted(path for path in GUEST.rglob("*") if path.is_file())


def _modules(modules: Modules, place: str) -> Iterator[cpio.Member]:
    order = modules.order([*EARLY, *LATE])
    for name in order:
        yield cpio.file(f"{place}/{name}.ko", modules.content(name))
    yield cpio.file(f"{place}/modules.dep", modules.list_for_modprobe(order).encode())
    for path, names in (("etc/modules", EARLY), ("etc/modules.late", LATE)):
        yield cpio.file(path, (" ".join(name for name in names if name in order) + "\n").encode())


def _needed(programs: Mapping[str, bytes], libraries: Mapping[str, bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    open_ = [name for content in programs.values() for name in needed_libraries(content)]
    while open_:
        name = open_.pop()
        if name in found:
            continue
        if name not in libraries:
            raise ValueError(f"no package contains the library {name}")
        found[name] = libraries[name]
        open_ += needed_libraries(libraries[name])
    return found
