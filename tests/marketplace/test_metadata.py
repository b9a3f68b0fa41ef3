"""Metadata documents: complete, sparse, several in one, foreign, hostile."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.errors import StratusLabError
from stratuslab.marketplace.identifier import sha1_from_identifier
from stratuslab.marketplace.metadata import MAXIMUM_SIZE, Metadata, date_text, read
from stratuslab.marketplace.metadata_writer import written

NOW = datetime(2012, 11, 1, tzinfo=timezone.utc)
TTYLINUX = "BN1EEkPiBx87_uLj2-sdybSI-Xb"
OTHER = "MMZu9WvwKIro-rtBQfDk4PsKO7_"

NAMESPACES = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dcterms="http://purl.org/dc/terms/" '
    'xmlns:slreq="http://mp.stratuslab.eu/slreq#" xmlns:slterms="http://mp.stratuslab.eu/slterms#" '
    'xml:base="http://mp.stratuslab.eu/"'
)

COMPLETE = """
<rdf:Description rdf:about="#BN1EEkPiBx87_uLj2-sdybSI-Xb">
  <dcterms:identifier>BN1EEkPiBx87_uLj2-sdybSI-Xb</dcterms:identifier>
  <slreq:bytes>10485760</slreq:bytes>
  <slreq:checksum rdf:parseType="Resource">
    <slreq:algorithm>MD5</slreq:algorithm>
    <slreq:value>D41D8CD98F00B204E9800998ECF8427E</slreq:value>
  </slreq:checksum>
  <slreq:checksum rdf:parseType="Resource">
    <slreq:algorithm>SHA-1</slreq:algorithm>
    <slreq:value>137510490f881c7ceffb8b8f6fac7726d223e5db</slreq:value>
  </slreq:checksum>
  <slreq:endorsement rdf:parseType="Resource">
    <dcterms:created>2012-10-05T09:14:38Z</dcterms:created>
    <slreq:endorser rdf:parseType="Resource">
      <slreq:email>images@stratuslab.eu</slreq:email>
      <slreq:subject>CN=Images,O=StratusLab</slreq:subject>
      <slreq:issuer>CN=CA</slreq:issuer>
    </slreq:endorser>
  </slreq:endorsement>
  <dcterms:type>machine</dcterms:type>
  <slterms:kind>machine</slterms:kind>
  <slterms:os>ttylinux</slterms:os>
  <slterms:os-version>14.0</slterms:os-version>
  <slterms:os-arch>x86_64</slterms:os-arch>
  <slterms:version>1.3</slterms:version>
  <dcterms:compression>gz</dcterms:compression>
  <slterms:location>http://example.org/ttylinux.img.gz</slterms:location>
  <slterms:location>pdisk:example.org:8445:8a1b</slterms:location>
  <slterms:location>http://example.org/ttylinux.img.gz</slterms:location>
  <dcterms:format>qcow2</dcterms:format>
  <slterms:disks-bus>virtio</slterms:disks-bus>
  <slterms:hypervisor>kvm</slterms:hypervisor>
  <slterms:inbound-port>22</slterms:inbound-port>
  <slterms:inbound-port>80</slterms:inbound-port>
  <dcterms:creator>Jos\u00e9 &amp; Co</dcterms:creator>
  <dcterms:created>2010-01-01T00:00:00Z</dcterms:created>
  <dcterms:valid>2013-03-31T09:14:38Z</dcterms:valid>
  <dcterms:publisher>StratusLab</dcterms:publisher>
  <dcterms:title>ttylinux \u00e9 base image</dcterms:title>
  <dcterms:alternative>ttylinux</dcterms:alternative>
  <dcterms:description>
    A small <!-- really --> Linux
  </dcterms:description>
</rdf:Description>
"""


def rdf(inner: str) -> str:
    return f"<rdf:RDF {NAMESPACES}>{inner}</rdf:RDF>"


def entry(identifier: str = TTYLINUX, created: str = "2012-10-05T09:14:38Z", sha1: str | None = None, more: str = "") -> str:
    digits = sha1_from_identifier(identifier) if sha1 is None else sha1
    return rdf(
        f'<rdf:Description rdf:about="#{identifier}"><dcterms:identifier>{identifier}</dcterms:identifier>'
        f"<slreq:checksum><slreq:algorithm>SHA-1</slreq:algorithm><slreq:value>{digits}</slreq:value></slreq:checksum>"
        f"<slreq:endorsement><dcterms:created>{created}</dcterms:created></slreq:endorsement>{more}</rdf:Description>"
    )


def collection(*entries: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><metadata>{"".join(entries)}</metadata>'.encode()


def location(text: str) -> str:
    return f"<slterms:location>{text}</slterms:location>"


def test_a_complete_entry() -> None:
    assert read(rdf(COMPLETE).encode(), TTYLINUX, NOW) == Metadata(
        identifier=TTYLINUX,
        bytes=10485760,
        checksums={"MD5": "d41d8cd98f00b204e9800998ecf8427e", "SHA-1": "137510490f881c7ceffb8b8f6fac7726d223e5db"},
        created=datetime(2012, 10, 5, 9, 14, 38, tzinfo=timezone.utc),
        valid=datetime(2013, 3, 31, 9, 14, 38, tzinfo=timezone.utc),
        os="ttylinux",
        os_version="14.0",
        os_arch="x86_64",
        version="1.3",
        format="qcow2",
        locations=("http://example.org/ttylinux.img.gz", "pdisk:example.org:8445:8a1b"),
        disks_bus="virtio",
        inbound_ports=("22", "80"),
        title="ttylinux \u00e9 base image",
        description="A small  Linux",
        email="images@stratuslab.eu",
        subject="CN=Images,O=StratusLab",
        tags=("ttylinux",),
        compression="gz",
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?>{rdf(COMPLETE)}'.encode(encoding)
    assert read(document, TTYLINUX, NOW).title == "ttylinux \u00e9 base image"


def test_a_sparse_entry_has_the_defaults() -> None:
    found = read(
        rdf(f"<rdf:Description><dcterms:identifier>{TTYLINUX}</dcterms:identifier></rdf:Description>").encode(),
        TTYLINUX,
        NOW,
    )
    assert found == Metadata(identifier=TTYLINUX, format="raw", disks_bus="", locations=(), created=None)
    assert found.sha1 == "137510490f881c7ceffb8b8f6fac7726d223e5db"
    assert hash(found) is not None


def test_the_newest_entry_wins_with_its_own_locations() -> None:
    document = collection(
        entry(created="2012-01-01T00:00:00Z", more=location("http://example.org/old")),
        entry(created="2012-10-01T00:00:00Z", more=location("http://example.org/new")),
        entry(created="2012-02-01T00:00:00Z", more=location("http://example.org/older")),
        entry(OTHER, created="2012-10-30T00:00:00Z", more=location("http://example.org/other")),
    )
    assert read(document, TTYLINUX, NOW).locations == ("http://example.org/new",)


def test_an_entry_that_is_good_goes_before_a_newer_one_that_is_not() -> None:
    good = entry(created="2012-01-01T00:00:00Z", more="<dcterms:title>good</dcterms:title>")
    deprecated = entry(created="2012-05-01T00:00:00Z", more="<slterms:deprecated>hole</slterms:deprecated>")
    expired = entry(created="2012-06-01T00:00:00Z", more="<dcterms:valid>2012-07-01T00:00:00Z</dcterms:valid>")
    spoilt = entry(created="2012-10-01T00:00:00Z", sha1="1" * 40)
    found = read(collection(deprecated, expired, spoilt, good), TTYLINUX, NOW)
    assert (found.title, found.deprecated, found.expired(NOW)) == ("good", None, False)
    found = read(collection(deprecated, expired), TTYLINUX, NOW)
    assert (found.expired(NOW), found.expired(datetime(2012, 6, 30, tzinfo=timezone.utc))) == (True, False)


def test_deprecation_without_a_reason_is_deprecation() -> None:
    assert read(entry(more="<slterms:deprecated/>").encode(), TTYLINUX, NOW).deprecated == ""


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2012-10-05T09:14:38Z", datetime(2012, 10, 5, 9, 14, 38, tzinfo=timezone.utc)),
        ("2012-10-05T09:14:38+02:00", datetime(2012, 10, 5, 7, 14, 38, tzinfo=timezone.utc)),
        ("2012-10-05T09:14:38", datetime(2012, 10, 5, 9, 14, 38, tzinfo=timezone.utc)),
        ("0001-01-01T00:00:00+14:00", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_dates(text: str, date: datetime | None) -> None:
    assert read(entry(created=text).encode(), TTYLINUX, NOW).created == date


@pytest.mark.parametrize("size", ["-1", "many", "9" * 5000, "1e9", ""])
def test_a_size_that_is_none(size: str) -> None:
    assert read(entry(more=f"<slreq:bytes>{size}</slreq:bytes>").encode(), TTYLINUX, NOW).bytes is None


@pytest.mark.parametrize(
    "digits", ["0" * 6 + "137510490f881c7ceffb8b8f6fac7726d223e5db", "137510490F881C7CEFFB8B8F6FAC7726D223E5DB"]
)
def test_sha1_and_identifier_agree_as_numbers(digits: str) -> None:
    assert read(entry(sha1=digits).encode(), TTYLINUX, NOW).checksums == {"SHA-1": "137510490f881c7ceffb8b8f6fac7726d223e5db"}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not well-formed XML"),
        (b"garbage", "not well-formed XML"),
        (b"\xff\xfe\x00<", "not well-formed XML"),
        (rdf(COMPLETE).encode()[:900], "not well-formed XML"),
        (b"<!DOCTYPE html><html><body>Welcome</body></html>", "web page"),
        (b"\n<HTML ><p>Sign in", "web page"),
        (b"<error>nothing</error>", "the document is <error>"),
        (rdf("").encode(), "no entry"),
        (b"<metadata/>", "no entry"),
        (rdf("<rdf:Description/>").encode(), "has no image identifier"),
        (
            rdf("<rdf:Description><dcterms:identifier>x\ny</dcterms:identifier></rdf:Description>").encode(),
            "not an image identifier",
        ),
        (entry(OTHER).encode(), f"another image, {OTHER}"),
        (entry(sha1="1" * 40).encode(), "another image's SHA-1"),
        (entry(sha1="rubbish").encode(), "another image's SHA-1"),
        (entry(sha1="").encode(), "another image's SHA-1"),
        (entry().replace(f"#{TTYLINUX}", f"#{OTHER}").encode(), "says that it is about"),
        (b'<!DOCTYPE a [<!ENTITY x "y">]>' + entry(more="<dcterms:title>&x;</dcterms:title>").encode(), "document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd">' + entry().encode(), "document type"),
        (b"<a>" * 300 + b"</a>" * 300, "Excessive depth"),
        (b'<?xml version="1.0" encoding="nonsense"?><a/>', "not well-formed XML"),
        (b" " * (MAXIMUM_SIZE + 1), "larger than 4 MiB"),
    ],
)
def test_what_is_no_metadata_of_the_image_is_said_in_one_line(document: bytes, why: str) -> None:
    with pytest.raises(StratusLabError) as caught:
        read(document, TTYLINUX, NOW)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_entities_are_never_expanded() -> None:
    lol = b'<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (b, (b"&%c;" % a) * 10) for a, b in zip(b"abcdefghi", b"bcdefghij", strict=False)
    )
    with pytest.raises(StratusLabError):
        read(lol + b"]>" + entry(more="<dcterms:title>&j;</dcterms:title>").encode(), TTYLINUX, NOW)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_politely(document: bytes) -> None:
    with pytest.raises(StratusLabError):
        read(document, TTYLINUX, NOW)


@given(st.integers(0, len(rdf(COMPLETE).encode()) - 1))
def test_half_documents(length: int) -> None:
    with pytest.raises(StratusLabError):
        read(rdf(COMPLETE).encode()[:length], TTYLINUX, NOW)


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20).map(str.strip)


@given(
    st.builds(
        Metadata,
        identifier=st.just(TTYLINUX),
        bytes=st.none() | st.integers(0, 10**18 - 1),
        checksums=st.dictionaries(st.sampled_from(["MD5", "SHA-256"]), st.text("0123456789abcdef", min_size=1), max_size=2),
        title=TEXT,
        description=TEXT,
        created=st.none() | st.just(NOW),
        valid=st.none() | st.just(NOW),
        os=TEXT,
        locations=st.lists(TEXT.filter(bool), unique=True, max_size=3).map(tuple),
        inbound_ports=st.lists(TEXT.filter(bool), unique=True, max_size=3).map(tuple),
        email=TEXT,
        subject=TEXT,
        deprecated=st.none() | TEXT,
    )
)
def test_what_is_written_is_read(metadata: Metadata) -> None:
    assert read(written(metadata).encode(), TTYLINUX, NOW) == metadata


def test_what_no_xml_can_hold_is_replaced() -> None:
    document = written(Metadata(TTYLINUX, title="a\x00b\ud800\ufffe<&>"))
    assert read(document.encode(), TTYLINUX, NOW).title == "a?b??<&>"


def test_dates_as_they_are_written() -> None:
    assert (date_text(NOW), date_text(None)) == ("2012-11-01T00:00:00Z", "")
