"""The store of images: what is written, under which names, and what is left when somebody is killed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import StratusLabError
from stratuslab.local.images import ImageError, image_reader
from stratuslab.local.images.embedded_marketplace import ENDORSER, MarketplaceEntries, endorsed, read_entry
from stratuslab.local.images.free_space import NoSpace, require
from stratuslab.local.images.image_import import ImageImport
from stratuslab.local.images.image_reader import USUAL, ReadResult, SparseFile, read_image
from stratuslab.local.images.image_store import PARTIAL_SECONDS, IncomingFile, content
from stratuslab.local.images.initialized_store import open_store
from stratuslab.marketplace.identifier import identifier_from_sha1
from stratuslab.marketplace.metadata import Metadata
from stratuslab.marketplace.metadata import read as read_metadata
from stratuslab.private_files import open_locked
from tests.fakes.stopped_clock import StoppedClock
from tests.harness import CHECKOUT

PACKERS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress]
DISK = random.Random(1).randbytes(200_000) + bytes(1 << 20) + b"end"
HOLES = st.lists(
    st.one_of(st.binary(max_size=400), st.integers(0, 200_000).map(bytes), st.integers(1, 70_000).map(lambda n: b"x" * n)),
    max_size=6,
).map(b"".join)


def checksums(data: bytes) -> dict[str, str]:
    return {name: hashlib.new(name.replace("-", "").lower(), data).hexdigest() for name in USUAL}


def summed(found: ReadResult) -> list[tuple[int, dict[str, str]]]:
    return [(sums.bytes, sums.checksums) for sums in found]


def expected(data: bytes, packed: bytes) -> list[tuple[int, dict[str, str]]]:
    return [(len(data), checksums(data)), (len(packed), checksums(packed))]


def identifier(data: bytes) -> str:
    return identifier_from_sha1(hashlib.sha1(data).hexdigest())


def taken(directory: Path, data: bytes, name: str = "", limit: int | None = None) -> Path:
    intake = ImageImport(directory, lambda found, path: name or found.content.identifier, limit=limit)
    return intake.of_stream(io.BytesIO(data), len(data)).path


def everything(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


class TestWriting:
    @given(HOLES, st.sampled_from(PACKERS))
    def test_content_and_sums(
        self, tmp_path_factory: pytest.TempPathFactory, data: bytes, pack: Callable[[bytes], bytes]
    ) -> None:
        packed = pack(data)
        path = tmp_path_factory.mktemp("content") / "image"
        with path.open("wb") as file:
            found = read_image(io.BytesIO(packed), file.fileno())
        assert path.read_bytes() == data
        assert summed(found) == expected(data, packed)

    @given(st.lists(HOLES, max_size=5))
    def test_pieces_of_any_size_and_a_beginning_that_exists(
        self, tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
    ) -> None:
        path = tmp_path_factory.mktemp("pieces") / "image"
        path.write_bytes(b"begin")
        with path.open("r+b") as file:
            sparse = SparseFile(file.fileno())
            for piece in pieces:
                sparse.write(piece)
            sparse.finish()
        assert path.read_bytes() == b"begin" + b"".join(pieces)

    @pytest.mark.parametrize("pack", PACKERS)
    def test_zeros_take_no_room(self, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
        path = taken(tmp_path, pack(b"begin" + bytes(8 << 20) + b"end"))
        assert path.stat().st_size == (8 << 20) + 8
        assert path.stat().st_blocks * 512 <= 1 << 18

    @pytest.mark.parametrize("pack", PACKERS)
    def test_a_limit(self, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
        assert taken(tmp_path, pack(DISK), limit=len(DISK))
        with pytest.raises(ImageError, match=r"larger than the expected 1\.25 MB"):
            taken(tmp_path / "other", pack(DISK), limit=len(DISK) - 1)
        assert everything(tmp_path / "other") == []

    @pytest.mark.parametrize("pack", PACKERS[1:])
    def test_a_bomb_of_several_members(
        self, tmp_path: Path, pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(image_reader, "FREELY", 1 << 21)
        bomb = pack(bytes(1 << 20)) * 48
        with pytest.raises(ImageError, match="content is more than 200 times as large as the file") as raised:
            taken(tmp_path, bomb)
        assert raised.value.hint == "uncompress it and add the result"
        assert everything(tmp_path) == []
        # Whose size is known is only kept to that.
        assert taken(tmp_path, bomb, limit=48 << 20).stat().st_size == 48 << 20

    def test_a_stream_without_a_length_that_drips(self, tmp_path: Path) -> None:
        readable, writable = os.pipe()
        packed = gzip.compress(b"disk")
        with os.fdopen(writable, "wb") as pen:
            pen.write(packed)
        with os.fdopen(readable, "rb", buffering=0) as stream:
            found = read_image(stream, None)
        assert summed(found) == expected(b"disk", packed)


class TestKeeping:
    def test_where_it_is(self, tmp_path: Path) -> None:
        path = taken(tmp_path, gzip.compress(DISK))
        assert path == tmp_path / "images" / identifier(DISK) / "image" == content(tmp_path, identifier(DISK))
        assert path.read_bytes() == DISK
        assert [oct(one.stat().st_mode & 0o777) for one in (path, path.parent, path.parent.parent)] == ["0o400", "0o700", "0o700"]
        assert everything(tmp_path) == [f"images/{identifier(DISK)}/image"]

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "images" / identifier(b"x")).mkdir(parents=True)
        for name in (identifier(b"x"), identifier(b"y"), "", "..", "../images", "/etc/passwd"):
            assert content(tmp_path, name) is None

    def test_a_second_time(self, tmp_path: Path) -> None:
        first = taken(tmp_path, DISK).stat()
        assert taken(tmp_path, DISK).stat().st_ino == first.st_ino
        assert everything(tmp_path) == [f"images/{identifier(DISK)}/image"]

    def test_what_is_refused_is_not_kept(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="qcow2"):
            taken(tmp_path, b"QFI\xfb")
        with pytest.raises(StratusLabError, match="too early"):
            taken(tmp_path, gzip.compress(DISK)[:-5])
        assert everything(tmp_path) == []

    def test_a_process_that_is_killed_leaves_nothing_for_long(self, tmp_path: Path) -> None:
        program = """
import os, sys
from pathlib import Path
from stratuslab.local.images.image_store import IncomingFile
with IncomingFile(Path(sys.argv[1])) as file:
    os.write(file.descriptor, b"half of it")
    print("written", flush=True)
    sys.stdin.read()
"""
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            taken(tmp_path, DISK)
            # It lives, and what it writes is left alone.
            assert len(everything(tmp_path)) == 2
            process.send_signal(signal.SIGKILL)
        assert len(everything(tmp_path)) == 2
        taken(tmp_path, b"another")
        assert everything(tmp_path) == sorted(f"images/{identifier(data)}/image" for data in (DISK, b"another"))

    def test_downloads_that_nobody_continues(self, tmp_path: Path) -> None:
        place = tmp_path / "images" / "partial"
        place.mkdir(parents=True)
        for name, days in (("old", 40), ("old.validator", 40), ("used", 40), ("new", 1)):
            (place / name).touch()
            os.utime(place / name, (0, (tmp_path.stat().st_mtime) - days * 86400))
        assert PARTIAL_SECONDS == 30 * 86400
        used = open_locked(place / "used")
        with IncomingFile(tmp_path):
            assert sorted(path.name for path in place.iterdir()) == ["new", "used"]
        os.close(used)


class TestNoSpace:
    def test_beforehand(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.images.free_space.free", lambda place: 512 * 10**6)
        with pytest.raises(NoSpace) as raised:
            require(tmp_path, 2 * 10**9)
        assert raised.value.message == f"the disk of {tmp_path} is full: the image needs 2 GB, 512 MB are free"

    @pytest.mark.parametrize("call", ["pwrite", "ftruncate", "fsync"])
    def test_while_writing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, call, full)
        with pytest.raises(NoSpace, match="is full") as raised:
            taken(tmp_path, DISK)
        assert "\n" not in str(raised.value)
        assert everything(tmp_path) == []

    def test_what_the_store_needs_stays_free(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.images.image_reader.free", lambda place: 0)
        monkeypatch.setattr("stratuslab.local.images.image_reader._CHECKED", 1000)
        with pytest.raises(NoSpace):
            taken(tmp_path, DISK)
        assert everything(tmp_path) == []


CREATED = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)


class TestEntries:
    @pytest.fixture
    def clock(self) -> StoppedClock:
        return StoppedClock()

    @given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
    def test_any_text(self, title: str, description: str, location: str) -> None:
        made = endorsed(Metadata(identifier(b""), 0, checksums(b""), title, description, locations=(location,)), CREATED)
        found = read_entry(made.document.encode())
        assert (found.key, found.metadata.bytes) == ((identifier(b""), ENDORSER, "2026-11-22T10:00:00Z"), 0)
        if title.isprintable() and title == title.strip():
            assert found.title == (title or identifier(b""))

    def test_our_client_reads_all_of_it(self, tmp_path: Path, clock: StoppedClock) -> None:
        found = checksums(DISK)
        made = Metadata(
            identifier(DISK),
            len(DISK),
            found,
            'a <b> & "c"',
            os="x",
            format="qcow2",
            locations=("file:///a", "http://b"),
        )
        taken(tmp_path, DISK)
        store = open_store(tmp_path, clock())
        added, _ = MarketplaceEntries(store, clock()).register(made)
        ((document, _),) = MarketplaceEntries(store, clock()).of_image(identifier(DISK))
        metadata = read_metadata(document.encode(), identifier(DISK), datetime.fromtimestamp(clock(), timezone.utc))
        assert metadata == added
        assert (metadata.bytes, metadata.checksums, metadata.title) == (len(DISK), found, 'a <b> & "c"')
        assert (metadata.format, metadata.locations) == ("qcow2", ("file:///a", "http://b"))
        assert not metadata.expired(datetime.fromtimestamp(clock(), timezone.utc))
        assert read_entry(document.encode()).key[2][:4] == "2026"

    def test_there_is_none_without_its_content(self, tmp_path: Path, clock: StoppedClock) -> None:
        store = open_store(tmp_path, clock())
        with pytest.raises(ImageError, match="reset, meanwhile"):
            MarketplaceEntries(store, clock()).register(Metadata(identifier(DISK), len(DISK), checksums(DISK), "first"))
        assert MarketplaceEntries(store, clock()).of_image(identifier(DISK)) == []

    def test_there_is_one_of_an_image(self, tmp_path: Path, clock: StoppedClock) -> None:
        taken(tmp_path, DISK)
        store = open_store(tmp_path, clock())
        made = Metadata(identifier(DISK), len(DISK), checksums(DISK), "first")
        first, has_one_more = MarketplaceEntries(store, clock()).register(made)
        (before,) = store.query("SELECT id, title FROM entries WHERE identifier = ?", (identifier(DISK),))
        assert not has_one_more
        MarketplaceEntries(store, clock()).keep(endorsed(replace(made, identifier=identifier(b"x"), email="a@b"), CREATED))
        clock.now += 100
        again, has_one_more = MarketplaceEntries(store, clock()).register(replace(made, title="second"))
        assert (again.names, again.created, has_one_more) == (("first", "second"), first.created, True)
        assert store.query("SELECT id, title FROM entries WHERE identifier = ?", (identifier(DISK),)) == [before]
