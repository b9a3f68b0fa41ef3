"""The catalogues that stratus-search-image keeps: when they are used, and what becomes of those that cannot be."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.marketplace import catalogue_cache
from stratuslab.marketplace.metadata import Metadata
from tests.commands.test_search_image import small_entry
from tests.fakes.scripted_server import Conversation, Scripted, ScriptedServer, head
from tests.harness import Shell

TITLED = b"<dcterms:title>caf\xc3\xa9 %d</dcterms:title><dcterms:created>2026-11-22T10:00:00Z</dcterms:created>"


class CatalogueServer:
    """A Marketplace whose catalogue has a version, which it gives as validators; it can be out of order."""

    def __init__(self, validators: bool = True, cached: str = "private") -> None:
        self.version = 1
        self.out_of_order = False
        self.validators = validators
        self.cached = cached
        self.sent: list[int] = []
        self.server = ScriptedServer(self.answer)
        self.url = self.server.url

    def answer(self, conversation: Conversation) -> None:
        asked = conversation.read_request().headers
        tag = f'"v{self.version}"'
        if self.out_of_order:
            conversation.send(head("503 Service Unavailable", Content_Length=0))
        elif self.validators and asked.get("if-none-match") == tag:
            assert asked["if-modified-since"] == "Sun, 22 Nov 2026 10:00:00 GMT"
            self.sent.append(304)
            conversation.send(head("304 Not Modified", ETag=tag))
        else:
            self.sent.append(200)
            body = (
                b"<metadata>"
                + b"".join(small_entry(n, TITLED % n) for n in range(self.version, self.version + 3))
                + b"</metadata>"
            )
            given: dict[str, str] = {"ETag": tag, "Last_Modified": "Sun, 22 Nov 2026 10:00:00 GMT"} if self.validators else {}
            conversation.send(head("200 OK", Content_Length=len(body), Cache_Control=self.cached, **given) + body)


@pytest.fixture
def marketplace() -> Iterator[CatalogueServer]:
    served = CatalogueServer()
    yield served
    served.server.close()


def found(shell: Shell, marketplace: CatalogueServer, *arguments: str) -> tuple[list[str], str]:
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url, "--format", "csv", *arguments)
    assert ran.status == 0, ran.err
    return ran.out.splitlines()[1:], ran.err


def kept(shell: Shell) -> list[Path]:
    return sorted((shell.home / ".cache" / "stratuslab" / "catalogues").glob("*"))


def test_an_unchanged_catalogue_is_not_sent_again(shell: Shell, marketplace: CatalogueServer) -> None:
    first = found(shell, marketplace)
    assert len(first[0]) == 3
    assert "café 1" in first[0][0]
    assert found(shell, marketplace) == first
    assert marketplace.sent == [200, 304]
    marketplace.version = 5
    assert "café 5" in found(shell, marketplace)[0][0]
    found(shell, marketplace)
    assert marketplace.sent == [200, 304, 200, 304]
    [file] = kept(shell)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("validators", [True, False])
def test_without_the_marketplace_it_says_from_when_the_answer_is(shell: Shell, validators: bool) -> None:
    marketplace = CatalogueServer(validators)
    shell.clock = lambda: 1795329551.0  # 2026-11-22 06:39
    rows, _ = found(shell, marketplace)
    # A server without validators sends all of it each time.
    assert found(shell, marketplace)[0] == rows
    assert marketplace.sent == [200, 304 if validators else 200]
    shell.clock = lambda: 1795329551.0 + 86400
    marketplace.out_of_order = True
    again, said = found(shell, marketplace, "--quiet")
    assert again == rows
    assert "answered 503" in said
    assert "using its catalogue as of 2026-11-22 06:39 UTC" in said
    marketplace.server.close()
    assert found(shell, marketplace, "café", "2")[0] == rows[1:2]
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url, "nothing")
    assert (ran.status, "2026-11-22 06:39 UTC" in ran.err) == (ExitStatus.NOT_FOUND, True)
    # Catalogues of another Marketplace, user or status, and old ones, are not used.
    for arguments in ([marketplace.url, "--status", "expired"], [marketplace.url.replace("//", "//ann:pw@")]):
        ran = shell("search_image", "--marketplace-endpoint", *arguments)
        assert (ran.status, ran.out) == (ExitStatus.UNREACHABLE, "")
    shell.clock = lambda: 1795329551.0 + 31 * 86400
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url)
    assert (ran.status, ran.out) == (ExitStatus.UNREACHABLE, "")


def test_a_search_by_endorser_is_answered_from_the_whole_catalogue(shell: Shell, marketplace: CatalogueServer) -> None:
    found(shell, marketplace)
    marketplace.server.close()
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url, "-e", "ann@example.org")
    assert (ran.status, "using its catalogue as of" in ran.err) == (ExitStatus.NOT_FOUND, True)


@pytest.mark.parametrize("how", ["option", "variable", "no-store"])
def test_nothing_is_kept_if_it_must_not_be(shell: Shell, how: str) -> None:
    marketplace = CatalogueServer(cached="private, no-store" if how == "no-store" else "private")
    if how == "variable":
        shell.environ["STRATUSLAB_NO_CACHE"] = "yes"
    found(shell, marketplace, *(["--no-cache"] if how == "option" else []))
    assert kept(shell) == []
    marketplace.server.close()


def test_half_a_catalogue_is_not_kept(shell: Shell, scripted: Scripted) -> None:
    def half(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(head(ETag='"a"') + b"<metadata>" + small_entry(1))

    ran = shell("search_image", "--marketplace-endpoint", scripted(half).url)
    assert (ran.status, kept(shell)) == (ExitStatus.FAILED, [])


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def changed(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"22T10", b"23T10"))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def of_another_version(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"arch"', b'"cpus"').replace(b'"format"', b'"formats"'))


def open_to_others(file: Path) -> None:
    file.chmod(0o666)


@pytest.mark.parametrize("damage", [truncated, changed, emptied, of_another_version, open_to_others])
def test_a_damaged_cache_is_ignored_and_replaced(shell: Shell, marketplace: CatalogueServer, damage: object) -> None:
    rows = found(shell, marketplace)
    [file] = kept(shell)
    assert callable(damage)
    damage(file)
    assert found(shell, marketplace) == rows
    assert found(shell, marketplace) == rows
    assert marketplace.sent == [200, 200, 304]
    assert kept(shell) == [file]


def test_a_cache_that_is_not_the_users_own(shell: Shell, marketplace: CatalogueServer, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    shell.environ["XDG_CACHE_HOME"] = str(shared)
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url, "-v")
    assert (ran.status, "other users can write to" in ran.err) == (0, True)
    found(shell, marketplace)
    assert marketplace.sent == [200, 200]


@pytest.mark.parametrize("place", ["/proc", "/dev/null", "read-only"])
def test_a_directory_that_cannot_be_written(shell: Shell, marketplace: CatalogueServer, place: str) -> None:
    shell.environ["XDG_CACHE_HOME"] = str(shell.home / place)
    (shell.home / "read-only").mkdir(mode=0o500)  # unless root runs the tests
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url, "-v")
    assert (ran.status, ran.out.count("café")) == (0, 3)
    assert "searching without the cache" in ran.err or place == "read-only"


def test_no_place_for_a_cache(shell: Shell, marketplace: CatalogueServer) -> None:
    (shell.home / ".cache").write_text("a file")
    assert len(found(shell, marketplace)[0]) == 3
    shell.environ["XDG_CACHE_HOME"] = "not/absolute"
    assert len(found(shell, marketplace)[0]) == 3
    assert catalogue_cache.cache_directory({}, None) is None


def test_a_full_disk(shell: Shell, marketplace: CatalogueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    # The device that is always full takes the place of the file.
    monkeypatch.setattr("tempfile.mkstemp", lambda *_: (os.open("/dev/full", os.O_WRONLY), str(shell.home / "none")))
    ran = shell("search_image", "--marketplace-endpoint", marketplace.url, "-v")
    assert (ran.status, ran.out.count("café"), "no space left" in ran.err) == (0, 3, True)
    assert kept(shell) == []


def test_the_cache_is_bounded(shell: Shell, marketplace: CatalogueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found(shell, marketplace)
    [file] = kept(shell)
    others = [file.with_name(name) for name in ("old", "older", "abandoned.new")]
    for age, other in enumerate(others, 1):
        other.write_bytes(bytes(file.stat().st_size))
        os.utime(other, (shell.clock() - age * 60,) * 2)
    os.utime(others[2], (1, 1))
    monkeypatch.setattr(catalogue_cache, "LARGEST_CACHE", int(file.stat().st_size * 2.5))
    marketplace.version = 2
    found(shell, marketplace)
    assert kept(shell) == sorted([file, others[0]])
    monkeypatch.setattr(catalogue_cache, "LARGEST_CACHE", 600)
    marketplace.version = 3
    assert len(found(shell, marketplace)[0]) == 3
    assert "café 3" in found(shell, marketplace)[0][0]
    assert marketplace.sent[-2:] == [200, 200]


def test_two_at_once(shell: Shell, scripted: Scripted) -> None:
    """Two searches whose catalogues end at the same time: both have all rows, and one file is whole."""
    together = threading.Barrier(2)

    def answer(conversation: Conversation) -> None:
        if "if-none-match" in conversation.read_request().headers:
            conversation.send(head("304 Not Modified", ETag='"a"'))
            return
        body = b"".join(map(small_entry, range(2000)))
        conversation.send(head(ETag='"a"') + b"<metadata>" + body)
        together.wait(30)
        conversation.send(b"</metadata>")

    server = scripted(answer)
    words = ("stratus-search-image", "--marketplace-endpoint", server.url, "--format", "ids")
    outputs = {process.communicate(timeout=60)[0] for process in [shell.begin(*words), shell.begin(*words)]}
    assert len(kept(shell)) == 1
    outputs.add(shell("search_image", *words[1:]).out)
    assert [output.count("\n") for output in outputs] == [2000]


def test_credentials_are_nowhere_in_the_cache(shell: Shell, marketplace: CatalogueServer) -> None:
    address = marketplace.url.replace("//", "//ann:s3cret@")
    assert shell("search_image", "--marketplace-endpoint", address).status == 0
    [file] = kept(shell)
    content = file.name.encode() + file.read_bytes()
    assert not any(word in content for word in (b"s3cret", b"ann", b"127.0.0.1"))
    # Another user's answer is another one.
    assert shell("search_image", "--marketplace-endpoint", address.replace("ann", "eve")).status == 0
    assert (marketplace.sent, len(kept(shell))) == ([200, 200], 2)


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    said: list[str] = []
    cache = catalogue_cache.CatalogueCache(tmp_path / "catalogues", time.time, said.append, said.append)
    entry = Metadata("A" * 27, tags=("base", "small"), locations=("http://a/b",), inbound_ports=("22",))
    assert list(cache.keep([entry], {}, "key")) == [entry]
    kept = cache.find("key")
    assert kept is not None
    assert list(kept.entries()) == [entry]
    assert said == []
