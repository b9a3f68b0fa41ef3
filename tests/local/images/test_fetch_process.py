"""Images that machines fetch by their entries: checked against all that the entry says, once for all who ask, in a process that
ends with its starter."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from stratuslab.errors import StratusLabError
from stratuslab.local.images import ImageError
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries, endorsed
from stratuslab.local.images.fetch_process import ImageFetcher, trusted
from stratuslab.local.images.free_space import NoSpace
from stratuslab.local.images.image_store import content, obtain
from stratuslab.local.images.initialized_store import open_store
from stratuslab.local.store.stored_records import ADMINISTRATOR, User
from stratuslab.marketplace.metadata import Metadata
from tests.fakes import scripted_server as servers
from tests.fakes.file_server import broken_off, by_range, refuses, whole
from tests.fakes.scripted_server import Scripted
from tests.harness import CHECKOUT
from tests.local.images.test_image_store import checksums, everything, identifier

DISK = random.Random(2).randbytes(100_000) + bytes(1 << 20)

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cloud"


CREATED = datetime(2026, 11, 22, 10, tzinfo=timezone.utc)


def described(data: bytes, *locations: str) -> Metadata:
    return Metadata(identifier(data), len(data), checksums(data), "disk", locations=locations)


def publish(directory: Path, metadata: Metadata, user: User = ADMINISTRATOR) -> str:
    store = open_store(directory, time.time())
    MarketplaceEntries(store, time.time()).add(endorsed(metadata, CREATED).document.encode(), user)
    store.close()
    return metadata.identifier


def images(directory: Path) -> list[str]:
    return [name for name in everything(directory) if name.startswith("images/")]


class TestTheContent:
    @pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
    def test_as_the_entry_says(self, scripted: Scripted, directory: Path, pack: Callable[[bytes], bytes]) -> None:
        server = scripted(whole(pack(DISK)))
        name = publish(directory, described(DISK, f"{server.url}/disk"))
        path = ImageFetcher(directory).fetch(name)
        assert (path, path.read_bytes()) == (content(directory, name), DISK)
        assert images(directory) == [f"images/{name}/image"]
        assert ImageFetcher(directory).fetch(name) == path
        assert server.connections == 1

    @pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
    def test_of_an_entry_about_the_compressed_file(
        self, scripted: Scripted, directory: Path, pack: Callable[[bytes], bytes]
    ) -> None:
        packed = pack(DISK)
        name = publish(directory, described(packed, scripted(whole(packed)).url))
        assert ImageFetcher(directory).fetch(name).read_bytes() == DISK

    @pytest.mark.parametrize("other", ["bytes", "MD5", "SHA-256", "SHA-512"])
    def test_of_an_entry_about_both(self, scripted: Scripted, directory: Path, other: str) -> None:
        """The figures are all of the file, or all of its content."""
        packed = gzip.compress(DISK)
        mixed = described(packed, scripted(whole(packed)).url)
        if other == "bytes":
            mixed = replace(mixed, bytes=len(DISK))
        else:
            mixed = replace(mixed, checksums={**mixed.checksums, other: checksums(DISK)[other]})
        with pytest.raises(ImageError, match="the Marketplace says"):
            ImageFetcher(directory).fetch(publish(directory, mixed))
        assert images(directory) == []

    @pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512", "SHA-384"])
    def test_every_checksum_counts(self, scripted: Scripted, directory: Path, algorithm: str) -> None:
        good = described(DISK, scripted(whole(DISK)).url)
        name = publish(directory, replace(good, checksums={**good.checksums, algorithm: "0123"}))
        with pytest.raises(ImageError, match=rf"{algorithm} is [0-9a-f]+, the Marketplace says 0123\Z"):
            ImageFetcher(directory).fetch(name)
        assert images(directory) == []

    def test_another_file(self, scripted: Scripted, directory: Path) -> None:
        server = scripted(whole(bytes(len(DISK))))
        name = publish(directory, described(DISK, f"{server.url}/disk?token=secret"))
        with pytest.raises(ImageError) as raised:
            ImageFetcher(directory).fetch(name)
        found, wanted = (hashlib.sha1(data).hexdigest() for data in (bytes(len(DISK)), DISK))
        where = f"{server.url}/disk?token=***"
        assert str(raised.value) == f"image {name} from {where}: its SHA-1 is {found}, the Marketplace says {wanted}"
        assert images(directory) == []

    @pytest.mark.parametrize(
        ("served", "why"),
        [
            (DISK[:-1], r"its size is 1148575 bytes, the Marketplace says 1148576"),
            (gzip.compress(DISK[:-1], mtime=0), r"its size is 1148575 bytes"),
            (DISK + b"x", r"it is larger than the expected 1\.15 MB"),
            (gzip.compress(DISK + b"x", mtime=0), r"its content is larger than the expected 1\.15 MB"),
            (gzip.compress(bytes(1 << 28), mtime=0), r"its content is larger"),
            (gzip.compress(DISK, mtime=0)[:-4], r"the file ends too early"),
            (b"", r"its size is 0 bytes"),
            (b"<html>Login</html>", r"its size is 18 bytes"),
        ],
    )
    def test_of_another_size(self, scripted: Scripted, directory: Path, served: bytes, why: str) -> None:
        name = publish(directory, described(DISK, scripted(whole(served)).url))
        with pytest.raises(ImageError, match=why):
            ImageFetcher(directory).fetch(name)
        assert images(directory) == []

    def test_that_leads_out_of_itself(self, scripted: Scripted, directory: Path) -> None:
        """The Marketplace may vouch for it, but it would read other files of this computer."""
        from tests.local.images.test_image_format import qcow2

        disk = qcow2(backing=1024, backing_length=11)
        with pytest.raises(ImageError, match="backing file"):
            ImageFetcher(directory).fetch(publish(directory, described(disk, scripted(whole(disk)).url)))
        assert images(directory) == []

    def test_a_full_disk(self, scripted: Scripted, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        name = publish(directory, described(DISK, *[scripted(whole(DISK)).url] * 2))
        monkeypatch.setattr("stratuslab.local.images.free_space.free", lambda place: 1000)
        with pytest.raises(NoSpace, match=rf"image {name}: the disk of .* is full: the image needs 1\.15 MB, 1 KB are free"):
            ImageFetcher(directory).fetch(name)
        assert images(directory) == []


class TestLocations:
    def test_one_after_the_other(self, scripted: Scripted, directory: Path) -> None:
        bad = scripted(whole(b"wrong"))
        gone = scripted(refuses("404 Not Found"))
        good = scripted(whole(DISK))
        name = publish(directory, described(DISK, "file:///etc/passwd", bad.url, gone.url, good.url))
        assert ImageFetcher(directory).fetch(name).read_bytes() == DISK

    def test_all_in_vain(self, scripted: Scripted, directory: Path) -> None:
        bad, gone = scripted(whole(b"wrong")), scripted(refuses("404 Not Found"))
        name = publish(directory, described(DISK, bad.url, gone.url))
        with pytest.raises(ImageError) as raised:
            ImageFetcher(directory).fetch(name)
        assert str(raised.value) == (
            f"image {name} from {bad.url}: its size is 5 bytes, the Marketplace says {len(DISK)}; "
            f"from {gone.url}: the server answered 404 Not Found"
        )

    def test_of_several_endorsers(self, scripted: Scripted, directory: Path) -> None:
        good = described(DISK, scripted(whole(DISK)).url)
        publish(directory, replace(good, email="alice@example.org"))
        name = publish(directory, replace(good, email="bob@example.org", locations=("local://images/x",)))
        assert ImageFetcher(directory).fetch(name).read_bytes() == DISK

    def test_none(self, directory: Path) -> None:
        name = publish(directory, described(DISK, "local://images/x", "file:///etc/passwd"))
        with pytest.raises(ImageError, match="names no http or https location"):
            ImageFetcher(directory).fetch(name)

    def test_not_in_the_marketplace(self, directory: Path) -> None:
        with pytest.raises(StratusLabError, match="is not in this cloud's Marketplace"):
            ImageFetcher(directory).fetch(identifier(DISK))
        for name in ("", "../x", "x" * 27):
            with pytest.raises(ImageError, match="not an image identifier"):
                ImageFetcher(directory).fetch(name)

    def test_an_entry_elsewhere(self, scripted: Scripted, directory: Path) -> None:
        made = described(DISK, scripted(whole(DISK)).url)
        elsewhere = scripted(servers.document(f"<metadata>{endorsed(made, CREATED).document}</metadata>".encode()))
        name = made.identifier
        url = f"{elsewhere.url}/marketplace/metadata/{name}"
        assert ImageFetcher(directory).fetch(name, url).read_bytes() == DISK
        assert elsewhere.requests[0].target == f"/marketplace/metadata/{name}"

    def test_no_entry_elsewhere_either(self, scripted: Scripted, directory: Path) -> None:
        name = identifier(DISK)
        with pytest.raises(StratusLabError, match="no image"):
            ImageFetcher(directory).fetch(name, f"{scripted(refuses('404 Not Found')).url}/metadata/{name}")
        for url in ("https://example.org/disk", f"file:///metadata/{name}"):
            with pytest.raises(ImageError, match="not the URL of the metadata"):
                ImageFetcher(directory).fetch(name, url)

    def test_certificates(self) -> None:
        assert trusted({}) is True
        assert trusted({"REQUESTS_CA_BUNDLE": "/a"}) == "/a"
        assert trusted({"REQUESTS_CA_BUNDLE": "/a", "STRATUSLAB_CA_BUNDLE": "/b"}) == "/b"


class TestStrangers:
    """Users who are not the owner of the cloud do not reach this computer or its network, nor learn what is there."""

    def test_their_machines(self, scripted: Scripted, directory: Path) -> None:
        server = scripted(whole(DISK))
        name = publish(directory, described(DISK, server.url))
        for url in ("", f"{server.url}/metadata/{name}"):
            with pytest.raises(ImageError) as raised:
                obtain(directory, name, os.environ, url, stranger=True)
            assert raised.value.message == f"image {name} from {server.url}: its address is not a public one"
        with pytest.raises(ImageError, match="its address is not a public one"):
            other = identifier(b"other")
            obtain(directory, other, os.environ, f"{server.url}/metadata/{other}", stranger=True)
        assert server.connections == 0
        environ = {**os.environ, "STRATUSLAB_DOWNLOAD_NETWORKS": "127.0.0.0/8", "http_proxy": "http://127.0.0.1:1"}
        assert obtain(directory, name, environ, stranger=True).read_bytes() == DISK

    def test_their_entries(self, scripted: Scripted, directory: Path) -> None:
        server = scripted(whole(DISK))
        name = publish(directory, described(DISK, server.url), User(7, "mallory"))
        with pytest.raises(ImageError, match="its address is not a public one"):
            ImageFetcher(directory).fetch(name)
        assert server.connections == 0

    def test_what_they_learn(self, scripted: Scripted, directory: Path) -> None:
        name = publish(directory, described(DISK, scripted(whole(b"secret"), whole(b"secret")).url))
        with pytest.raises(ImageError) as raised:
            ImageFetcher(directory, stranger=True, networks="any").fetch(name)
        assert raised.value.message.endswith("it is not the image that the Marketplace describes")
        with pytest.raises(ImageError, match="its size is 6 bytes"):
            ImageFetcher(directory).fetch(name)


class TestObtaining:
    """In a process of its own, as a supervisor has it done."""

    def test_what_exists(self, directory: Path, scripted: Scripted) -> None:
        name = publish(directory, described(DISK, scripted(whole(DISK)).url))
        path = ImageFetcher(directory).fetch(name)
        assert obtain(directory, name, {}) == path

    def test_what_is_not(self, directory: Path, scripted: Scripted) -> None:
        name = publish(directory, described(DISK, scripted(broken_off(DISK, 1000), by_range(DISK)).url))
        assert obtain(directory, name, os.environ).read_bytes() == DISK
        assert images(directory) == [f"images/{name}/image"]

    def test_an_error_is_one_line(self, directory: Path, scripted: Scripted, capfd: pytest.CaptureFixture[str]) -> None:
        server = scripted(refuses("404 Not\tHere"))
        name = publish(directory, described(DISK, server.url))
        with pytest.raises(ImageError) as raised:
            obtain(directory, name, os.environ)
        assert raised.value.message == f"image {name} from {server.url}: the server answered 404 Not Here"
        assert capfd.readouterr() == ("", "")

    def test_a_store_that_is_damaged(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "cloud.sqlite").write_bytes(b"no database" * 1000)
        with pytest.raises(ImageError, match="damaged"):
            obtain(directory, identifier(DISK), os.environ)

    def test_this_process_stays_small(self) -> None:
        program = "import sys; from stratuslab.local.images.image_store import obtain; print(*sys.modules)"
        ran = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        assert {"requests", "paramiko", "sqlite3", "hashlib"} & set(ran.stdout.split()) == set()

    def test_several_at_once_download_it_once(self, directory: Path, scripted: Scripted) -> None:
        asked, go = threading.Semaphore(0), threading.Event()

        def slowly(conversation: servers.Conversation) -> None:
            conversation.read_request()
            asked.release()
            go.wait(servers.PATIENCE)
            conversation.send(servers.head(Content_Length=len(DISK)) + DISK)

        server = scripted(slowly)
        name = publish(directory, described(DISK, server.url))
        found: list[Path] = []
        several = [threading.Thread(target=lambda: found.append(obtain(directory, name, os.environ))) for _ in range(3)]
        for one in several:
            one.start()
        assert asked.acquire(timeout=30)
        go.set()
        for one in several:
            one.join(60)
        assert found == [content(directory, name)] * 3
        assert server.connections == 1
        assert images(directory) == [f"images/{name}/image"]

    @pytest.mark.parametrize("group", [True, False])
    def test_it_ends_with_its_starter(self, directory: Path, scripted: Scripted, group: bool) -> None:
        """Killed as a group, as an instance is, and also alone: the connection to the server ends."""
        asked, gone = threading.Event(), threading.Event()

        def never(conversation: servers.Conversation) -> None:
            conversation.read_request()
            asked.set()
            if conversation.socket.recv(1) == b"":
                gone.set()

        name = publish(directory, described(DISK, scripted(never).url))
        program = "import os, sys; from pathlib import Path; from stratuslab.local.images.image_store import obtain; "
        program += "obtain(Path(sys.argv[1]), sys.argv[2], os.environ)"
        starter = subprocess.Popen([sys.executable, "-c", program, str(directory), name], cwd=CHECKOUT, start_new_session=True)
        assert asked.wait(30)
        (os.killpg if group else os.kill)(starter.pid, signal.SIGKILL)
        starter.wait(10)
        assert gone.wait(10)
        assert content(directory, name) is None
        # And the next one is not kept waiting by what is left.
        publish(directory, described(DISK, scripted(whole(DISK)).url))
        assert obtain(directory, name, os.environ).read_bytes() == DISK
