"""Marketplace entries of every shape that StratusLab's own have: added, found, shown and run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stratuslab.errors import ExitStatus
from tests.harness import Ran, Shell

IDENTIFIER = "GOaxJFdoEXvqAm9ArJgnZ0_ky6F"
SHA1 = "639ac4915da045efa809bd02b2609d9d3f932e85"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def add(shell: Shell, document: bytes) -> Ran:
    (shell.home / "entry.xml").write_bytes(document)
    return shell("local_cloud", "add-entry", "~/entry.xml")


def shown(shell: Shell, identifier: str = IDENTIFIER) -> dict[str, Any]:
    ran = shell("show_image", identifier, "--format", "json")
    assert (ran.status, ran.err) == (0, "")
    (details,) = json.loads(ran.out)["details"]
    assert isinstance(details, dict)
    return details


def changed(entry: bytes, pattern: str, new: str) -> bytes:
    """The entry with text in the place of what matches."""
    text, number = re.subn(pattern, lambda _: new, entry.decode(), flags=re.DOTALL)
    assert number
    return text.encode()


LOCATIONS = "<slterms:location>pdisk:pdisk.example.org:8445:1b2c</slterms:location><slterms:location>{}</slterms:location></rdf:D"


@pytest.mark.parametrize(
    ("pattern", "new", "fact", "value"),
    [
        pytest.param(SHA1, SHA1.upper(), "checksums", [f"SHA-1:{SHA1}"], id="upper-case digits"),
        pytest.param(SHA1, f"0000{SHA1}", "checksums", [f"SHA-1:{SHA1}"], id="leading zeros"),
        pytest.param("SHA-1", "sha1", "checksums", [f"SHA-1:{SHA1}"], id="another name of the algorithm"),
        pytest.param("<slreq:email>.*?</slreq:email>", "", "endorser", None, id="no email"),
        pytest.param("<slreq:endorser .*?</slreq:endorser>", "", "endorser", None, id="no endorser"),
        pytest.param("mine &amp; yours", "Ubuntu à la carte ☃", "title", "Ubuntu à la carte ☃", id="non-ASCII"),
        pytest.param("<dcterms:title>.*?</dcterms:title>", "", "title", None, id="no title"),
        pytest.param("2026-11-22T10:00:00Z", "2026-11-22T12:00:00+02:00", "created", "2026-11-22T10:00:00Z", id="a local time"),
        pytest.param("2026-11-22T10:00:00Z", "2026-11-22T10:00:00", "created", "2026-11-22T10:00:00Z", id="no zone"),
        pytest.param("<dcterms:valid>.*?</dcterms:valid>", "", "valid_until", None, id="no end"),
        pytest.param("<dcterms:valid>.*?</dcterms:valid>", "<dcterms:valid/>", "valid_until", None, id="an empty end"),
        pytest.param("</rdf:D", "<dcterms:compression>gz</dcterms:compression></rdf:D", "compression", "gz", id="compressed"),
        pytest.param("</rdf:D", "<dcterms:compression/></rdf:D", "compression", None, id="not compressed"),
        pytest.param("</rdf:D", "<dcterms:format>qcow2</dcterms:format></rdf:D", "format", "qcow2", id="a qcow2"),
        pytest.param(' rdf:about="[^"]*"', "", "identifier", IDENTIFIER, id="about nothing"),
        pytest.param("slreq:", "required:", "endorser", "alice@example.org", id="another prefix"),
        pytest.param(
            "</rdf:D",
            LOCATIONS.format("http://example.org/a.gz"),
            "locations",
            ["pdisk:pdisk.example.org:8445:1b2c", "http://example.org/a.gz"],
            id="two locations",
        ),
    ],
)
def test_an_entry_that_is_taken(shell: Shell, entry: bytes, pattern: str, new: str, fact: str, value: object) -> None:
    if new == "required:":
        entry = entry.replace(b"xmlns:slreq", b"xmlns:required")
    assert add(shell, changed(entry, pattern, new)) == Ran(0, f"{IDENTIFIER}\n", "")
    assert shown(shell)[fact] == value
    assert shell("search_image", IDENTIFIER, "--format", "ids") == Ran(0, f"{IDENTIFIER}\n", "")
    assert shell("run", IDENTIFIER, "--dry-run").status == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1", "us-ascii"])
def test_encodings(shell: Shell, entry: bytes, encoding: str) -> None:
    text = (
        entry.decode()
        .replace('encoding="UTF-8"', f'encoding="{encoding.removesuffix("-sig")}"')
        .replace("mine", "&#233; h\xf4te")
    )
    assert add(shell, text.encode(encoding, "xmlcharrefreplace")).status == 0
    assert shown(shell)["title"] == "\xe9 h\xf4te & yours"
    assert shell("run", "\xe9 h\xf4te & yours", "--dry-run").status == 0


@pytest.mark.parametrize(
    ("pattern", "new", "reason"),
    [
        (
            'rdf:about="#[^"]*"',
            'rdf:about="#AAAAAAAAAAAAAAAAAAAAAAAAAAA"',
            "says that it is about '#AAAAAAAAAAAAAAAAAAAAAAAAAAA'",
        ),
        (SHA1, SHA1[:-1] + "6", "gives another image's SHA-1"),
        ("<dcterms:identifier>.*?</dcterms:identifier>", "", "has no image identifier"),
        ("<slreq:bytes>.*?</slreq:bytes>", "", "has no size in slreq:bytes"),
        ("<slreq:checksum .*?</slreq:checksum>", "", "has no SHA-1 checksum"),
        ("2026-11-22T10:00:00Z", "22 November", "has no date in dcterms:created of the endorsement"),
        ("2027-11-22T10:00:00Z", "2027-13-22T10:00:00Z", "has no date in dcterms:valid"),
        ("<slreq:endorsement .*?</slreq:endorsement>", "", "has no date in dcterms:created of the endorsement"),
    ],
)
def test_an_entry_that_is_refused(shell: Shell, entry: bytes, pattern: str, new: str, reason: str) -> None:
    ran = add(shell, changed(entry, pattern, new))
    assert (ran.status, ran.out, ran.err.count("\n")) == (ExitStatus.USAGE, "", 1)
    assert ran.err.startswith(f"stratus-local-cloud: {shell.home}/entry.xml: the ")
    assert reason in ran.err


def collection(*entries: bytes) -> bytes:
    return b"<metadata>" + b"".join(entry.partition(b"?>")[2] for entry in entries) + b"</metadata>"


def test_a_collection(shell: Shell, entry: bytes) -> None:
    """Several endorsers of an image, and another image."""
    other = changed(entry, IDENTIFIER, "A" * 27).replace(SHA1.encode(), b"0").replace(b"mine", b"other")
    later = entry.replace(b"alice@", b"bob@").replace(b"2026-11-22T", b"2026-11-23T").replace(b"mine", b"newer")
    assert add(shell, collection(entry, later, other)) == Ran(0, f"{IDENTIFIER}\n{'A' * 27}\n", "")
    assert (shown(shell)["endorser"], shown(shell, "A" * 27)["title"]) == ("bob@example.org", "other & yours")
    rows = json.loads(shell("search_image", "yours", "--format", "json").out)["catalogue"]
    assert sorted(row["endorser"] for row in rows) == ["alice@example.org", "alice@example.org", "bob@example.org"]
    for word in ("newer & yours", "mine & yours", "other & yours"):
        assert shell("run", word, "--dry-run").status == 0


@pytest.mark.parametrize("broken", [b"<rdf:Description", b"2026-11-22T10:00:00Z"])
def test_a_collection_is_added_wholly_or_not(shell: Shell, entry: bytes, broken: bytes) -> None:
    bad = entry.replace(broken, broken + b"x", 1) if broken[0] != ord("<") else entry.replace(b"rdf:Description", b"rdf:Other")
    assert add(shell, collection(entry, bad)).status == ExitStatus.USAGE
    assert shell("show_image", IDENTIFIER).status == ExitStatus.NOT_FOUND
    ran = add(shell, b"<metadata></metadata>")
    assert (ran.status, "the metadata document has no entry" in ran.err) == (ExitStatus.USAGE, True)


@pytest.mark.parametrize(
    ("pattern", "new", "status", "reason"),
    [
        ("2027-11-22", "2020-11-22", "expired", "its metadata expired on 2020-11-22"),
        ("</rdf:D", "<slterms:deprecated>a hole</slterms:deprecated></rdf:D", "deprecated", "has deprecated it: a hole"),
        ("</rdf:D", "<slterms:deprecated/></rdf:D", "deprecated", "has deprecated it: no reason given"),
    ],
)
def test_an_image_that_should_not_be_used(shell: Shell, entry: bytes, pattern: str, new: str, status: str, reason: str) -> None:
    assert add(shell, changed(entry, pattern, new)).status == 0
    assert shell("search_image", IDENTIFIER).status == ExitStatus.NOT_FOUND
    assert shell("search_image", IDENTIFIER, "--status", status, "--format", "ids").out == f"{IDENTIFIER}\n"
    assert shown(shell)["status"] == status
    ran = shell("run", IDENTIFIER)
    assert (ran.status, reason in ran.err, "--allow-expired" in ran.err) == (ExitStatus.FAILED, True, True)
    assert shell("run", IDENTIFIER, "--dry-run", "--allow-expired").status == 0
