"""The embedded Marketplace's web pages: over HTTP as a parser sees them, and in a browser as people see them."""

from __future__ import annotations

import re
import tracemalloc
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.html
import pytest

from stratuslab.local.api.html_elements import STYLE
from stratuslab.local.api.http_request_response import HttpRequest
from stratuslab.local.api.marketplace_rest import respond
from stratuslab.local.images.embedded_marketplace import MarketplaceEntries
from tests.fakes.headless_browser import CHROMIUM, HeadlessBrowser, headless_browser
from tests.fakes.served_cloud import Serve
from tests.fakes.staged_cloud import Stage
from tests.harness import CHECKOUT, TTYLINUX
from tests.local.api.test_http_server import exchange, request
from tests.local.api.test_marketplace_rest import ADDED, fill, numbered
from tests.local.templates import SMALL

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ODD = ("%00", "%ff%fe", "%1b%5B31m", "%E2%80%AE", "%3Cscript%3E", "%22%3E%3Cb%3E", "x" * 9000, "%ed%a0%80")
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
HOSTILE = "&lt;script&gt;alert(1)&lt;/script&gt; \u202egnp.exe \u009b31m"
NASTY_LOCATIONS = (
    "javascript:alert(1)",
    "JAVASCRIPT:alert(1)",
    "data:text/html,x",
    "//evil.example.org",
    "pdisk:h:1:u",
    "http:x",
)


def hostile(entry: bytes) -> bytes:
    places = (*NASTY_LOCATIONS, "http://example.org/a.img", "HTTPS://example.org/&quot;&gt;&lt;b&gt;", "ftp://example.org/a")
    more = "".join(f"<slterms:location>{place}</slterms:location>" for place in places)
    more += f"<dcterms:description>{HOSTILE}&#10;&#10;&lt;img src=x onerror=alert(1)&gt;</dcterms:description><dcterms:title>"
    return entry.replace(b"mine &amp; yours", HOSTILE.encode()).replace(b"<dcterms:title>", more.encode())


def got(url: str, status: int = 200, **headers: str) -> Any:
    """The page as a parser sees it; each is checked for what all pages must have."""
    answered, found, body = request(url, "GET", None, Accept=BROWSER, **headers)
    assert (answered, found["Content-Type"]) == (status, "text/html; charset=utf-8")
    for name, value in (
        (
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
        ("Vary", "Accept"),
    ):
        assert found[name] == value
    page: Any = lxml.html.document_fromstring(body.decode())
    assert body.startswith(b"<!DOCTYPE html>")
    assert page.get("lang") == "en"
    assert page.findtext("head/title")
    assert [len(page.findall(f".//{name}")) for name in ("main", "h1", "script", "style", "img", "iframe")] == [1, 1, 0, 0, 0, 0]
    assert not page.xpath("//@style | //@*[starts-with(name(), 'on')]")
    assert page.xpath("//body/*[1]/@href") == ["#content"]
    assert page.xpath("//main/@id") == ["content"]
    levels = [int(heading.tag[1]) for heading in page.xpath("//h1 | //h2 | //h3")]
    assert levels == sorted(levels)
    assert all(page.xpath(f"//label[@for='{field.get('id')}']") for field in page.xpath("//input | //select"))
    assert len(set(page.xpath("//@id"))) == len(page.xpath("//@id"))
    for table in page.xpath("//table"):
        assert table.findtext("caption")
        assert {cell.get("scope") for cell in table.xpath("thead//th")} == {"col"}
        assert {cell.get("scope") for cell in table.xpath("tbody//th")} == {"row"}
    return page


def titles(page: Any) -> list[str]:
    return [row.text_content() for row in page.xpath("//tbody//th/a")]


class TestCatalogue:
    def test_what_a_browser_gets(self, serve: Serve) -> None:
        base = serve().marketplace
        page = got(f"{base}/")
        assert titles(page) == ["ttylinux", "debian-base-simulated", "ubuntu-base-simulated", "alpine-base-simulated"]
        assert [cell.text_content() for cell in page.xpath("//tbody/tr[1]/td")] == [
            "ttylinux 9.7",
            "i486",
            "67.1 MB",
            "images@stratuslab.eu",
            "24 April 2012",
        ]
        assert titles(got(f"{base}/metadata")) == titles(page)
        assert request(f"{base}/", "HEAD", None, Accept=BROWSER)[2] == b""
        server = base.removesuffix("/marketplace")
        for path, place in (("", "/marketplace/"), ("/marketplace", "/marketplace/")):
            status, headers, _ = request(f"{server}{path or '/'}", "GET", None, Accept=BROWSER)
            assert (status in (301, 302), headers["Location"]) == (True, place)

    def test_programs_get_what_they_always_got(self, serve: Serve) -> None:
        base = serve().marketplace
        assert request(f"{base}/metadata", "GET", None)[1]["Content-Type"] == "application/xml; charset=utf-8"
        assert request(f"{base}/", "GET", None)[1]["Content-Type"] == "text/html; charset=utf-8"
        assert request(f"{base}/?media=xml", "GET", None)[0] == 404

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("q=DEBIAN+simulated", ["debian-base-simulated"]),
            ("q=de_ian", []),
            ("q=Latest-tag", ["mine & yours"]),
            ("q=100%25", []),
            ("os=alpine", ["alpine-base-simulated"]),
            ("arch=i486", ["ttylinux"]),
            ("endorser=alice%40example.org", ["mine & yours"]),
            ("kind=disk", []),
            ("status=expired", ["old"]),
            ("status=deprecated", []),
            ("q=simulated&os=ubuntu&arch=x86_64&kind=machine&status=all", ["ubuntu-base-simulated"]),
            ("os=alpine&os=debian", ["debian-base-simulated"]),
        ],
    )
    def test_search(self, serve: Serve, stage: Stage, entry: bytes, query: str, found: list[str]) -> None:
        marketplace = MarketplaceEntries(stage.engine.store, stage.engine.now)
        tag = b"<dcterms:alternative>latest-tag</dcterms:alternative>"
        marketplace.add(entry.replace(b"<dcterms:title>", tag + b"<dcterms:title>"))
        marketplace.add(numbered(entry, 1).replace(b"mine &amp; yours", b"old").replace(b"valid>2027", b"valid>2020"))
        page = got(f"{serve().marketplace}/?{query}")
        assert titles(page) == found
        assert ("No image matches" in page.text_content()) == (not found)
        chosen = {field.getparent().get("name"): field.get("value") for field in page.xpath("//option[@selected]")}
        for name, value in (part.split("=") for part in query.replace("%40", "@").split("&")):
            assert name in ("q", "os") or chosen[name] == value

    def test_pages(self, stage: Stage, serve: Serve, entry: bytes) -> None:
        fill(stage.engine.store, entry, 60)
        base = serve().marketplace
        first = got(f"{base}/?q=mine")
        assert (len(titles(first)), first.findtext(".//caption")) == (25, "Images 1 to 25 of 60")
        last = got(urljoin(f"{base}/", first.xpath("//nav/a[text()='Last']/@href")[0]))
        assert (len(titles(last)), last.findtext(".//caption")) == (10, "Images 51 to 60 of 60")
        assert last.xpath("//nav/*/text()") == ["First", "Previous", "Page 3 of 3"]
        for odd, number in (("-1", 1), ("0", 1), ("1" + "0" * 100, 1), ("99", 3), ("\u0663", 1), ("2&page=3", 3), ("%00", 1)):
            assert f"Page {number} of 3" in got(f"{base}/?q=mine&page={odd}".replace("\u0663", "%D9%A3")).text_content()

    @pytest.mark.parametrize(
        "odd", ["%00", "%ff%fe", "%1b%5B31m", "%E2%80%AE", "%3Cscript%3E", "%22%3E%3Cb%3E", "x" * 9000, "%ed%a0%80"]
    )
    def test_odd_queries(self, serve: Serve, odd: str) -> None:
        page = got(f"{serve().marketplace}/?q={odd}&os={odd}&status={odd}&page={odd}&{odd}={odd}&{odd}")
        (field,) = page.xpath("//input/@value")
        assert field.isprintable()
        assert len(field) <= 200

    def test_raw_bytes(self, serve: Serve) -> None:
        url = f"{serve().marketplace}/"
        for raw in (b"\xff\xfe", b"%", b"\xc3\xa4&&;=", b"+" * 5000):
            head = b"GET /marketplace/?q=%s&page=%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n" % (raw, raw)
            assert b" 200 " in exchange(url, head).splitlines()[0]

    def test_unknown_paths(self, serve: Serve) -> None:
        base = serve().marketplace
        for path in ("/marketplace/x", "/marketplace/metadata/a/b/c/d", f"/marketplace/metadata/{ADDED}", "/x", "/%ff"):
            page = got(base.removesuffix("/marketplace") + path, 404)
            assert page.xpath("//main//a/@href") == ["/marketplace/"]


class TestImage:
    def test_a_page(self, serve: Serve) -> None:
        base = serve().marketplace
        page = got(f"{base}/metadata/{TTYLINUX}")
        facts = {fact.findtext("dt"): fact.find("dd").text_content() for fact in page.xpath("//dl/div")}
        assert page.xpath("//pre")[0].text_content() == f"stratus-run-instance {TTYLINUX}"
        assert (facts["Identifier"], facts["Size"]) == (TTYLINUX, "67.1 MB (67,108,864 bytes)")
        assert (facts["Endorsed"], facts["Content"]) == ("24 April 2012", "none: machines are simulated")
        for link in page.xpath("//ul//a/@href"):
            status, headers, body = request(urljoin(base, link), "GET", None)
            assert (status, TTYLINUX.encode() in body) == (200, True)
            assert headers["Content-Disposition"].startswith(f'attachment; filename="{TTYLINUX}.')

    def test_each_that_the_catalogue_links(self, serve: Serve, stage: Stage, entry: bytes) -> None:
        marketplace = MarketplaceEntries(stage.engine.store, stage.engine.now)
        marketplace.add(numbered(entry, 1).replace(b"<slreq:email>alice@example.org</slreq:email>", b""))
        marketplace.add(numbered(entry, 2).replace(b"alice@example.org", "\u00e4/&amp;?#@b".encode()))
        marketplace.add(entry)
        marketplace.add(entry.replace(b"alice@", b"bob@").replace(b"mine", b"bob's"))
        base = serve().marketplace
        for link in got(f"{base}/").xpath("//tbody//th/a"):
            assert got(urljoin(base, link.get("href"))).find(".//h1").text_content() == link.text_content()
        assert titles(got(f"{base}/metadata/{ADDED}")) == ["mine & yours", "bob's & yours"]

    @pytest.mark.parametrize(
        ("old", "new", "text", "command"),
        [
            (b"valid>2027", b"valid>2020", "Expired on 22 November 2020.", f"stratus-run-instance --allow-expired {ADDED}"),
            (
                b"<dcterms:title>",
                b"<slterms:deprecated>too old</slterms:deprecated><dcterms:title>",
                "Deprecated: too old",
                f"stratus-run-instance --allow-expired {ADDED}",
            ),
            (b"<dcterms:title>", b"<slterms:kind>disk</slterms:kind><dcterms:title>", "This image is data", ""),
        ],
    )
    def test_what_to_know(
        self, serve: Serve, stage: Stage, entry: bytes, old: bytes, new: bytes, text: str, command: str
    ) -> None:
        MarketplaceEntries(stage.engine.store, 0).add(entry.replace(old, new))
        page = got(f"{serve().marketplace}/metadata/{ADDED}")
        assert text in page.text_content()
        assert "".join(page.xpath("//pre//text()")) == command

    @pytest.mark.parametrize("year", ["0001", "0999", "9999"])
    def test_dates_far_away(self, serve: Serve, stage: Stage, entry: bytes, year: str) -> None:
        dated = entry.replace(b"created>2026", f"created>{year}".encode()).replace(b"valid>2027", f"valid>{year}".encode())
        MarketplaceEntries(stage.engine.store, 0).add(dated)
        base = serve().marketplace
        assert "mine & yours" in titles(got(f"{base}/?status=all"))
        assert request(f"{base}/metadata?status=all", "GET", None)[0] == 200
        shown = got(f"{base}/metadata/{ADDED}").text_content()
        assert f"22 November {int(year)}" in shown
        assert ("Expired" in shown) == (year < "2000")

    def test_hostile_texts(self, serve: Serve, stage: Stage, entry: bytes) -> None:
        MarketplaceEntries(stage.engine.store, 0).add(hostile(entry))
        base = serve().marketplace
        for page in (got(f"{base}/"), got(f"{base}/metadata/{ADDED}")):
            shown = page.text_content()
            assert "<script>alert(1)</script> \ufffdgnp.exe \ufffd31m" in shown
            assert all(char.isprintable() for char in shown)
        web = [link for link in page.xpath("//a/@href") if urlsplit(link).scheme]
        assert [link.lower().partition(":")[0] for link in web] == ["http", "https", "ftp"]
        assert set(NASTY_LOCATIONS) <= set(page.xpath("//li/code//text()"))


class TestSafety:
    def test_a_page_may_ask_only_its_own_marketplace(self, serve: Serve) -> None:
        urls = serve()
        got(f"{urls.marketplace}/", Sec_Fetch_Site="same-origin")
        for site in ("same-site", "cross-site"):
            assert request(f"{urls.marketplace}/", "GET", None, Accept=BROWSER, Sec_Fetch_Site=site)[0] == 403
        assert request(urls.rpc, Sec_Fetch_Site="same-origin")[0] == 403

    def test_what_nobody_without_a_password_sees(self, serve: Serve, stage: Stage) -> None:
        """Of a cloud with users and machines, the pages show its images alone."""
        urls = serve()
        proxy = xmlrpc.client.ServerProxy(urls.rpc)
        assert proxy.one.vm.allocate("alice:secret", SMALL + "NAME=hidden\n")
        shown = got(f"{urls.marketplace}/").text_content()
        assert [word in shown for word in ("ttylinux", "alice", "oneadmin", "hidden")] == [True, False, False, False]

    def test_memory_and_size_with_many_entries(self, stage: Stage, entry: bytes) -> None:
        fill(stage.engine.store, entry.replace(b"custom", b"c" * 5000), 3000)
        tracemalloc.start()
        body = b"".join(respond(stage.engine.store, 0, HttpRequest("/", "page=60", {"Accept": BROWSER})).body)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (len(body) < 200_000, peak < 4_000_000) == (True, True)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_contrast(theme: int) -> None:
    style = (CHECKOUT / "stratuslab/local/api" / STYLE).read_text()
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", re.findall(r":root \{([^}]*)\}", style)[theme]))
    texts = [(text, ground) for text in ("text", "quiet", "link") for ground in ("ground", "panel")]
    for text, ground in (*texts, ("warning", "warning-ground"), ("on-accent", "accent")):
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for control in ("control", "accent"):
        assert contrast(colours[control], colours["ground"]) >= 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadlessBrowser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    with headless_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


OVERFLOWING = """[...document.querySelectorAll('body *:not(.skip)')].filter(each => !each.closest('thead')
    && each.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(each => each.outerHTML)"""


class TestBrowser:
    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("dark", [False, True])
    @pytest.mark.parametrize("path", ["/", f"/metadata/{ADDED}", "/?q=nothing+at+all&status=all"])
    def test_everything_has_room(
        self,
        serve: Serve,
        stage: Stage,
        entry: bytes,
        browser: HeadlessBrowser,
        tmp_path: Path,
        width: int,
        dark: bool,
        path: str,
    ) -> None:
        MarketplaceEntries(stage.engine.store, 0).add(hostile(entry).replace(b"alice@", b"a" * 100 + b"@"))
        browser.open(serve().marketplace + path, width, dark=dark)
        assert browser.complaints == []
        assert browser.evaluate("[innerWidth, document.documentElement.scrollWidth > innerWidth]") == [width, False]
        assert browser.evaluate(OVERFLOWING) == []
        ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(18, 23, 30)" if dark else "rgb(255, 255, 255)")
        browser.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000

    def test_by_keyboard(self, serve: Serve, browser: HeadlessBrowser) -> None:
        browser.open(f"{serve().marketplace}/", 1280)
        browser.press("Tab")
        place = "document.activeElement.getBoundingClientRect()"
        skip = f"[document.activeElement.textContent, {place}.top >= 0 && {place}.left >= 0]"
        assert browser.evaluate(skip) == ["Skip to the content", True]
        browser.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert (browser.evaluate("document.activeElement.textContent"), browser.evaluate(outline)) == ("Image catalogue", "solid")
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.labels[0].textContent") == "Words"
        browser.type("ttyl")
        browser.press("Enter", "\r")
        browser.wait_for_page()
        assert browser.evaluate("[...document.querySelectorAll('tbody th a')].map(each => each.textContent)") == ["ttylinux"]
        browser.evaluate("document.querySelector('tbody th a').focus()")
        browser.press("Enter", "\r")
        browser.wait_for_page()
        assert browser.evaluate("document.querySelector('pre').textContent") == f"stratus-run-instance {TTYLINUX}"
        assert browser.complaints == []

    def test_a_narrow_table_is_still_one(self, serve: Serve, browser: HeadlessBrowser) -> None:
        browser.open(f"{serve().marketplace}/", 390)
        roles = [node["role"]["value"] for node in browser.accessible() if not node.get("ignored")]
        expected = {"table": 1, "columnheader": 6, "rowheader": 4, "row": 5, "main": 1, "search": 1}
        assert {role: roles.count(role) for role in expected} == expected
