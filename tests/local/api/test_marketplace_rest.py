"""StratusLab's REST interface of the embedded Marketplace over HTTP: XML, JSON, filters, validators, hostile requests."""

from __future__ import annotations

import json
import re
import tracemalloc
from urllib.parse import urlencode

import pytest

from stratuslab.local.api.http_request_response import HttpRequest
from stratuslab.local.api.marketplace_json import MOST_ROWS
from stratuslab.local.api.marketplace_rest import respond
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries, read_entry
from stratuslab.local.store.database import Store
from stratuslab.marketplace.identifier import identifier_from_sha1
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import TTYLINUX
from tests.local.api.test_http_server import request

ADDED = "GOaxJFdoEXvqAm9ArJgnZ0_ky6F"
CREATED = "2026-11-22T10:00:00Z"
SHA1 = b"639ac4915da045efa809bd02b2609d9d3f932e85"
ENTRY_PATH = f"{ADDED}/alice@example.org/{CREATED}"


def add(stage: Stage, document: bytes, **changes: str) -> None:
    """An entry whose elements have other texts."""
    for name, text in changes.items():
        named = name.replace("_", "-").encode()
        document = re.sub(rb"(?<=:%s>)[^<]*" % named, text.encode(), document, count=1)
    MarketplaceEntries(stage.engine.store, stage.engine.now).add(document)


def numbered(document: bytes, number: int) -> bytes:
    """An entry about another image."""
    sha1 = f"{number:040x}"
    return document.replace(SHA1, sha1.encode()).replace(ADDED.encode(), identifier_from_sha1(sha1).encode())


def fill(store: Store, document: bytes, count: int) -> None:
    marketplace = MarketplaceEntries(store, 0)
    with store.transaction():
        for number in range(count):
            marketplace.keep(read_entry(numbered(document, number).replace(b"mine", f"mine {number}".encode())))


def get(url: str, **headers: str) -> tuple[int, str, bytes]:
    status, answered, body = request(url, "GET", None, **headers)
    return status, answered["Content-Type"], body


class TestForms:
    @pytest.mark.parametrize(
        ("accept", "query", "kind"),
        [
            ("*/*", "", "application/xml; charset=utf-8"),
            ("image/png", "", "application/xml; charset=utf-8"),
            ("application/json", "", "application/json"),
            ("application/xml;q=0.5, application/json;q=0.9", "", "application/json"),
            ("application/json;q=0, text/xml;q=0.1", "", "application/xml; charset=utf-8"),
            ("application/json;q=nan, */*", "", "application/xml; charset=utf-8"),
            ("application/json", "?media=xml", "application/xml; charset=utf-8"),
            ("application/xml", "?media=json", "application/json"),
            ("application/json", "?media=png", "application/json"),
        ],
    )
    def test_what_a_client_accepts(self, serve: Serve, accept: str, query: str, kind: str) -> None:
        assert get(f"{serve().marketplace}/metadata{query}", Accept=accept)[:2] == (200, kind)

    def test_one_entry(self, serve: Serve, stage: Stage, entry: bytes) -> None:
        url = f"{serve().marketplace}/metadata/{ENTRY_PATH}"
        add(stage, entry)
        status, headers, body = request(url, "GET", None)
        assert (status, headers["Content-Type"]) == (200, "application/rdf+xml; charset=utf-8")
        assert headers["Content-Disposition"] == f'attachment; filename="{ADDED}.xml"'
        # What an endorser may have signed is as it was.
        assert entry.partition(b"?>")[2].strip() in body
        graph = json.loads(request(f"{url}?media=json", "GET", None)[2])
        about = graph[f"http://mp.stratuslab.eu/#{ADDED}"]
        assert about["http://purl.org/dc/terms/title"] == [{"type": "literal", "value": "mine & yours"}]
        endorsement = graph[about["http://mp.stratuslab.eu/slreq#endorsement"][0]["value"]]
        endorser = graph[endorsement["http://mp.stratuslab.eu/slreq#endorser"][0]["value"]]
        assert endorser["http://mp.stratuslab.eu/slreq#email"][0]["value"] == "alice@example.org"

    def test_nothing_there(self, serve: Serve) -> None:
        base = serve().marketplace
        assert get(f"{base}/metadata/{ADDED}") == (
            404,
            "application/xml; charset=utf-8",
            b'<?xml version="1.0" encoding="UTF-8"?>\n<error>no metadata matching query found</error>\n',
        )
        assert get(f"{base}/metadata/{ENTRY_PATH}?media=json") == (
            404,
            "application/json",
            b'{"404": "metadata entry not found"}',
        )
        assert json.loads(get(f"{base}/metadata/{ADDED}?media=json")[2])["iTotalDisplayRecords"] == 0

    def test_it_is_safe_in_a_browser(self, serve: Serve) -> None:
        headers = request(f"{serve().marketplace}/metadata", "GET", None)[1]
        assert re.search(r"default-src 'none'.*frame-ancestors 'none'.*sandbox", headers["Content-Security-Policy"])
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


class TestTags:
    def test_the_newest_that_is_not_deprecated(self, serve: Serve, stage: Stage, entry: bytes) -> None:
        base = serve().marketplace
        tagged = entry.replace(b"<dcterms:title>", b"<dcterms:alternative>stable</dcterms:alternative><dcterms:title>")
        newer = numbered(tagged, 7).replace(b"created>2026", b"created>2027").replace(b"valid>2027", b"valid>2020")
        newest = numbered(tagged, 8).replace(b"created>2026", b"created>2028")
        for document in (tagged, newer, newest.replace(b"<dcterms:title>", b"<slterms:deprecated/><dcterms:title>")):
            MarketplaceEntries(stage.engine.store, 0).add(document)
        for path in (
            "/tag/alice%40example.org/stable",
            "/metadata/alice@example.org?tag=stable",
            "/tag/alice@example.org/%22stable%22",
        ):
            status, kind, body = get(base + path)
            assert (status, kind) == (200, "application/rdf+xml; charset=utf-8")
            assert identifier_from_sha1(f"{7:040x}").encode() in body
        for path in ("/tag/bob@example.org/stable", "/tag/alice@example.org/old", "/tag/stable"):
            assert get(base + path)[0] == 404


class TestFilters:
    def test_where_the_content_is(self, serve: Serve, stage: Stage, entry: bytes) -> None:
        url = f"{serve().marketplace}/metadata/alice@example.org"
        add(stage, entry.replace(b"<dcterms:title>", b"<slterms:location>pdisk:h:1:u</slterms:location><dcterms:title>"))
        add(
            stage,
            numbered(entry, 1).replace(b"<dcterms:title>", b"<slterms:location>ftp://h/i</slterms:location><dcterms:title>"),
        )
        add(stage, numbered(entry, 2))

        def count(location: str) -> int:
            return get(f"{url}?location={location}")[2].count(b"<rdf:RDF")

        assert [count(location) for location in ("all", "pdisk", "web")] == [3, 1, 2]

    @pytest.mark.parametrize("odd", ["%00", "%ff%fe", "'%20OR%201=1--", "%5B", "%25", "_" * 27, "%f0%9f%92%a9", "x" * 5000])
    def test_odd_values(self, serve: Serve, odd: str) -> None:
        base = serve().marketplace
        for path in (f"/metadata?identifier={odd}", f"/metadata/{odd}", f"/tag/a@b/{odd}", f"/metadata?media=json&sSearch={odd}"):
            status, _, body = get(base + path)
            assert (status, TTYLINUX.encode() in body) in ((404, False), (200, False))

    def test_too_many(self, serve: Serve) -> None:
        assert get(f"{serve().marketplace}/metadata?{'a=1&' * 200}")[0] == 400


class TestSearch:
    def rows(self, url: str, **parameters: str) -> list[list[str]]:
        form = urlencode(parameters).encode()
        status, headers, body = request(f"{url}/metadata", "POST", form, Content_Type="application/x-www-form-urlencoded")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        answer = json.loads(body)
        assert answer["sEcho"] == int(parameters.get("sEcho", "0"))
        assert answer["iTotalRecords"] >= answer["iTotalDisplayRecords"] >= len(answer["aaData"])
        return answer["aaData"]

    def test_a_row(self, serve: Serve, stage: Stage, entry: bytes) -> None:
        tag = b"<dcterms:alternative>latest</dcterms:alternative>"
        add(stage, entry.replace(b"<dcterms:title>", tag + b"<dcterms:title>"))
        url = serve().marketplace
        found = self.rows(url, sEcho="3", sSearch=ADDED)
        assert found == [["", "custom", "", "", "alice@example.org", "machine", CREATED, ADDED, "", "", "mine & yours"]]
        # StratusLab's does not look into tags.
        assert self.rows(url, sSearch="latest") == []

    @pytest.mark.parametrize(
        ("words", "titles"),
        [
            ("DEBIAN simulated", ["debian-base-simulated"]),
            ("ubuntu debian", []),
            ("^debian$", ["debian-base-simulated"]),
            ("^base", []),
            (r"24\.04", ["ubuntu-base-simulated"]),
            ("24.0.$", ["ubuntu-base-simulated"]),
            ("al.*ne-base", ["alpine-base-simulated"]),
            ("i.86", ["ttylinux"]),
            ("100%", []),
            ("((a+)+)+$", []),
            ("\\", []),
        ],
    )
    def test_words_are_simple_regular_expressions(self, serve: Serve, words: str, titles: list[str]) -> None:
        assert [row[10] for row in self.rows(serve().marketplace, sSearch=words)] == titles

    def test_columns_order_and_pages(self, serve: Serve) -> None:
        url = serve().marketplace
        assert [row[1] for row in self.rows(url, sSearch_1="^(?!", iSortCol_0="1")] == []
        assert [row[1] for row in self.rows(url, sSearch_3="x86_64", iSortCol_0="1", sSortDir_0="asc")] == [
            "alpine",
            "debian",
            "ubuntu",
        ]
        part = {"iDisplayStart": "1", "iDisplayLength": "2", "iSortCol_0": "1", "sSortDir_0": "desc"}
        assert [row[1] for row in self.rows(url, **part)] == ["ttylinux", "debian"]
        for odd in ("-1", "x", "1e9", "9" * 50, ""):
            assert len(self.rows(url, iDisplayStart="0", iDisplayLength=odd, iSortCol_0=odd, sSearch="", iColumns=odd)) == 4

    def test_its_answer_is_bounded(self, stage: Stage, entry: bytes) -> None:
        fill(stage.engine.store, entry, MOST_ROWS + 5)
        response = respond(stage.engine.store, 0, HttpRequest("/metadata", "media=json&iDisplayLength=9999999"))
        assert len(json.loads(b"".join(response.body))["aaData"]) == MOST_ROWS


class TestValidators:
    @pytest.mark.parametrize("path", ["/metadata", f"/metadata/{TTYLINUX}", "/metadata?media=json"])
    def test_an_etag(self, serve: Serve, stage: Stage, entry: bytes, path: str) -> None:
        url = serve().marketplace + path
        _, headers, body = request(url, "GET", None)
        assert request(url, "GET", None)[1]["ETag"] == headers["ETag"]
        for known in (headers["ETag"], f'"x", W/{headers["ETag"]}', "*"):
            status, again, rest = request(url, "GET", None, If_None_Match=known)
            assert (status, again["ETag"], rest) == (304, headers["ETag"], b"")
        assert request(url, "GET", None, If_None_Match='"x"')[2] == body
        add(stage, entry)
        if TTYLINUX not in path:
            assert request(url, "GET", None, If_None_Match=headers["ETag"])[0] == 200

    def test_what_expires_changes_the_catalogue(self, stage: Stage, entry: bytes) -> None:
        add(stage, entry)
        ask = HttpRequest("/metadata/alice@example.org")
        before = respond(stage.engine.store, 1_800_000_000, ask)
        expiry = 1_826_877_601  # a second after 2027-11-22T10:00:00Z
        known = ask._replace(headers={"If-None-Match": before.headers["ETag"]})
        assert respond(stage.engine.store, expiry + 9, known).status == 404
        dated = before.headers["Last-Modified"]
        later = respond(stage.engine.store, expiry + 9, HttpRequest("/metadata", headers={"If-Modified-Since": dated}))
        assert later.status == 200
        newest = HttpRequest("/metadata", headers={"If-Modified-Since": later.headers["Last-Modified"]})
        assert respond(stage.engine.store, expiry + 10, newest).status == 304
        assert respond(stage.engine.store, expiry + 10, newest._replace(headers={"If-Modified-Since": "yesterday"})).status == 200

    def test_a_head_has_no_body(self, serve: Serve) -> None:
        url = f"{serve().marketplace}/metadata"
        _, headers, body = request(url, "GET", None)
        assert (request(url, "HEAD", None)[1]["Content-Length"], headers["Content-Length"]) == (str(len(body)),) * 2


class TestLargeCatalogues:
    def test_they_take_little_memory(self, stage: Stage, entry: bytes) -> None:
        fill(stage.engine.store, entry.replace(b"custom", b"c" * 20_000), 1000)
        tracemalloc.start()
        response = respond(stage.engine.store, 0, HttpRequest("/metadata"))
        size = sum(map(len, response.body))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (str(size), size > 20_000_000) == (response.headers["Content-Length"], True)
        assert peak < 8_000_000

    def test_a_change_while_one_is_read(self, stage: Stage, entry: bytes) -> None:
        add(stage, entry)
        pieces = iter(respond(stage.engine.store, 0, HttpRequest("/metadata")).body)
        next(pieces)
        with stage.engine.store.transaction():
            stage.engine.store.query("DELETE FROM entries WHERE identifier = ?", (ADDED,))
        with pytest.raises(ConnectionAbortedError):
            list(pieces)


def test_entries_of_an_earlier_version(stage: Stage, entry: bytes) -> None:
    add(stage, entry)
    with stage.engine.store.transaction():
        stage.engine.store.query("DELETE FROM catalogue")
    response = respond(stage.engine.store, 0, HttpRequest("/metadata/alice@example.org"))
    assert ADDED.encode() in b"".join(response.body)
