"""How the tiny image is made of packages: with an apt and a dpkg that only play their parts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from stratuslab.errors import StratusLabError
from stratuslab.local.tiny.build_tiny import TinyImage, build
from stratuslab.local.tiny.initrd import guest_paths
from tests.local.tiny.test_cpio import read
from tests.local.tiny.test_kernel_modules import module, program

KERNEL = "linux-image-6.1.0-9-cloud-amd64"
LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
DRIVERS = "lib/modules/6.1.0-9-cloud-amd64/kernel/drivers"

PACKAGES: dict[str, tuple[str, dict[str, bytes]]] = {
    "busybox-static": ("1:1.35", {"bin/busybox": program()}),
    "dropbear-bin": (
        "2022.83",
        {"usr/sbin/dropbear": program("libz.so.1", "libc.so.6", interpreter=LOADER), "usr/bin/dropbearkey": program("libc.so.6")},
    ),
    "e2fsprogs": ("1.47", {"sbin/mke2fs": program("libc.so.6")}),
    "openssh-sftp-server": ("1:9.2", {"usr/lib/openssh/sftp-server": program("libc.so.6")}),
    "util-linux": ("2.38", {"sbin/blkid": program("libc.so.6")}),
    "libc6": ("2.36", {f"{LIBRARIES}/libc.so.6": program(), f"{LIBRARIES}/ld-linux-x86-64.so.2": program()}),
    "zlib1g": ("1.2.13", {f"{LIBRARIES}/libz.so.1.2.13": program("libc.so.6")}),
    KERNEL: (
        "6.1.9-1",
        {
            "boot/vmlinuz-6.1.0-9-cloud-amd64": b"kernel",
            f"{DRIVERS}/virtio/virtio.ko": module(),
            f"{DRIVERS}/block/virtio_blk.ko": module("virtio"),
            f"{DRIVERS}/acpi/button.ko": module(),
            f"{DRIVERS}/net/other.ko": module(),
        },
    ),
}
DEPENDENCIES = {
    "linux-image-cloud-amd64": [KERNEL],
    "dropbear-bin": ["libc6", "zlib1g", "adduser"],
    "zlib1g": ["libc6"],
    **{name: ["libc6"] for name in ("e2fsprogs", "openssh-sftp-server", "util-linux")},
}

FAKE = """#!{python} -SE
import json, os, shutil, sys
from pathlib import Path
place = Path({place!r})
name = Path(sys.argv[0]).name
arguments = [word for at, word in enumerate(sys.argv[1:], 1) if word[0] != "-" and sys.argv[at - 1] != "-o"]
own_lists = any(word.startswith("Dir::State::Lists=") for word in sys.argv)
with (place / "calls").open("a") as calls:
    calls.write(" ".join([name, *arguments]) + "\\n")
def fail(text):
    sys.stderr.write(text + "\\n")
    sys.exit(100)
def known():
    return (place / "system-lists").exists() or own_lists and (place / "updated").exists()
depends = json.loads((place / "depends").read_text()) if known() else {{}}
if name == "dpkg-deb":
    sys.stdout.buffer.write(Path(arguments[0]).read_bytes())
elif arguments[0] == "update":
    if not (place / "network").exists():
        # As apt: what could not be fetched is a warning.
        sys.stderr.write("W: Failed to fetch http://deb.example.org/InRelease  Could not resolve 'deb.example.org'\\n")
        sys.exit(0)
    (place / "updated").touch()
    lists = next(word for word in sys.argv if word.startswith("Dir::State::Lists=")).partition("=")[2]
    Path(lists, "deb.example.org_Packages").touch()
elif not known():
    fail("E: No packages found")
elif name == "apt-cache":
    assert arguments[0] == "pkgnames"
    print(*(name for name in depends if name.startswith(arguments[1])), sep="\\n")
elif arguments[0] == "install":
    assert "--print-uris" in sys.argv
    needed = arguments[1:]
    for package in needed:
        if package not in depends:
            fail("E: Unable to locate package " + package)
        needed += [name for name in depends[package] if name not in needed]
        for file in (place / "pool").glob(package + "_*"):
            # Security updates come without a hash at the end.
            print(f"'http://deb.example.org/{{file.name}}' {{file.name}} {{file.stat().st_size}} ")
else:
    assert arguments.pop(0) == "download"
    for argument in arguments:
        [file] = (place / "pool").glob(argument.partition("=")[0] + "_*")
        if (place / "full").exists():
            fail("E: You don't have enough free space in /somewhere.")
        elif not (place / "network").exists():
            fail("E: Failed to fetch http://deb.example.org/x  Could not resolve 'deb.example.org'")
        else:
            shutil.copy(file, file.name)
            print("dlstatus:1:50.0:Retrieving file 1 of 2", flush=True)
"""


class Distribution:
    """Packages, and the programs that a build asks for them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        (place / "pool").mkdir(parents=True)
        (place / "bin").mkdir()
        for name in ("apt-get", "apt-cache", "dpkg-deb"):
            script = place / "bin" / name
            script.write_text(FAKE.format(python=sys.executable, place=str(place)))
            script.chmod(0o755)
        self.have("system-lists", "network")
        for name in PACKAGES:
            self.add(name)
        self.environ = {"PATH": str(place / "bin")}
        self.reports: list[tuple[str, float | None]] = []

    def add(self, name: str, version: str = "", files: Mapping[str, bytes] | None = None) -> None:
        for old in (self.place / "pool").glob(f"{name}_*"):
            old.unlink()
        own_version, own_files = PACKAGES[name]
        file = f"{name}_{(version or own_version).replace(':', '%3a')}_amd64.deb"
        with tarfile.open(self.place / "pool" / file, "w") as archive:
            for path, content in (own_files if files is None else files).items():
                member = tarfile.TarInfo(f"./{path}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            if name == "zlib1g":
                link = tarfile.TarInfo(f"./{LIBRARIES}/libz.so.1")
                link.type, link.linkname = tarfile.SYMTYPE, "libz.so.1.2.13"
                archive.addfile(link)
        known = [*(path.name.partition("_")[0] for path in (self.place / "pool").iterdir()), "linux-image-cloud-amd64"]
        self.depends({name: DEPENDENCIES.get(name, []) for name in known})

    def depends(self, dependencies: Mapping[str, list[str]]) -> None:
        others: dict[str, list[str]] = {other: [] for names in dependencies.values() for other in names}
        (self.place / "depends").write_text(json.dumps({**others, **dependencies}))

    def have(self, *names: str) -> None:
        for name in names:
            (self.place / name).touch()

    def lack(self, *names: str) -> None:
        for name in names:
            (self.place / name).unlink()

    def calls(self) -> list[str]:
        """The programs that were called since this was asked."""
        path = self.place / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [call.split()[0] + (" " + call.split()[1] if call.startswith("apt") else "") for call in calls]

    def build(self, cache: Path) -> TinyImage:
        return build(cache, self.environ, lambda what, part: self.reports.append((what, part)))


@pytest.fixture
def distribution(tmp_path: Path) -> Distribution:
    return Distribution(tmp_path / "distribution")


def members(image: TinyImage) -> dict[str, bytes]:
    with tarfile.open(image.path) as archive:
        return {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive}


def test_an_image_is_made(distribution: Distribution, tmp_path: Path):
    image = distribution.build(tmp_path / "cache")
    assert list(members(image)) == ["vmlinuz", "initrd", "cmdline"]
    assert members(image)["vmlinuz"] == b"kernel"
    assert members(image)["cmdline"].endswith(b"\n") and b"console=ttyS0" in members(image)["cmdline"]
    files = {member.path: member for member in read(members(image)["initrd"])}
    assert {"bin/busybox", "bin/dropbear", "lib/sftp-server", "lib/libz.so.1", "lib/ld-linux-x86-64.so.2"} <= set(files)
    assert files["init"].content.startswith(b"#!/bin/busybox sh") and files["init"].mode & 0o111
    drivers = {path.rpartition("/")[2] for path in files if path.endswith(".ko")}
    assert drivers == {"virtio.ko", "virtio_blk.ko", "button.ko"}
    assert files["lib/modules/6.1.0-9-cloud-amd64/modules.dep"].content.startswith(b"virtio.ko:\nvirtio_blk.ko: virtio.ko\n")
    assert (files["etc/modules"].content, files["etc/modules.late"].content) == (b"virtio_blk\n", b"button\n")
    assert image.os_version == "6.1.0-9-cloud-amd64"
    assert image.version.startswith("1-6.1.9-1-")
    assert "busybox-static 1:1.35" in image.packages
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert [what for what, part in distribution.reports if part == 0.5] == [
        f"downloading {len(PACKAGES)} packages (0 MB)",
    ] * len(PACKAGES)


def test_the_same_packages_make_the_same_bytes(distribution: Distribution, tmp_path: Path):
    first, second = distribution.build(tmp_path / "one"), distribution.build(tmp_path / "two")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.version == second.version


def test_an_image_that_exists_is_taken(distribution: Distribution, tmp_path: Path):
    first = distribution.build(tmp_path / "cache")
    distribution.calls()
    distribution.lack("network")
    assert distribution.build(tmp_path / "cache") == first
    assert distribution.calls() == ["apt-cache pkgnames", "apt-get install"]


def test_a_new_version_makes_a_new_image_of_the_new_package(distribution: Distribution, tmp_path: Path):
    first = distribution.build(tmp_path / "cache")
    distribution.add("busybox-static", "1:1.36")
    distribution.calls()
    second = distribution.build(tmp_path / "cache")
    assert second.version != first.version
    assert distribution.reports[-2][0] == "downloading 1 packages (0 MB)"
    assert sorted(path.name for path in (tmp_path / "cache").glob("tiny-*")) == [second.path.name]
    assert len(list((tmp_path / "cache/packages").glob("busybox*"))) == 1


def test_lists_are_fetched_where_the_system_has_none(distribution: Distribution, tmp_path: Path):
    distribution.lack("system-lists")
    assert members(distribution.build(tmp_path / "cache"))["vmlinuz"] == b"kernel"
    assert "apt-get update" in distribution.calls()


def message(distribution: Distribution, cache: Path) -> str:
    with pytest.raises(StratusLabError) as raised:
        distribution.build(cache)
    assert "\n" not in str(raised.value)
    assert not list(cache.glob("tiny-*.tar"))
    return str(raised.value)


@pytest.mark.parametrize("lists", [True, False])
def test_no_network(distribution: Distribution, tmp_path: Path, lists: bool):
    distribution.lack("network", *([] if lists else ["system-lists"]))
    said = message(distribution, tmp_path / "cache")
    assert "Could not resolve 'deb.example.org' (check the network" in said


@pytest.mark.parametrize("program_name", ["apt-get", "apt-cache", "dpkg-deb"])
def test_no_debian(distribution: Distribution, tmp_path: Path, program_name: str):
    distribution.lack(f"bin/{program_name}")
    said = message(distribution, tmp_path / "cache")
    assert said.startswith(f"cannot build the tiny image on this computer: {program_name} is not installed (")
    assert "Debian" in said and "add-image" in said


def test_a_package_that_is_not_to_be_had(distribution: Distribution, tmp_path: Path):
    distribution.depends(
        {name: DEPENDENCIES.get(name, []) for name in [*PACKAGES, "linux-image-cloud-amd64"] if name != "e2fsprogs"}
    )
    assert "package e2fsprogs" in message(distribution, tmp_path / "cache")
    distribution.depends({name: DEPENDENCIES.get(name, []) for name in PACKAGES})
    assert "package linux-image-cloud-amd64" in message(distribution, tmp_path / "cache")


def test_a_full_disk(distribution: Distribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    full = f"cannot build the tiny image: the disk of {tmp_path}/cache is full (it needs 120 MB)"
    distribution.have("full")
    assert message(distribution, tmp_path / "cache") == full
    distribution.lack("full")

    def no_room(*arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", no_room)
    assert message(distribution, tmp_path / "cache") == full
    monkeypatch.undo()
    assert members(distribution.build(tmp_path / "cache"))["vmlinuz"] == b"kernel"


def test_a_damaged_package_is_fetched_again(distribution: Distribution, tmp_path: Path):
    distribution.build(tmp_path / "cache")
    image = next((tmp_path / "cache").glob("tiny-*.tar"))
    image.unlink()
    package = next((tmp_path / "cache/packages").glob("zlib1g_*"))
    package.write_bytes(b"half")
    assert members(distribution.build(tmp_path / "cache"))["vmlinuz"] == b"kernel"
    assert package.read_bytes() != b"half"


@pytest.mark.parametrize(
    ("package", "files", "reason"),
    [
        ("zlib1g", {}, "no package contains the library libz.so.1"),
        ("busybox-static", {}, "package busybox-static has no program bin/busybox"),
        (KERNEL, {}, f"package {KERNEL} has no kernel"),
        ("e2fsprogs", {"sbin/mke2fs": b"no program"}, "not a 64-bit ELF file"),
    ],
)
def test_packages_that_are_not_as_expected(
    distribution: Distribution, tmp_path: Path, package: str, files: dict[str, bytes], reason: str
):
    distribution.add(package, files=files)
    assert reason in message(distribution, tmp_path / "cache")


def test_what_a_killed_build_left_is_no_image(distribution: Distribution, tmp_path: Path):
    version = distribution.build(tmp_path / "elsewhere").version
    cache = tmp_path / "cache"
    (cache / "packages/incoming-x").mkdir(parents=True)
    (cache / f"tiny-{version}.partial").write_bytes(b"half")
    assert members(distribution.build(cache))["vmlinuz"] == b"kernel"
    assert [path.name for path in cache.glob("tiny-*")] == [f"tiny-{version}.tar"]
    assert not (cache / "packages/incoming-x").exists()


@pytest.mark.parametrize(
    "path", [path for path in guest_paths() if path.name.startswith(("rc", "init")) or path.parent.name == "bin"]
)
def test_the_scripts_of_the_guest_are_scripts(path: Path):
    subprocess.run(["sh", "-n", path], check=True)


def test_two_at_once_build_once(distribution: Distribution, tmp_path: Path):
    images: list[TinyImage] = []
    threads = [threading.Thread(target=lambda: images.append(distribution.build(tmp_path / "cache"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert images[0] == images[1]
    assert distribution.calls().count("dpkg-deb") == len(PACKAGES)
