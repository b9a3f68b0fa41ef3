"""The embedded Marketplace: what it answers, what it takes, and how it looks through requests and our own client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import requests

from stratuslab.errors import UsageError
from stratuslab.local.api.http_request_response import HttpRequest
from stratuslab.local.api.marketplace_rest import respond
from stratuslab.local.api.requests_adapter import MarketplaceAdapter
from stratuslab.local.images.embedded_marketplace import (
    EntryTaken,
    InvalidEntry,
    MarketplaceEntries,
    add_entries,
    read_entry,
)
from stratuslab.local.images.initialized_store import open_store
from stratuslab.local.store.database import Store
from stratuslab.local.store.stored_records import User
from stratuslab.marketplace.identifier import identifier_from_sha1
from tests.fakes.staged_cloud import Stage
from tests.fakes.stopped_clock import StoppedClock
from tests.harness import TTYLINUX
from tests.local.conftest import Caller
from tests.local.templates import SMALL

ADDED = "GOaxJFdoEXvqAm9ArJgnZ0_ky6F"
ENDORSER = "images@stratuslab.eu"
CREATED = "2012-04-24T12:00:00Z"
DESCRIPTION = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}RDF/{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"
NAMES = {"dcterms": "http://purl.org/dc/terms/", "slreq": "http://mp.stratuslab.eu/slreq#"}


@pytest.fixture
def store(stage: Stage) -> Store:
    return stage.engine.store


def answer(store: Store, now: float, path: str, filters: Mapping[str, str]) -> tuple[int, bytes]:
    response = respond(store, now, HttpRequest(path, urlencode(filters)))
    body = b"".join(response.body)
    assert response.headers["Content-Length"] == str(len(body))
    return response.status, body


def identifiers(store: Store, path: str, now: float = 1_795_329_334.0, **filters: str) -> list[str]:
    status, body = answer(store, now, path, filters)
    root = ElementTree.fromstring(body)
    if status != 200:
        assert (status, root.tag) == (404, "error")
        return []
    descriptions = root.findall(DESCRIPTION) if root.tag == "metadata" else list(root)
    return [description.findtext("dcterms:identifier", "", NAMES) for description in descriptions]


class TestOwnImages:
    def test_each_entry_is_consistent(self, store: Store) -> None:
        found = identifiers(store, "/metadata")
        assert (len(found), TTYLINUX in found) == (4, True)
        for identifier in found:
            entry = read_entry(answer(store, 0, f"/metadata/{identifier}/{ENDORSER}/{CREATED}", {})[1])
            assert entry.key == (identifier, ENDORSER, CREATED)
            assert entry.metadata.bytes

    def test_simulated_ones_say_so(self, store: Store) -> None:
        body = answer(store, 0, "/metadata", {})[1].decode()
        descriptions = ElementTree.fromstring(body).findall(DESCRIPTION)
        assert all("simulated" in d.findtext("dcterms:description", "", NAMES).lower() for d in descriptions)


class TestReading:
    @pytest.mark.parametrize(
        "path",
        [
            f"/metadata/{TTYLINUX}",
            f"/metadata/{TTYLINUX}/",
            f"//metadata//{TTYLINUX}",
            f"/metadata/{TTYLINUX}/{ENDORSER}",
            f"/metadata/{ENDORSER}/{TTYLINUX}",
            f"/metadata/{TTYLINUX}/{ENDORSER}/{CREATED}",
        ],
    )
    def test_paths(self, store: Store, path: str) -> None:
        assert identifiers(store, path) == [TTYLINUX]

    @pytest.mark.parametrize(
        "path",
        [
            f"/metadata/{ADDED}",
            "/metadata/rubbish",
            f"/metadata/{TTYLINUX}/nobody@example.org",
            f"/metadata/{TTYLINUX}/{ENDORSER}/2000-01-01T00:00:00Z",
            "/metadata/a/b/c/d",
            "/query",
        ],
    )
    def test_nothing(self, store: Store, path: str) -> None:
        assert identifiers(store, path) == []

    def test_filters(self, store: Store) -> None:
        assert identifiers(store, "/metadata", identifier=TTYLINUX) == [TTYLINUX]
        assert identifiers(store, "/metadata", identifier=TTYLINUX, email="nobody@example.org") == []
        assert len(identifiers(store, "/metadata", email=ENDORSER)) == 4
        assert identifiers(store, "/metadata", identifier="' OR 1=1 --") == []

    def test_the_newest_of_an_endorser_counts(self, store: Store, entry: bytes, clock: StoppedClock) -> None:
        marketplace = MarketplaceEntries(store, clock())
        marketplace.add(entry)
        marketplace.add(entry.replace(b"2026-11-22T10", b"2026-11-22T11").replace(b"mine", b"newer"))
        marketplace.add(entry.replace(b"alice@", b"bob@"))
        body = answer(store, clock(), f"/metadata/{ADDED}", {})[1]
        assert (body.count(b"<rdf:RDF"), b"newer" in body, b"bob@" in body) == (2, True, True)
        assert b"mine" in answer(store, clock(), f"/metadata/{ADDED}/alice@example.org/2026-11-22T10:00:00Z", {})[1]

    def test_expired_and_deprecated_entries(self, store: Store, entry: bytes, clock: StoppedClock) -> None:
        marketplace = MarketplaceEntries(store, clock())
        marketplace.add(entry.replace(b"2027-", b"2020-"))
        assert identifiers(store, f"/metadata/{ADDED}") == []
        assert identifiers(store, f"/metadata/{ADDED}", status="expired") == [ADDED]
        assert identifiers(store, f"/metadata/{ADDED}", status="any") == [ADDED]
        assert identifiers(store, f"/metadata/{ADDED}/alice@example.org/2026-11-22T10:00:00Z") == [ADDED]
        marketplace.add(entry.replace(b"<dcterms:title>", b"<slterms:deprecated>old</slterms:deprecated><dcterms:title>"))
        assert identifiers(store, f"/metadata/{ADDED}") == []
        assert identifiers(store, f"/metadata/{ADDED}", status="deprecated") == [ADDED]


class TestAdding:
    def test_an_image_to_start(self, store: Store, entry: bytes, call: Caller, clock: StoppedClock) -> None:
        added = MarketplaceEntries(store, clock()).add(entry)
        assert (added.key[0], added.title, added.metadata.bytes) == (ADDED, "mine & yours", 5242880)
        template = f'{SMALL}DISK=[SOURCE="http://127.0.0.1:1/marketplace/metadata/{ADDED}"]'
        assert call("one.vm.allocate", template)[0]
        document = ElementTree.fromstring(call("one.vm.info", 1)[1])
        assert (document.findtext("LCM_STATE"), document.findtext("TEMPLATE/DISK/IMAGE")) == ("1", "mine & yours")
        assert document.findtext("TEMPLATE/DISK/SIZE") == "5"

    def test_a_second_time_replaces(self, store: Store, entry: bytes) -> None:
        MarketplaceEntries(store, 0).add(entry)
        MarketplaceEntries(store, 0).add(entry.replace(b"mine", b"again"))
        assert store.query("SELECT title FROM entries WHERE identifier = ?", (ADDED,)) == [("again & yours",)]

    def test_nobody_takes_another_s_place(self, store: Store, entry: bytes) -> None:
        marketplace, alice, bob = MarketplaceEntries(store, 0), User(2, "alice"), User(3, "bob")
        marketplace.add(entry, alice)
        marketplace.add(entry.replace(b"2026-11-22T10", b"2026-11-22T11"), alice)
        other = entry.replace(ADDED.encode(), identifier_from_sha1("0" * 40).encode()).replace(
            b"639ac4915da045efa809bd02b2609d9d3f932e85", b"0" * 40
        )
        for mine in (entry, entry.replace(b"alice@", b"bob@").replace(b"mine", b"other"), other):
            for user in (bob, None):
                with pytest.raises(EntryTaken, match="somebody else"):
                    marketplace.add(mine, user)
        with pytest.raises(EntryTaken):
            marketplace.add(entry.replace(b"mine &amp; yours", b"ttylinux"), alice)
        marketplace.add(entry.replace(b"alice@", b"root@"))
        with pytest.raises(EntryTaken):
            marketplace.add(entry, alice)

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            (b"</rdf:RDF>", b"", "not well-formed XML"),
            (b'encoding="UTF-8"?>', b'encoding="UTF-8"?><!DOCTYPE x [<!ENTITY a "b">]>', "document type"),
            (b"639ac4915da045efa809bd02b2609d9d3f932e85", b"0" * 40, "another image's SHA-1"),
            (b"639ac4915da045efa809bd02b2609d9d3f932e85", b"zz", "SHA-1"),
            (b"SHA-1", b"MD5", "no SHA-1"),
            (b"alice@example.org", b"alice", "email"),
            (b"2026-11-22T10:00:00Z", b"yesterday", "no date"),
            (b"2027-11-22T10:00:00Z", b"soon", "no date"),
            (b"5242880", b"big", "slreq:bytes"),
            (b'"#GOaxJFdoEXvqAm9ArJgnZ0_ky6F"', b'"#other"', "says that it is about"),
            (b">GOaxJFdoEXvqAm9ArJgnZ0_ky6F<", b">short<", "not an image identifier"),
            (b">GOaxJFdoEXvqAm9ArJgnZ0_ky6F<", b"><", "has no image identifier"),
            (b"rdf:Description", b"rdf:Other", "rdf:Description"),
            (b"custom", b"x" * 2**20, "larger than"),
        ],
    )
    def test_what_is_no_entry(self, store: Store, entry: bytes, old: bytes, new: bytes, reason: str) -> None:
        before = store.query("SELECT count(*) FROM entries")
        with pytest.raises(UsageError, match=reason):
            MarketplaceEntries(store, 0).add(entry.replace(old, new))
        assert store.query("SELECT count(*) FROM entries") == before

    def test_an_endorser_without_an_email(self, store: Store, entry: bytes) -> None:
        MarketplaceEntries(store, 0).add(entry.replace(b"<slreq:email>alice@example.org</slreq:email>", b""))
        assert len(MarketplaceEntries(store, 0).of_image("GOaxJFdoEXvqAm9ArJgnZ0_ky6F")) == 1

    def test_from_a_file(self, store: Store, entry: bytes, tmp_path: Path) -> None:
        path = tmp_path / "entry.xml"
        with pytest.raises(UsageError, match=r"cannot read .*entry\.xml: no such file"):
            add_entries(store, 0, path)
        path.write_bytes(b"hello")
        with pytest.raises(InvalidEntry, match=r"entry\.xml: .*XML"):
            add_entries(store, 0, path)
        path.write_bytes(entry)
        assert [added.key[0] for added in add_entries(store, 0, path)] == [ADDED]


class TestAdapter:
    def test_through_requests(self, tmp_path: Path) -> None:
        session = requests.Session()
        session.mount("local://", MarketplaceAdapter(tmp_path / "cloud"))
        response = session.get(f"local://marketplace/metadata/{TTYLINUX}", timeout=5)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "application/xml; charset=utf-8")
        assert TTYLINUX in response.text
        assert session.get("local://marketplace/metadata", params={"identifier": TTYLINUX}, timeout=5).ok
        streamed = session.get(f"local://marketplace/metadata/{TTYLINUX}", stream=True, timeout=5)
        assert b"".join(streamed.iter_content(100)) == response.content
        assert session.get(f"local://marketplace/metadata/{ADDED}", timeout=5).status_code == 404

    def test_our_client_reads_every_entry(self, tmp_path: Path) -> None:
        from datetime import datetime, timezone

        from stratuslab.marketplace.metadata import read

        now = datetime(2026, 11, 22, tzinfo=timezone.utc)
        store = open_store(tmp_path, time.time())
        for identifier in identifiers(store, "/metadata"):
            metadata = read(answer(store, now.timestamp(), f"/metadata/{identifier}", {})[1], identifier, now)
            assert (metadata.identifier, metadata.disks_bus, metadata.format) == (identifier, "ide", "raw")
            assert metadata.locations
            assert not metadata.expired(now)


def test_identifier_of_a_simulated_image(store: Store) -> None:
    import hashlib

    digest = hashlib.sha1(b"debian-base-simulated", usedforsecurity=False).hexdigest()
    assert identifier_from_sha1(digest) in identifiers(store, "/metadata")
