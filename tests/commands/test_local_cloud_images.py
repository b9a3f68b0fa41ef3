"""stratus-local-cloud add-image and build-image, in-process."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from stratuslab.byte_sizes import size_text
from stratuslab.errors import ExitStatus, StratusLabError, UsageError
from stratuslab.local.images.add_image import ExpectedChecksum
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries
from stratuslab.local.images.image_reader import SparseFile
from stratuslab.local.images.image_store import content, keep
from stratuslab.local.images.initialized_store import open_store
from stratuslab.marketplace.metadata import Metadata, read
from tests.fakes.file_server import broken_off, by_range, refuses, whole
from tests.fakes.scripted_server import Scripted
from tests.harness import CHECKOUT, TTYLINUX, Ran, Shell
from tests.local.images.test_image_format import qcow2
from tests.local.images.test_image_store import checksums, everything, identifier

DISK = bytes(510) + b"\x55\xaa" + random.Random(3).randbytes(200_000) + bytes(1 << 20)
PACKED = gzip.compress(DISK)

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def cloud(shell: Shell) -> Path:
    return shell.home / "cloud"


@pytest.fixture
def packed(shell: Shell) -> Path:
    path = shell.home / "debian-12.RAW.gz"
    path.write_bytes(PACKED)
    return path


def entries(cloud: Path, name: str) -> list[Metadata]:
    now = datetime(2026, 11, 22, tzinfo=timezone.utc)
    with closing(open_store(cloud, now.timestamp())) as store:
        documents = MarketplaceEntries(store, now.timestamp()).of_image(name)
    return [read(document.encode(), name, now) for document, _ in documents]


def kept(cloud: Path) -> list[str]:
    return [name for name in everything(cloud) if name.startswith("images/")]


class TestFiles:
    def test_is_added(self, shell: Shell, cloud: Path, packed: Path) -> None:
        ran = shell("local_cloud", "add-image", "~/debian-12.RAW.gz")
        assert (ran.status, ran.out, ran.err) == (0, f"{identifier(DISK)}\n", "")
        path = content(cloud, identifier(DISK))
        assert path is not None
        assert path.read_bytes() == DISK
        assert packed.read_bytes() == PACKED
        (entry,) = entries(cloud, identifier(DISK))
        assert (entry.bytes, entry.checksums, entry.format) == (len(DISK), checksums(DISK), "raw")
        assert (entry.title, entry.locations, entry.disks_bus) == ("debian-12", (f"local://images/{identifier(DISK)}",), "virtio")
        assert "images      5" in shell("local_cloud", "status").out

    def test_again(self, shell: Shell, cloud: Path, packed: Path) -> None:
        plain = shell.home / "plain"
        plain.write_bytes(DISK)
        for arguments in ([str(packed)], [str(plain)], [plain.as_uri()], [str(plain), "--title", "a <title>\n& more"]):
            assert shell("local_cloud", "add-image", *arguments).out == f"{identifier(DISK)}\n"
        assert kept(cloud) == [f"images/{identifier(DISK)}/image"]
        assert [entry.names for entry in entries(cloud, identifier(DISK))] == [("debian-12", "plain", "a <title> & more")]

    def test_a_qcow2(self, shell: Shell, cloud: Path) -> None:
        (shell.home / "disk").write_bytes(qcow2())
        assert shell("local_cloud", "add-image", "~/disk").status == 0
        assert [entry.format for entry in entries(cloud, identifier(qcow2()))] == ["qcow2"]

    def test_what_is_done(self, shell: Shell, cloud: Path, packed: Path) -> None:
        ran = shell("local_cloud", "add-image", "-v", str(packed))
        assert ran.err.splitlines() == [f"Reading {packed}", f"Kept as {content(cloud, identifier(DISK))}"]

    def test_progress_at_a_terminal(self, shell: Shell, packed: Path) -> None:
        shell.terminal = True
        shell.environ["TERM"] = "xterm"
        ran = shell("local_cloud", "add-image", str(packed))
        assert "Reading [" in ran.err
        assert ran.out == f"{identifier(DISK)}\n"
        assert "Reading" not in shell("local_cloud", "add-image", "-q", str(packed)).err

    @pytest.mark.parametrize(
        ("data", "status", "why"),
        [
            (b"", 1, "it is empty"),
            (gzip.compress(b"", mtime=0), 1, "it is empty"),
            (PACKED[:-100], 1, "the compressed image is damaged: the file ends too early"),
            (b"BZh9" + bytes(100), 1, "the compressed image is damaged: "),
            (b"<!DOCTYPE html><html>Sign in</html>", 1, "it is a web page"),
            (qcow2(features=4), 1, "external data file"),
        ],
    )
    def test_what_is_no_image(self, shell: Shell, cloud: Path, data: bytes, status: int, why: str) -> None:
        (shell.home / "disk").write_bytes(data)
        ran = shell("local_cloud", "add-image", "~/disk")
        assert (ran.status, ran.out, ran.err.count("\n")) == (status, "", 1)
        assert f"{shell.home}/disk: " in ran.err
        assert why in ran.err
        assert kept(cloud) == []
        assert "images      4" in shell("local_cloud", "status").out

    @pytest.mark.parametrize(
        ("source", "why"),
        [
            ("", "no image file given"),
            ("missing", "no such file"),
            (".", "is a directory"),
            ("~/pipe", "pipe: it is a pipe"),
            ("file://HOME/pipe", "pipe: it is a pipe"),
            ("~/socket", "socket: it is a socket"),
            ("/dev/zero", "/dev/zero: it is a character device"),
            ("ftp://a:b@example.org/x", "ftp://example.org/x"),
        ],
    )
    def test_what_cannot_be_read(self, shell: Shell, source: str, why: str) -> None:
        os.mkfifo(shell.home / "pipe")
        os.mknod(shell.home / "socket", 0o600 | stat.S_IFSOCK)
        ran = shell("local_cloud", "add-image", source.replace("HOME", str(shell.home)))
        assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert why in ran.err

    def test_a_reset_meanwhile(self, shell: Shell, cloud: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def reset(directory: Path, name: str, path: Path, descriptor: int) -> Path:
            kept = keep(directory, name, path, descriptor)
            assert shell("local_cloud", "reset", "--yes").status == 0
            return kept

        monkeypatch.setattr("stratuslab.local.images.image_store.keep", reset)
        ran = shell("local_cloud", "add-image", str(packed))
        assert (ran.status, ran.out) == (1, "")
        assert "it was removed, or the embedded cloud reset, meanwhile (run the command again)" in ran.err
        assert entries(cloud, identifier(DISK)) == []

    def test_a_full_disk(self, shell: Shell, cloud: Path, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.images.free_space.free", lambda place: 1000)
        ran = shell("local_cloud", "add-image", str(packed))
        assert (ran.status, ran.out) == (1, "")
        assert f"the disk of {cloud} is full: the image needs {size_text(len(PACKED))}, 1 KB are free" in ran.err
        assert kept(cloud) == []

    def test_a_disk_that_is_not_written_to(
        self, shell: Shell, cloud: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*_: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(os, "pwrite", refused)
        ran = shell("local_cloud", "add-image", str(packed))
        assert (ran.status, ran.out) == (1, "")
        assert f"{packed}: cannot write the image to {cloud}: read-only file system" in ran.err

    def test_holes_need_no_space(self, shell: Shell, cloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with (shell.home / "disk").open("wb") as file:
            file.write(b"begin")
            file.truncate(1 << 30)
        monkeypatch.setattr("stratuslab.local.images.add_image.require", lambda place, size: sys.exit(size > 1 << 20))
        with pytest.raises(SystemExit, match="False"):
            shell("local_cloud", "add-image", "~/disk")


class TestChecksums:
    @pytest.mark.parametrize(
        ("text", "algorithm"),
        [
            ("md5:" + "0" * 32, "MD5"),
            ("0" * 32, "MD5"),
            ("A" * 40, "SHA-1"),
            ("SHA-1:" + "A" * 40, "SHA-1"),
            ("sha256:" + "a" * 64, "SHA-256"),
            ("b" * 128, "SHA-512"),
            ("SHA384:" + "b" * 96, "SHA-384"),
        ],
    )
    def test_are_told_by_their_length(self, text: str, algorithm: str) -> None:
        assert ExpectedChecksum.of(text) == ExpectedChecksum(algorithm, text.rpartition(":")[2].lower())

    @pytest.mark.parametrize("text", ["x", "0" * 33, "md5:" + "0" * 40, "crc:" + "0" * 32, "0" * 31 + "g", "sha1:", "٣" * 32])
    def test_that_are_none(self, shell: Shell, text: str) -> None:
        with pytest.raises(UsageError):
            ExpectedChecksum.of(text)
        ran = shell("local_cloud", "add-image", "x", "--checksum", text)
        assert (ran.status, ran.err.count("\n")) == (2, 1)

    @pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
    @pytest.mark.parametrize("data", [DISK, PACKED])
    def test_of_the_file_or_what_is_in_it(self, shell: Shell, packed: Path, algorithm: str, data: bytes) -> None:
        digest = hashlib.new(algorithm, data).hexdigest()
        assert shell("local_cloud", "add-image", str(packed), "--checksum", digest.upper()).status == 0

    def test_that_differ(self, shell: Shell, cloud: Path, packed: Path) -> None:
        ran = shell("local_cloud", "add-image", str(packed), "--checksum", "0" * 64)
        assert (ran.status, ran.out) == (1, "")
        came, inside = (checksums(data)["SHA-256"] for data in (PACKED, DISK))
        assert f"{packed}: its SHA-256 is {came}, that of its content {inside}, expected {'0' * 64}" in ran.err
        assert kept(cloud) == []


class TestUrls:
    @pytest.mark.parametrize("data", [DISK, PACKED])
    def test_is_added(self, shell: Shell, cloud: Path, scripted: Scripted, data: bytes) -> None:
        server = scripted(broken_off(data, 1000), by_range(data))
        url = f"{server.url}/images/my%20disk.img"
        ran = shell("local_cloud", "add-image", f"{url}#top", "--checksum", hashlib.md5(data).hexdigest())
        assert (ran.status, ran.out, ran.err) == (0, f"{identifier(DISK)}\n", "")
        assert kept(cloud) == [f"images/{identifier(DISK)}/image"]
        (entry,) = entries(cloud, identifier(DISK))
        assert (entry.title, entry.locations[1:]) == ("my disk", (url,))

    @pytest.mark.parametrize(("login", "query"), [("alice:secret@", ""), ("alice@", ""), ("", "?X-Amz-Signature=secret")])
    def test_what_may_be_secret_is_not_published(
        self, shell: Shell, cloud: Path, scripted: Scripted, login: str, query: str
    ) -> None:
        url = scripted(whole(DISK)).url.replace("http://", f"http://{login}")
        assert shell("local_cloud", "add-image", f"{url}/disk.img{query}").status == 0
        (entry,) = entries(cloud, identifier(DISK))
        assert (entry.title, entry.locations) == ("disk", (f"local://images/{identifier(DISK)}",))

    def test_after_ctrl_c(self, shell: Shell, cloud: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
        write = SparseFile.write

        def interrupted(file: SparseFile, data: bytes) -> None:
            write(file, data)
            if file.size > 100_000:
                raise KeyboardInterrupt

        server = scripted(by_range(DISK))
        with monkeypatch.context() as patch:
            patch.setattr(SparseFile, "write", interrupted)
            ran = shell("local_cloud", "add-image", server.url)
        assert (ran.status, ran.out) == (130, "")
        assert len(kept(cloud)) == 2  # what has arrived, and the note about it
        ran = shell("local_cloud", "add-image", "-v", server.url)
        assert (ran.status, "Resuming after" in ran.err) == (0, True)
        assert kept(cloud) == [f"images/{identifier(DISK)}/image"]

    def test_a_wrong_checksum(self, shell: Shell, cloud: Path, scripted: Scripted) -> None:
        ran = shell("local_cloud", "add-image", scripted(whole(DISK)).url, "--checksum", "1" * 40)
        assert (ran.status, ", expected 1111" in ran.err) == (1, True)
        assert kept(cloud) == []

    def test_errors(self, shell: Shell, cloud: Path, scripted: Scripted) -> None:
        server = scripted(refuses("404 Not Found"))
        ran = shell("local_cloud", "add-image", f"{server.url}/x?token=secret")
        assert (ran.status, ran.err) == (
            4,
            f"stratus-local-cloud: {server.url}/x?token=***: the server answered 404 Not Found (check the URL)\n",
        )
        assert shell("local_cloud", "add-image", "http://127.0.0.1:1/x").status == 8
        assert shell("local_cloud", "add-image", "http://[").status == 2
        assert kept(cloud) == []


class TestBuilding:
    @pytest.fixture
    def builder(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """What stands in for the builder of the tiny image; the caches that it was called with."""
        caches: list[Path] = []

        def build(cache: Path, environ: object, report: Callable[[str, float | None], None]) -> SimpleNamespace:
            caches.append(cache)
            report("looking for the packages", None)
            for part in (0.0, 0.5, 1.0):
                report("downloading", part)
            cache.mkdir(parents=True, exist_ok=True)
            (cache / "tiny.tar").write_bytes(DISK)
            return SimpleNamespace(path=cache / "tiny.tar", version="1-6.1", os_version="6.1", packages=("busybox <1>",))

        module = ModuleType("stratuslab.local.tiny.build_tiny")
        module.build = build  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "stratuslab.local.tiny.build_tiny", module)
        return caches

    def test_is_built_and_added(self, shell: Shell, cloud: Path, builder: list[Path]) -> None:
        for _ in range(2):
            ran = shell("local_cloud", "build-image", "tiny")
            assert (ran.status, ran.out, ran.err) == (0, f"{identifier(DISK)}\n", "")
        assert builder == [cloud / "cache" / "tiny"] * 2
        (entry,) = entries(cloud, identifier(DISK))
        assert (entry.title, entry.os, entry.os_version, entry.version) == ("tiny", "linux", "6.1", "1-6.1")
        assert "busybox <1>" in entry.description

    def test_what_is_done(self, shell: Shell, builder: list[Path]) -> None:
        steps = shell("local_cloud", "build-image", "-v", "tiny").err.splitlines()
        assert steps[:2] == ["Looking for the packages", "Downloading"]

    def test_progress_at_a_terminal(self, shell: Shell, builder: list[Path]) -> None:
        shell.terminal = True
        shell.environ["TERM"] = "xterm"
        assert "Downloading [" in shell("local_cloud", "build-image", "tiny").err

    def test_what_cannot_be_built(self, shell: Shell, builder: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        def build(*_: object) -> None:
            raise StratusLabError("there is no apt-get", "see add-image")

        monkeypatch.setattr(sys.modules["stratuslab.local.tiny.build_tiny"], "build", build)
        ran = shell("local_cloud", "build-image", "tiny")
        assert (ran.status, ran.out, ran.err) == (1, "", "stratus-local-cloud: there is no apt-get (see add-image)\n")

    def test_there_is_one(self, shell: Shell) -> None:
        assert shell("local_cloud", "build-image", "huge").status == 2
        assert not (shell.home / "cloud").exists()


def test_the_files_are_closed_to_others(shell: Shell, cloud: Path, packed: Path) -> None:
    before = os.umask(0o022)
    try:
        shell("local_cloud", "add-image", str(packed))
    finally:
        os.umask(before)
    assert [str(path) for path in cloud.rglob("*") if path.stat().st_mode & 0o077] == []


class TestImages:
    def test_are_listed_with_where_their_content_is(self, shell: Shell, tmp_path: Path) -> None:
        (tmp_path / "disk.img").write_bytes(DISK)
        added = shell("local_cloud", "add-image", "--title", "a\x1b[31mb", str(tmp_path / "disk.img")).out.strip()
        ran = shell("local_cloud", "images")
        assert (ran.status, ran.err) == (0, "")
        header, *rows = ran.out.splitlines()
        assert header.split() == ["identifier", "size", "content", "kind", "title"]
        assert rows[0].split()[0] == TTYLINUX
        assert {tuple(re.split(r"  +", row)[2:4]) for row in rows[:-1]} == {("none", "simulated")}
        last = re.split(r"  +", rows[-1])
        assert (last[0], *last[2:4]) == (added, "here", "bootable")
        assert "\x1b" not in ran.out

    def test_one_that_cannot_boot_is_taken_as_data_only(self, shell: Shell, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        for other in (b"no boot loader", b"KDMV (a VMDK disk)", b"PK\x03\x04 (an archive)"):
            path.write_bytes(other.ljust(4096, b"."))
            ran = shell("local_cloud", "add-image", str(path))
            assert (ran.status, ran.out, "it has no boot loader" in ran.err) == (ExitStatus.FAILED, "", True)
            assert "--data" in ran.err and "qemu-img convert -O qcow2" in ran.err
            assert shell("local_cloud", "images", "--format", "ids").out.count("\n") == 4
        ran = shell("local_cloud", "add-image", "--data", str(path))
        assert (ran.status, ran.err) == (0, "")
        assert shell("local_cloud", "images", "--filter", "kind=data", "--format", "ids").out == ran.out
        data = ran.out.strip()
        assert f"image {data} is a data disk, which machines may not boot from" in shell("run", data, "--dry-run").err
        assert "data disk" not in shell("run", TTYLINUX, "--readonly-disk", data, "--dry-run").err
        path.write_bytes(bytes(510) + b"\x55\xaa" + bytes(512))
        ran = shell("local_cloud", "add-image", str(path))
        assert (ran.status, ran.err) == (0, "")


class TestNames:
    """An image has a name for each time that its content was added under another one."""

    @pytest.fixture
    def added(self, shell: Shell, packed: Path) -> str:
        said = [
            shell("local_cloud", "add-image", str(packed), "--title", title).err for title in ("first", "second one", "first")
        ]
        also = f'image {identifier(DISK)} is here already, as "first"; it is now also called "second one"'
        assert said == ["", f"stratus-local-cloud: {also}\n", ""]
        return identifier(DISK)

    def test_are_listed_and_run(self, shell: Shell, added: str) -> None:
        listed = shell("local_cloud", "images", "--filter", f"identifier={added}", "--columns", "title,names", "--no-header")
        assert listed.out == "first, second one  second one\n"
        for word in ("first", "second one", "SECOND ONE", "second one@images", added[:9]):
            assert shell("run", word, "--dry-run").status == 0, word
            assert shell("show_image", "--format", "ids", word).out == f"{added}\n"
        assert shell("search_image", "--tag", "second one", "--format", "ids").out == f"{added}\n"

    @pytest.mark.parametrize(("name", "left"), [("first", "second one"), ("second one", "first")])
    def test_are_removed_one_by_one(self, shell: Shell, cloud: Path, added: str, name: str, left: str) -> None:
        ran = shell("local_cloud", "remove-image", name)
        assert ran == Ran(0, "", f'stratus-local-cloud: image {added} stays under its other names; "{name}" is removed\n')
        assert [entry.names for entry in entries(cloud, added)] == [(left,)]
        assert shell("local_cloud", "remove-image", name).status == ExitStatus.NOT_FOUND
        assert shell("local_cloud", "remove-image", left) == Ran(0, "", "")
        assert kept(cloud) == []

    def test_go_all_with_the_identifier(self, shell: Shell, cloud: Path, added: str) -> None:
        assert shell("local_cloud", "remove-image", added) == Ran(0, "", "")
        assert (kept(cloud), entries(cloud, added)) == ([], [])


class TestRemoveImage:
    def test_by_identifier_or_title(self, shell: Shell, tmp_path: Path, cloud: Path) -> None:
        (tmp_path / "disk.img").write_bytes(DISK)
        for word in ("by title", ""):
            added = shell("local_cloud", "add-image", "--title", "by title", str(tmp_path / "disk.img")).out.strip()
            assert kept(cloud) == [f"images/{added}/image"]
            assert shell("local_cloud", "remove-image", word or added) == Ran(0, "", "")
            assert kept(cloud) == []
            assert shell("search_image", added).status == ExitStatus.NOT_FOUND
            assert shell("local_cloud", "remove-image", added).status == ExitStatus.NOT_FOUND

    @pytest.mark.parametrize("option", [(TTYLINUX,), ("debian-base-simulated", "--readonly-disk", TTYLINUX)])
    def test_not_while_it_is_in_use(self, alice: Shell, tmp_path: Path, option: tuple[str, ...]) -> None:
        alice.environ["STRATUSLAB_LOCAL_DIR"] = str(tmp_path / "cloud")
        assert alice("run", *option).status == 0
        ran = alice("local_cloud", "remove-image", "ttylinux")
        assert (ran.status, f"image {TTYLINUX} is in use by machine 1" in ran.err) == (ExitStatus.FAILED, True)
        assert alice("local_cloud", "remove-image", "ttylinux", "--force").status == 0
        assert alice("run", TTYLINUX).status != 0

    def test_in_a_store_of_an_earlier_version(self, shell: Shell, cloud: Path) -> None:
        with closing(open_store(cloud, 0)) as store:
            store.query("DELETE FROM catalogue")
        assert shell("local_cloud", "remove-image", "ttylinux") == Ran(0, "", "")

    def test_once_it_is_free(self, shell: Shell) -> None:
        assert shell("run", TTYLINUX).status == 0
        assert shell("kill", "1").status == 0
        assert shell("local_cloud", "remove-image", TTYLINUX).status == 0

    def test_killed_at_any_step(self, shell: Shell, tmp_path: Path, cloud: Path) -> None:
        """The image is there or not, wholly, and nothing else is left, whichever line of the removal was the last."""
        (tmp_path / "disk.img").write_bytes(DISK)
        program = [sys.executable, "-c", KILLED, str(cloud), str(tmp_path / "disk.img")]
        done = subprocess.run(program, check=True, cwd=CHECKOUT, timeout=60, stdout=subprocess.PIPE, text=True)
        *killed, last = [line.split() for line in done.stdout.splitlines()]
        assert {tuple(line) for line in killed} == {("9", "True", "True", "0"), ("9", "False", "False", "0")}
        assert (last, len(killed) > 30) == (["0", "False", "False", "0"], True)


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from stratuslab.local.images import add_image, image_listing, image_removal, image_store
from stratuslab.local.images.initialized_store import open_store

directory, image = map(Path, sys.argv[1:])

def removed(identifier, last):
    lines = itertools.count(1)
    def trace(frame, event, argument):
        name = frame.f_code.co_filename
        counts = (event, os.path.basename(name)) in (("line", "image_removal.py"), ("call", "shutil.py"))
        if counts and next(lines) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    store = open_store(directory, 0)
    sys.settrace(trace)
    image_removal.remove_image(store, 0, identifier)

for last in itertools.count(1):
    store = open_store(directory, 0)
    identifier = add_image.ImageAdder(store, 0).of_file(image).identifier
    store.close()
    child = os.fork()
    if not child:
        removed(identifier, last)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    store = open_store(directory, 0)
    listed = identifier in [listed.identifier for listed in image_listing.list_images(store, 0)]
    store.close()
    left = len(list(directory.glob("images.*")))
    print(status, listed, image_store.content(directory, identifier) is not None, left)
    if not status:
        break
"""
