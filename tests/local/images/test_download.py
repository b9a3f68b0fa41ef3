"""Downloads over real sockets, from servers that break off, change their mind and lie."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratuslab.errors import ConfigurationError, NotFound, PermissionDenied, StratusLabError, Unreachable, UsageError
from stratuslab.local.images import ImageError, ProgressListener, download
from stratuslab.local.images.download import Download
from stratuslab.local.images.free_space import NoSpace
from stratuslab.local.images.image_reader import SparseFile
from tests.fakes import scripted_server as servers
from tests.fakes.certificate_authority import Authority
from tests.fakes.file_server import TAG, broken_off, by_range, redirects, refuses, whole
from tests.fakes.scripted_server import Answer, Scripted, ScriptedServer, head

FILE = random.Random(6).randbytes(3 << 20)

pytestmark = pytest.mark.usefixtures("no_pauses")


@pytest.fixture
def secure(scripted: Scripted, authority: Authority) -> Callable[[Answer], ScriptedServer]:
    def start(answer: Answer) -> ScriptedServer:
        return scripted(answer, tls=authority.server("127.0.0.1"))

    return start


@pytest.fixture
def bundle(authority: Authority) -> Path:
    return authority.bundle


class Told(ProgressListener):
    def __init__(self) -> None:
        self.steps: list[str] = []
        self.moves: list[tuple[str, int, int | None]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def moved(self, what: str, done: int, total: int | None) -> None:
        self.moves.append((what, done, total))


def fetched(directory: Path, url: str, **options: Any) -> bytes:
    with Download(directory, url, **options) as file:
        file.fetch()
        return file.path.read_bytes()


def partial(directory: Path) -> list[int]:
    """The sizes of what is kept of downloads."""
    return [path.stat().st_size for path in (directory / "images" / "partial").iterdir() if not path.suffix]


def ranges(server: ScriptedServer) -> list[str]:
    return [request.headers.get("range", "") for request in server.requests]


class TestContinuing:
    def test_in_one_go(self, scripted: Scripted, tmp_path: Path) -> None:
        told = Told()
        server = scripted(whole(FILE))
        assert fetched(tmp_path, f"{server.url}/image", listener=told) == FILE
        assert told.moves[-1] == ("Downloading", len(FILE), len(FILE))
        assert (server.requests[0].target, server.requests[0].headers["accept-encoding"]) == ("/image", "identity")

    @pytest.mark.parametrize("reset", [False, True])
    def test_a_connection_that_breaks(self, scripted: Scripted, tmp_path: Path, reset: bool) -> None:
        told = Told()
        server = scripted(broken_off(FILE, 2 << 20, reset=reset), by_range(FILE))
        assert fetched(tmp_path, server.url, listener=told) == FILE
        asked = ranges(server)
        assert asked[0] == ""
        assert 0 < int(asked[1].removeprefix("bytes=").rstrip("-")) <= 2 << 20
        assert server.requests[1].headers["if-range"] == TAG
        assert "Trying again" in told.steps[0]

    def test_again_and_again(self, scripted: Scripted, tmp_path: Path) -> None:
        """An attempt that brings something is no failed one."""
        server = scripted(by_range(FILE, end=1 << 20), by_range(FILE, end=2 << 20), by_range(FILE))
        assert fetched(tmp_path, server.url) == FILE
        assert ranges(server) == ["", f"bytes={1 << 20}-", f"bytes={2 << 20}-"]

    def test_by_another_process_later(self, scripted: Scripted, tmp_path: Path) -> None:
        server = scripted(*[broken_off(FILE, 1 << 20)] * download.ATTEMPTS, by_range(FILE))
        with pytest.raises(Unreachable, match="its answer was incomplete") as raised:
            fetched(tmp_path, server.url)
        assert "the download is resumed" in raised.value.hint
        assert partial(tmp_path) == [1 << 20]
        assert fetched(tmp_path, server.url) == FILE
        assert ranges(server)[-1] == f"bytes={1 << 20}-"

    def test_after_an_interruption(self, scripted: Scripted, tmp_path: Path) -> None:
        class Interrupting(ProgressListener):
            def moved(self, what: str, done: int, total: int | None) -> None:
                if done > 1 << 20:
                    raise KeyboardInterrupt

        server = scripted(whole(FILE), by_range(FILE))
        with pytest.raises(KeyboardInterrupt):
            fetched(tmp_path, server.url, listener=Interrupting())
        (size,) = partial(tmp_path)
        assert 1 << 20 < size < len(FILE)
        assert fetched(tmp_path, server.url) == FILE
        assert ranges(server) == ["", f"bytes={size}-"]

    def test_what_was_whole_already(self, scripted: Scripted, tmp_path: Path) -> None:
        server = scripted(by_range(FILE))
        assert fetched(tmp_path, server.url) == FILE
        assert fetched(tmp_path, server.url) == FILE
        assert ranges(server) == ["", f"bytes={len(FILE)}-"]

    def test_another_file_by_now(self, scripted: Scripted, tmp_path: Path) -> None:
        other = FILE[::-1][: 2 << 20]
        server = scripted(broken_off(FILE, 1 << 20), by_range(other, '"two"'))
        assert fetched(tmp_path, server.url) == other

    def test_another_file_of_a_server_that_does_not_look(self, scripted: Scripted, tmp_path: Path) -> None:
        """It continues with the rest of another file, and says so with its tag."""

        def careless(conversation: servers.Conversation) -> None:
            conversation.read_request()
            place = f"bytes {1 << 20}-{len(FILE) - 1}/{len(FILE)}"
            conversation.send(
                head("206 Partial Content", Content_Length=len(FILE) - (1 << 20), Content_Range=place, ETag='"two"')
            )

        server = scripted(broken_off(FILE, 1 << 20), careless, by_range(FILE[::-1], '"two"'))
        assert fetched(tmp_path, server.url) == FILE[::-1]

    def test_a_server_that_ignores_ranges(self, scripted: Scripted, tmp_path: Path) -> None:
        server = scripted(broken_off(FILE, 1 << 20), whole(FILE))
        assert fetched(tmp_path, server.url) == FILE

    @pytest.mark.parametrize("place", ["bytes 0-9/10", "bytes 5-9", "", "bytes 99999999999999999999-1/1", "lines 1-2/3"])
    def test_a_server_that_sends_another_part(self, scripted: Scripted, tmp_path: Path, place: str) -> None:
        def confused(conversation: servers.Conversation) -> None:
            conversation.read_request()
            conversation.send(head("206 Partial Content", Content_Length=4, Content_Range=place, ETag=TAG) + b"nope")

        server = scripted(broken_off(FILE, 1 << 20), confused, whole(FILE))
        assert fetched(tmp_path, server.url) == FILE

    def test_a_part_that_nobody_asked_for(self, scripted: Scripted, tmp_path: Path) -> None:
        unasked = servers.raw(head("206 Partial Content", Content_Length=4, Content_Range="bytes 0-3/9") + b"nope")
        assert fetched(tmp_path, scripted(unasked, whole(FILE)).url) == FILE

    def test_without_anything_to_tell_versions_apart(self, scripted: Scripted, tmp_path: Path) -> None:
        server = scripted(broken_off(FILE, 1 << 20, tag=""), whole(FILE, tag=""))
        assert fetched(tmp_path, server.url) == FILE
        assert ranges(server) == ["", ""]

    @pytest.mark.parametrize("tag", ['W/"weak"', ""])
    def test_by_its_date(self, scripted: Scripted, tmp_path: Path, tag: str) -> None:
        date = "Sun, 22 Nov 2026 11:00:00 GMT"
        server = scripted(broken_off(FILE, 1 << 20, tag, Last_Modified=date), by_range(FILE, date))
        assert fetched(tmp_path, server.url) == FILE
        assert server.requests[1].headers["if-range"] == date

    @pytest.mark.parametrize("noted", [b"", b"\0\0", b"\nx", b"\xff", b"x"])
    def test_a_note_that_is_damaged(self, scripted: Scripted, tmp_path: Path, noted: bytes) -> None:
        server = scripted(*[broken_off(FILE, 9)] * download.ATTEMPTS, whole(FILE))
        with pytest.raises(Unreachable):
            fetched(tmp_path, server.url)
        (note,) = (tmp_path / "images" / "partial").glob("*.validator")
        note.write_bytes(noted)
        assert fetched(tmp_path, server.url) == FILE


class TestServers:
    @pytest.mark.parametrize("status", ["500 Oops", "503 Busy", "429 Slowly"])
    def test_busy_for_a_while(self, scripted: Scripted, tmp_path: Path, status: str) -> None:
        assert fetched(tmp_path, scripted(refuses(status), refuses(status), whole(FILE)).url) == FILE

    @pytest.mark.parametrize("answer", [servers.closes, servers.resets, servers.raw(b"SSH-2.0-x\r\n"), refuses("503 Busy")])
    def test_in_vain(self, scripted: Scripted, tmp_path: Path, answer: Answer) -> None:
        server = scripted(answer)
        with pytest.raises(Unreachable) as raised:
            fetched(tmp_path, server.url)
        assert "\n" not in str(raised.value)
        assert server.connections == download.ATTEMPTS
        assert partial(tmp_path) == []

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("404 Not Found", NotFound),
            ("410 Gone", NotFound),
            ("403 Forbidden", PermissionDenied),
            ("401 Who", PermissionDenied),
            ("400 What", Unreachable),
            ("304 Not Modified", Unreachable),
        ],
    )
    def test_refusals(self, scripted: Scripted, tmp_path: Path, status: str, kind: type[StratusLabError]) -> None:
        server = scripted(refuses(status))
        with pytest.raises(kind, match=f"the server answered {status}"):
            fetched(tmp_path, server.url)
        assert (server.connections, partial(tmp_path)) == (1, [])

    def test_nobody_listens(self, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="refused"):
            fetched(tmp_path, "http://127.0.0.1:1/image")

    @pytest.mark.parametrize(
        "url",
        [
            "http://",
            "http://[",
            "http:///x",
            "http://exa mple/x",
            "http://x:99999/",
            "http://x/\udcff",
            "http://a..b/",
            "http://.a/",
            "http://" + "a" * 99,
        ],
    )
    def test_no_address(self, tmp_path: Path, url: str) -> None:
        with pytest.raises((UsageError, Unreachable)):
            fetched(tmp_path, url)

    @pytest.mark.parametrize("pieces", [[FILE[:1000], FILE[1000:]]])
    def test_without_a_length(self, scripted: Scripted, tmp_path: Path, pieces: list[bytes]) -> None:
        assert fetched(tmp_path, scripted(servers.chunked(pieces)).url + "/a") == FILE
        assert fetched(tmp_path, scripted(servers.without_length(FILE)).url + "/b") == FILE
        unfinished = scripted(servers.chunked(pieces, finished=False), whole(FILE))
        assert fetched(tmp_path, unfinished.url) == FILE
        assert unfinished.connections == 2

    def test_compressed_for_the_way(self, scripted: Scripted, tmp_path: Path) -> None:
        """Servers say so of files that are compressed by themselves; those must stay what they are."""
        packed = gzip.compress(FILE)
        assert fetched(tmp_path, scripted(whole(packed, Content_Encoding="gzip")).url) == packed

    def test_user_and_password(self, scripted: Scripted, tmp_path: Path) -> None:
        elsewhere = scripted(whole(FILE))
        server = scripted(redirects(f"{elsewhere.url}/there"))
        url = server.url.replace("http://", "http://alice:s%40cret@")
        assert fetched(tmp_path, f"{url}/x?token=1") == FILE
        assert server.requests[0].headers["authorization"] == "Basic YWxpY2U6c0BjcmV0"
        assert "authorization" not in elsewhere.requests[0].headers
        assert not any(b"cret" in path.read_bytes() for path in (tmp_path / "images" / "partial").glob("*.validator"))


class TestLimits:
    def test_announced(self, scripted: Scripted, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="larger than the expected 1 MB"):
            fetched(tmp_path, scripted(whole(FILE)).url, limit=1000000)
        assert partial(tmp_path) == []

    @pytest.mark.parametrize("endless", [servers.endless(b"disk", bytes(1000)), servers.endless(b"disk", FILE)])
    def test_not_announced(self, scripted: Scripted, tmp_path: Path, endless: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = []
        write = SparseFile.write

        def watched(file: SparseFile, data: bytes) -> None:
            write(file, data)
            sizes.append(file.size)

        monkeypatch.setattr(SparseFile, "write", watched)
        with pytest.raises(ImageError, match="larger than"):
            fetched(tmp_path, scripted(endless).url, limit=1000000)
        assert max(sizes) <= 1000000
        assert partial(tmp_path) == []

    def test_what_does_not_compress_is_a_little_larger(self, scripted: Scripted, tmp_path: Path) -> None:
        packed = gzip.compress(FILE)
        assert len(packed) > len(FILE)
        assert fetched(tmp_path, scripted(whole(packed)).url, limit=len(FILE)) == packed

    @pytest.mark.parametrize("length", [100, len(FILE) - 1])
    def test_more_than_announced(self, scripted: Scripted, tmp_path: Path, length: int) -> None:
        server = scripted(servers.raw(head(Content_Length=length) + FILE))
        assert fetched(tmp_path, server.url) == FILE[:length]

    def test_less_than_announced(self, scripted: Scripted, tmp_path: Path) -> None:
        server = scripted(whole(FILE, Content_Length=len(FILE) + 10))
        with pytest.raises(Unreachable, match="incomplete"):
            fetched(tmp_path, server.url)

    def test_a_full_disk_beforehand(self, scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("stratuslab.local.images.free_space.free", lambda place: 2_000_000)
        with pytest.raises(NoSpace, match=r"is full: the image needs 3.15 MB, 2 MB are free"):
            fetched(tmp_path, scripted(whole(FILE)).url)
        assert partial(tmp_path) == []

    def test_a_full_disk_in_the_middle(self, scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write = os.pwrite

        def full(descriptor: int, data: bytes, offset: int) -> int:
            if offset > 1 << 20:
                raise OSError(28, "No space left on device")
            return write(descriptor, data, offset)

        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(NoSpace, match=r"is full: .* are free, and the image needs more"):
            fetched(tmp_path, scripted(whole(FILE)).url)
        assert partial(tmp_path) == []


class TestRedirects:
    def test_are_followed(self, scripted: Scripted, tmp_path: Path) -> None:
        target = scripted(by_range(FILE))
        server = scripted(redirects("/next"), redirects(f"{target.url}/file?x=1"))
        assert fetched(tmp_path, f"{server.url}/image") == FILE
        assert [request.target for request in server.requests] == ["/image", "/next"]

    @pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "local://marketplace/x", "//[", "gopher:"])
    def test_that_lead_elsewhere(self, scripted: Scripted, tmp_path: Path, location: str) -> None:
        with pytest.raises(Unreachable, match="not allowed"):
            fetched(tmp_path, scripted(redirects(location)).url)

    def test_in_circles(self, scripted: Scripted, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="circles"):
            fetched(tmp_path, scripted(redirects("/")).url)


class TestTls:
    def test_trusted(self, secure: Scripted, bundle: Path, tmp_path: Path) -> None:
        assert fetched(tmp_path, secure(whole(FILE)).url, verify=str(bundle)) == FILE

    def test_not_trusted(self, secure: Scripted, tmp_path: Path) -> None:
        server = secure(whole(FILE))
        with pytest.raises(Unreachable, match="TLS certificate is not trusted"):
            fetched(tmp_path, server.url)
        assert server.requests == []

    def test_never_down_to_http(self, secure: Scripted, scripted: Scripted, bundle: Path, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="not allowed"):
            fetched(tmp_path, secure(redirects(f"{scripted(whole(FILE)).url}/x")).url, verify=str(bundle))

    def test_no_such_certificates(self, secure: Scripted, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot read"):
            fetched(tmp_path, secure(whole(FILE)).url, verify=str(tmp_path / "missing.pem"))


def _digest(directory: str, url: str, results: multiprocessing.Queue[str]) -> None:
    results.put(hashlib.sha1(fetched(Path(directory), url)).hexdigest())


def test_two_at_once(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(by_range(FILE))
    spawn = multiprocessing.get_context("fork")
    results = spawn.Queue()
    both = [spawn.Process(target=_digest, args=(str(tmp_path), server.url, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert {results.get(timeout=30) for _ in both} == {hashlib.sha1(FILE).hexdigest()}
    for process in both:
        process.join()
    assert partial(tmp_path) == [len(FILE)]


def test_it_is_closed_to_others(scripted: Scripted, tmp_path: Path) -> None:
    fetched(tmp_path / "cloud", scripted(whole(FILE)).url)
    place = tmp_path / "cloud" / "images" / "partial"
    assert [path.stat().st_mode & 0o077 for path in (place, place.parent, *place.iterdir()) if not path.suffix] == [0, 0, 0]
