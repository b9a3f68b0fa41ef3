"""Programs of the simulated guest that work on files and disks: ls, cp, rm, df, mount, ..."""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Iterable, Iterator
from itertools import chain

from stratuslab.local.guest.files import Node
from stratuslab.local.guest.process import Output, Process, Refused, encoded, program
from stratuslab.local.guest.system import Disk


@program("pwd")
def pwd(process: Process) -> Output:
    yield encoded(process.directory + "\n")
    return 0


@program("ls")
def ls(process: Process) -> Output:
    options, names = process.options("laA1dhFt")
    files = process.guest.files
    status = 0
    # Files come before what is in directories, as everywhere.
    for name in sorted(names or ["."], key=lambda name: files.is_directory(process.path(name))):
        path = process.path(name)
        try:
            node = files.node(path)
        except OSError as error:
            process.error(f"{name}: {error.strerror}")
            status = 1
            continue
        if not node.is_directory or "d" in options:
            yield _entry(name, node, options)
            continue
        if len(names) > 1:
            yield encoded(f"{name}:\n")
        for child in files.names(path):
            if not child.startswith(".") or "a" in options or "A" in options:
                yield _entry(child, files.node(files.resolve(path, child)), options)
    return status


def _entry(name: str, node: Node, options: dict[str, str]) -> bytes:
    if "l" not in options:
        return encoded(name + "\n")
    kind = "d" if node.is_directory else "c" if node.device else "-"
    rights = "".join(letter if node.mode >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx"))
    if node.mode & 0o1000:
        rights = rights[:-1] + "t"
    day = time.strftime("%b %d %H:%M", time.gmtime(node.modified))
    return encoded(f"{kind}{rights}    1 root     root     {len(node.content or b''):>9} {day} {name}\n")


@program("mkdir")
def mkdir(process: Process) -> Output:
    yield from ()
    options, names = process.options("p", valued="m")
    for name in _some(names):
        if "p" in options:
            process.guest.files.make_directories(process.path(name))
        else:
            process.guest.files.make_directory(process.path(name))
    return 0


@program("rmdir")
def rmdir(process: Process) -> Output:
    yield from ()
    for name in _some(process.arguments):
        process.guest.files.remove_directory(process.path(name))
    return 0


@program("rm")
def rm(process: Process) -> Output:
    yield from ()
    options, names = process.options("rRf")
    for name in names if "f" in options else _some(names):
        path = process.path(name)
        if process.guest.files.exists(path) or "f" not in options:
            process.guest.files.remove(path, recursive="r" in options or "R" in options)
    return 0


@program("touch")
def touch(process: Process) -> Output:
    yield from ()
    for name in _some(process.arguments):
        process.guest.files.open(process.path(name), append=True)
    return 0


@program("cp")
def cp(process: Process) -> Output:
    yield from ()
    options, names = process.options("rRapf")
    files = process.guest.files
    for source, target in _transfers(process, names):
        if not files.is_directory(source):
            _copy(process, source, target)
        elif options.keys() & {"r", "R", "a"} and not (target + "/").startswith(source.rstrip("/") + "/"):
            for path in list(_below(process, source)):
                copied = target + path[len(source) :]
                if files.is_directory(path):
                    files.make_directories(copied)
                else:
                    _copy(process, path, copied)
        else:
            raise Refused(f"omitting directory '{source}'")
    return 0


def _copy(process: Process, source: str, target: str) -> None:
    if source == target:
        raise Refused(f"'{source}' and '{target}' are the same file")
    pieces = process.guest.files.stream(source)
    write = process.guest.files.open(target)
    for piece in pieces:
        process.console.pause(0)
        write(piece)


@program("mv")
def mv(process: Process) -> Output:
    yield from ()
    _, names = process.options("f")
    for source, target in _transfers(process, names):
        process.guest.files.rename(source, target)
    return 0


def _transfers(process: Process, names: list[str]) -> Iterator[tuple[str, str]]:
    """What goes where: into a directory under its own name, else to exactly the target."""
    if len(names) < 2:
        raise Refused("missing file operand")
    *sources, target = map(process.path, names)
    for source in sources:
        process.guest.files.node(source)
        if process.guest.files.is_directory(target):
            yield source, process.guest.files.resolve(target, posixpath.basename(source))
        elif len(sources) > 1:
            raise Refused(f"'{names[-1]}' is not a directory")
        else:
            yield source, target


def _below(process: Process, path: str) -> Iterator[str]:
    yield path
    if process.guest.files.is_directory(path):
        for name in process.guest.files.names(path):
            yield from _below(process, process.guest.files.resolve(path, name))


@program("find")
def find(process: Process) -> Output:
    for name in process.arguments or ["."]:
        if name.startswith("-"):
            raise Refused(f"no {name} in the simulated machine")
        start = process.path(name)
        process.guest.files.node(start)
        for path in _below(process, start):
            yield encoded(name.rstrip("/") + path[len(start.rstrip("/")) :] + "\n")
    return 0


@program("chmod")
def chmod(process: Process) -> Output:
    yield from ()
    _, names = process.options("R")
    if len(names) < 2:
        raise Refused("usage: chmod MODE FILE...")
    mode, *paths = names
    for path in paths:
        node = process.guest.files.node(process.path(path))
        if re.fullmatch("[0-7]{3,4}", mode):
            node.mode = int(mode, 8)
        elif mode not in ("+x", "a+x", "u+x", "go-rwx", "u+rw"):
            raise Refused(f"invalid mode '{mode}'")
    return 0


@program("sync")
def sync(process: Process) -> Output:
    yield from ()
    return 0


def _some(names: list[str]) -> list[str]:
    if not names:
        raise Refused("missing operand")
    return names


@program("df")
def df(process: Process) -> Output:
    options, names = process.options("hkmP")
    guest = process.guest
    paths = [process.path(name) for name in names]
    wanted = {guest.volatile if guest.volatile and f"{path}/".startswith("/mnt/") else guest.root for path in paths}
    block = "Size" if "h" in options else "1M-blocks" if "m" in options else "1K-blocks"
    yield _disk_row("Filesystem", block, "Used", "Available", "Use%", "Mounted on")
    for disk in _mounted(process):
        if wanted and disk not in wanted:
            continue
        used = guest.files.used // 1024 if disk is guest.root else 0
        size, taken, left = (_size(figure, options) for figure in (disk.size_kib, used, disk.size_kib - used))
        yield _disk_row(disk.device, size, taken, left, f"{-(-100 * used // disk.size_kib)}%", disk.mount)
    return 0


def _disk_row(device: str, size: str, used: str, left: str, share: str, mount: str) -> bytes:
    return encoded(f"{device:<20} {size:>9} {used:>9} {left:>9} {share:>4} {mount}\n")


def _size(kib: int, options: dict[str, str]) -> str:
    if "h" in options:
        return human(kib)
    return str(-(-kib // 1024)) if "m" in options else str(kib)


def human(kib: int) -> str:
    """A size of KiB in the unit that suits it, as ``-h`` shows it: ``512.0K``, ``32.0M``, ``2.0G``."""
    if not kib:
        return "0"
    power = min((kib.bit_length() - 1) // 10, 4)
    return f"{kib / 1024**power:.1f}{'KMGTP'[power]}"


def _mounted(process: Process) -> Iterable[Disk]:
    return chain([process.guest.root], [process.guest.volatile] if process.guest.volatile else [])


@program("mount")
def mount(process: Process) -> Output:
    if process.arguments:
        raise Refused("no other disks in the simulated machine")
    for disk in _mounted(process):
        yield encoded(f"{disk.device} on {disk.mount} type ext4 (rw)\n")
    yield b"proc on /proc type proc (rw)\n"
    return 0


@program("swapon")
def swapon(process: Process) -> Output:
    swap = process.guest.swap
    if process.arguments == ["-s"]:
        yield process.guest.files.read("/proc/swaps")
    elif process.arguments in ([], ["--show"]):
        if swap:
            yield encoded(f"{'NAME':<9} {'TYPE':<9} {'SIZE':>7} {'USED':>4} {'PRIO':>4}\n")
            yield encoded(f"{swap.device:<9} {'partition':<9} {human(swap.size_kib):>7} {'0B':>4} {-2:>4}\n")
    else:
        raise Refused("usage: swapon -s | --show")
    return 0
