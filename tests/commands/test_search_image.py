"""stratus-search-image: in a Marketplace, and on an OpenNebula cloud that has none."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable

import pytest

from stratuslab.errors import ExitStatus
from stratuslab.marketplace.metadata import MAXIMUM_SIZE
from tests.commands.test_answers import document
from tests.commands.test_list_networks import at
from tests.fakes.certificate_authority import Authority
from tests.fakes.scripted_opennebula import Clouds, ScriptedOpenNebula
from tests.fakes.scripted_server import Conversation, Scripted, endless, head, raw
from tests.harness import CHECKOUT, TTYLINUX, Shell


def answers(body: bytes, status: str = "200 OK") -> Callable[[Conversation], object]:
    def converse(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)

    return converse


def test_the_search_of_the_manual(shell: Shell) -> None:
    ran = shell("search_image", "ttylinux", "--endpoint", "local")
    page = (CHECKOUT / "docs" / "search-image.rst").read_text("utf-8")
    assert f"    $ stratus-search-image ttylinux\n{re.sub('^', '    ', ran.out.rstrip(), flags=re.MULTILINE)}\n" in page
    assert (ran.status, ran.err) == (0, "")


def test_a_person_is_shown_how_to_start_the_first(alice: Shell) -> None:
    alice.terminal = True
    assert alice("search_image", "TTY", "small").err.endswith(f"stratus-run-instance {TTYLINUX}\n")


MINE = "GOaxJFdoEXvqAm9ArJgnZ0_ky6F"


@pytest.mark.parametrize(
    ("arguments", "endorsers"),
    [
        (("mine",), ["alice"]),
        (("MINE", "É"), ["alice"]),
        (("--os", "debian", "--os-version", "12", "-e", "alice@example.org"), ["alice"]),
        (("--os-version", "12", "--arch", "x86_64"), ["images"]),
        (("--tag", "base"), ["alice"]),
        (("--since", "2026-11-22"), ["alice"]),
        (("--status", "expired"), ["bob"]),
        (("--status", "deprecated", "--kind", "machine"), ["carol"]),
        (("--status", "all", "yours", "--image-format", "raw"), ["alice", "carol", "bob"]),
        (("-e", "EXAMPLE.org"), ["alice"]),
    ],
)
def test_all_criteria_must_match(own: Shell, arguments: tuple[str, ...], endorsers: list[str]) -> None:
    rows = document(own("search_image", "--format", "json", *arguments))["catalogue"]
    assert [row["endorser"].partition("@")[0] for row in rows] == endorsers


@pytest.mark.parametrize("arguments", [("nosuch",), ("mine", "--os", "windows"), ("-e", "nobody@example.org")])
def test_nothing_matches(own: Shell, arguments: tuple[str, ...]) -> None:
    ran = own("search_image", *arguments)
    assert (ran.status, ran.out) == (ExitStatus.NOT_FOUND, "")
    assert "no image matches (searched http" in ran.err
    assert document(own("search_image", "--format", "json", *arguments))["catalogue"] == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("nosuch",), "try a shorter word, --tag nosuch, or --status all"),
        (("mine", "yours", "theirs"), "leave out some words, or see --status all"),
        (("mine", "--os", "windows", "--since", "2026-01-01"), "leave out --os, --since, or see --status all"),
    ],
)
def test_what_to_loosen(own: Shell, arguments: tuple[str, ...], hint: str) -> None:
    assert f"; {hint})\n" in own("search_image", *arguments).err


def test_a_date_that_is_none(alice: Shell) -> None:
    assert alice("search_image", "--since", "yesterday").status == ExitStatus.USAGE


NAMESPACES = b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/"'


def small_entry(number: int, more: bytes = b"") -> bytes:
    identifier = f"A{number:026}".encode()
    return b"<rdf:RDF %s><rdf:Description><dcterms:identifier>%s</dcterms:identifier>%s</rdf:Description></rdf:RDF>" % (
        NAMESPACES,
        identifier,
        more,
    )


def test_a_title_with_escape_sequences_and_entries_that_are_not_usable(shell: Shell, scripted: Scripted) -> None:
    odd = [small_entry(1, "<dcterms:title>a\x9b31mred\u202e</dcterms:title>".encode()), b"<rdf:RDF %s/>" % NAMESPACES]
    odd += [small_entry(2).replace(b"A000", b"XX00"), b"<other/>", small_entry(3)]
    server = scripted(answers(b"<metadata>" + b"\n".join(odd) + b"</metadata>"))
    for form in ("table", "csv", "ids"):
        ran = shell("search_image", "--marketplace-endpoint", server.url, "--format", form)
        assert (ran.status, ran.out.count("A000"), "\x9b" in ran.out, "\u202e" in ran.out) == (0, 2, False, False)


@pytest.mark.parametrize("form", ["table", "csv"])
def test_rows_are_shown_while_the_catalogue_arrives(shell: Shell, scripted: Scripted, form: str) -> None:
    entries = b"".join(small_entry(number) for number in range(2500))
    ran = shell("search_image", "--marketplace-endpoint", scripted(answers(b"<metadata>" + entries)).url, "--format", form)
    assert (ran.status, "not well-formed" in ran.err) == (ExitStatus.FAILED, True)
    header, *rows = ran.out.splitlines()
    assert header.startswith("image")
    assert [row[:27] for row in rows][:2000] == [f"A{number:026}" for number in range(2000)]
    assert ran.out.count("endorser") == 1


def test_json_is_written_while_the_catalogue_arrives(shell: Shell, scripted: Scripted) -> None:
    seen = threading.Event()

    def answer(conversation: Conversation) -> None:
        conversation.read_request()
        conversation.send(head() + b"<metadata>" + b"".join(map(small_entry, range(500))))
        assert seen.wait(30)
        conversation.send(small_entry(500) + b"<rdf:RDF")

    server = scripted(answer)
    process = shell.begin("stratus-search-image", "--marketplace-endpoint", server.url, "--format", "json")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(500)]
    seen.set()
    written = json.loads("".join(lines) + process.stdout.read())
    assert [row["image"] for row in written["catalogue"]] == [f"A{number:026}" for number in range(501)]
    assert (process.wait(30), written["status"], "not well-formed" in written["errors"][0]["message"]) == (1, 1, True)
    process.communicate()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<!DOCTYPE html><html><body>login</body></html>", "web page"),
        (b"<metadata>" + small_entry(1) + b"<rdf:RDF", "not well-formed"),
        (
            b'<!DOCTYPE m [<!ENTITY a "b">]><metadata>' + small_entry(1, b"<dcterms:title>&a;</dcterms:title>") + b"</metadata>",
            "document type",
        ),
        (b'<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]><metadata>&a;</metadata>', "document type"),
        (b"<metadata>" + b"<x/>" * (MAXIMUM_SIZE // 4 + (1 << 15)) + b"</metadata>", "larger than"),
        (b"<metadata><rdf:RDF>", "not well-formed"),
        (b"<error>busy</error>", "<error>"),
        (b"", "not well-formed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_catalogue_that_is_not_one(shell: Shell, scripted: Scripted, body: bytes, says: str) -> None:
    ran = shell("search_image", "--marketplace-endpoint", scripted(answers(body)).url)
    assert (ran.status, says in ran.err, "Traceback" in ran.err) == (ExitStatus.FAILED, True, False), ran.err
    assert "root:" not in ran.out + ran.err


@pytest.mark.parametrize("location", ["file:///etc/passwd", "local://marketplace/metadata", "http://[", "/elsewhere"])
def test_a_catalogue_that_is_said_to_be_elsewhere(shell: Shell, scripted: Scripted, location: str) -> None:
    answer = raw(head("302 Found", Location=location, Content_Length=0))
    ran = shell("search_image", "--marketplace-endpoint", scripted(answer).url, "--format", "json", "word")
    assert (ran.status, document(ran)["catalogue"], "redirects" in ran.err) == (ExitStatus.UNREACHABLE, [], True)


def test_a_redirect_away_from_https(shell: Shell, scripted: Scripted, authority: Authority) -> None:
    plain = scripted(answers(b"<metadata/>"))
    server = scripted(
        raw(head("302 Found", Location=f"{plain.url}/metadata", Content_Length=0)), tls=authority.server("127.0.0.1")
    )
    shell.environ["REQUESTS_CA_BUNDLE"] = str(authority.bundle)
    ran = shell("search_image", "--marketplace-endpoint", server.url, "word")
    assert (ran.status, "not allowed" in ran.err, plain.requests) == (ExitStatus.UNREACHABLE, True, [])


def test_a_catalogue_that_never_ends(shell: Shell, scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten gigabytes are announced, or a million entries come one after the other."""
    monkeypatch.setattr("stratuslab.marketplace.marketplace_client.LARGEST_CATALOGUE", 4 << 20)
    first = head(Content_Length=10 << 30)
    ran = shell("search_image", "--marketplace-endpoint", scripted(endless(b"<metadata>", small_entry(1) * 100, first)).url)
    assert (ran.status, "its catalogue is larger than 4 MiB" in ran.err) == (ExitStatus.UNREACHABLE, True)
    assert (shell.home / ".cache/stratuslab/catalogues").is_dir()
    assert list((shell.home / ".cache/stratuslab/catalogues").iterdir()) == []


def test_a_marketplace_that_does_not_answer(shell: Shell) -> None:
    assert shell("search_image", "--marketplace-endpoint", "http://127.0.0.1:1").status == ExitStatus.UNREACHABLE


class WithAppliances(ScriptedOpenNebula):
    """An OpenNebula with a marketplace of its own."""

    def marketapppool_info(self, *_: int) -> bytes:
        return self.pool_of("marketapp")


def test_what_an_opennebula_cloud_has_itself(shell: Shell, opennebula: Clouds) -> None:
    def one(tag: str, number: int, name: str, more: str = "") -> str:
        return f"<{tag}><ID>{number}</ID><UNAME>oneadmin</UNAME><NAME>{name}</NAME><REGTIME>1795329551</REGTIME>{more}</{tag}>"

    images = [
        one("IMAGE", 0, "alpine", "<TYPE>0</TYPE><SIZE>256</SIZE><TEMPLATE><FROM_APP>7</FROM_APP></TEMPLATE>"),
        one("IMAGE", 1, "data", "<TYPE>2</TYPE>"),
        one("IMAGE", 2, "al disabled", "<TYPE>0</TYPE><STATE>3</STATE>"),
    ]
    apps = [
        one("MARKETPLACEAPP", 7, "Alpine Linux"),
        one("MARKETPLACEAPP", 8, "AlmaLinux", "<TYPE>1</TYPE><DESCRIPTION>al</DESCRIPTION>"),
        one("MARKETPLACEAPP", 9, "al service", "<TYPE>3</TYPE>"),
    ]
    things = {
        "image": dict(enumerate(images)),
        "template": {3: one("VMTEMPLATE", 3, "al small")},
        "marketapp": dict(enumerate(apps)),
    }
    cloud = WithAppliances(things=things)
    rows = document(at(shell, cloud.url)("search_image", "al", "--format", "json"))["catalogue"]
    assert [(row["image"], row["source"]) for row in rows] == [
        ("one:alpine", "image"),
        ("template:al small", "template"),
        ("one:alpine", "appliance"),
        (None, "appliance"),
    ]
    assert rows[0]["size_bytes"] == 256 << 20
    assert at(shell, cloud.url)("search_image", "al", "--format", "ids").out.splitlines() == [
        "one:alpine",
        "template:al small",
        "one:alpine",
    ]
    (row,) = document(at(shell, cloud.url)("search_image", "--status", "deprecated", "--format", "json"))["catalogue"]
    assert row["image"] == "one:al disabled"
    for command in ("run", "show_image"):
        ran = at(shell, cloud.url)(command, "AlmaLinux")
        assert (ran.status, "is an appliance of a marketplace" in ran.err) == (ExitStatus.NOT_FOUND, True), ran.err
    cloud.server.close()
    old = opennebula("4.14.2", things=things)
    assert len(document(at(shell, old.url)("search_image", "--format", "json"))["catalogue"]) == 2, "has no appliances"


def test_an_empty_cloud(shell: Shell, opennebula: Clouds) -> None:
    ran = at(shell, opennebula().url)("search_image")
    assert (ran.status, "no image matches (searched http" in ran.err) == (ExitStatus.NOT_FOUND, True)
