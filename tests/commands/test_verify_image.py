"""--verify-image: an image starts only if a trusted endorser has signed its metadata, and stratus-show-image says whether."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stratuslab.errors import ExitStatus
from tests.commands.test_answers import document
from tests.commands.test_list_networks import at
from tests.commands.test_search_image import MINE, answers
from tests.fakes.endorser import Endorser
from tests.fakes.scripted_opennebula import Clouds
from tests.fakes.scripted_server import Scripted
from tests.harness import TTYLINUX, Ran, Shell

Alter = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def alice_() -> Endorser:
    return Endorser("alice@example.org")


@pytest.fixture(scope="module")
def mallory() -> Endorser:
    return Endorser("mallory@example.org")


@pytest.fixture
def real(entry: bytes) -> bytes:
    """An entry that looks like StratusLab's: with a base, a default namespace inside, and not only ASCII."""
    return entry.replace(b"</dcterms:title>", "é</dcterms:title><created xmlns='http://purl.org/dc/terms/'/>".encode(), 1)


@pytest.fixture
def start(shell: Shell, scripted: Scripted) -> Callable[..., Ran]:
    """Start the image that a Marketplace describes with these entries, on the embedded cloud."""

    def run(*entries: bytes, command: str = "run", image: str = MINE, options: tuple[str, ...] = ("--verify-image",)) -> Ran:
        whole = b"<metadata>" + b"\n".join(entry.partition(b"?>")[2] if entry.startswith(b"<?") else entry for entry in entries)
        server = scripted(answers(whole + b"</metadata>"), answers(whole + b"</metadata>"))
        return shell(command, *options, "--endpoint", "local", "--marketplace-endpoint", server.url, image)

    shell.environ["STRATUSLAB_TRUSTED_ENDORSERS"] = "bob@example.org, Alice@example.org"
    return run


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_trusted_endorser(start: Callable[..., Ran], real: bytes, alice_: Endorser, algorithm: str) -> None:
    ran = start(alice_.signed(real, algorithm), options=("--verify-image", "--dry-run"))
    assert (ran.status, MINE in ran.out) == (0, True)
    assert ran.err.endswith(
        f"image {MINE} is signed by CN=alice,O=Tests <alice@example.org>, certificate {alice_.fingerprint}; anybody can make a "
        f"certificate in this name: to rely on it, set trusted_certificates = {alice_.fingerprint}\n"
    )


def test_a_trusted_certificate(start: Callable[..., Ran], shell: Shell, real: bytes, alice_: Endorser) -> None:
    """A pinned certificate gives no warning, and another one with the same name is refused."""
    colons = ":".join(alice_.fingerprint[7:][place : place + 2] for place in range(0, 64, 2)).upper()
    shell.environ["STRATUSLAB_TRUSTED_CERTIFICATES"] = f"SHA256:{colons},{'0' * 64}"
    assert start(alice_.signed(real)).err == ""
    ran = start(Endorser("alice@example.org").signed(real))
    assert (ran.status, ran.out) == (ExitStatus.FAILED, "")
    assert "it is signed as alice@example.org, but with a certificate that is not trusted: CN=alice,O=Tests" in ran.err
    del shell.environ["STRATUSLAB_TRUSTED_ENDORSERS"]
    assert start(alice_.signed(real)).status == 0
    shell.environ["STRATUSLAB_TRUSTED_CERTIFICATES"] = "sha256:12"
    assert start(alice_.signed(real)).status == ExitStatus.USAGE
    assert start(real, command="show_image", options=()).status == ExitStatus.USAGE


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (lambda signed: signed.replace(b"custom", b"evil"), "is broken: the metadata was changed after it was signed ("),
        (
            lambda signed: signed.replace(b"<DigestValue>", b"<DigestValue>AA"),
            "is broken: it was not made with the key of its cer",
        ),
        (lambda signed: signed.replace(b"#rsa-sha1", b"#hmac-sha1"), "is broken: Signature method HMAC_SHA1 forbidden"),
        (lambda signed: signed.replace(b"#rsa-sha1", b"#dsa-sha1"), "is broken: Signature method DSA_SHA1 forbidden"),
        (lambda signed: signed.replace(b"X509Certificate>", b"X509CRL>"), "is broken: it has no certificate"),
        (lambda signed: signed.replace(b"X509Certificate>M", b"X509Certificate>Q"), "is broken: "),
        (lambda signed: signed.replace(b'URI=""', b'URI="#a"'), "is broken: it does not cover the whole document"),
        (lambda signed: signed[: signed.index(b"<Signature ")] + b"</rdf:RDF>", ": its metadata is not signed ("),
        (
            lambda signed: signed.replace(b"<Signature ", b"<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'/><Signature "),
            "is broken: not a single signature of the document",
        ),
    ],
)
def test_what_is_refused(start: Callable[..., Ran], real: bytes, alice_: Endorser, alter: Alter, reason: str) -> None:
    ran = start(alter(alice_.signed(real)))
    assert (ran.status, ran.out) == (ExitStatus.FAILED, "")
    assert f"image {MINE}: " in ran.err and reason in ran.err and "add --no-verify-image" in ran.err


def test_the_signer_is_not_the_endorser(start: Callable[..., Ran], real: bytes, mallory: Endorser) -> None:
    """Neither a certificate in another name, nor one without an email for another person."""
    for signer in (mallory, Endorser("", "Mallory")):
        ran = start(signer.signed(real))
        assert ran.status == ExitStatus.FAILED
        assert "it is endorsed by CN=Alice <alice@example.org>, but signed by somebody else: CN=" in ran.err


def test_an_endorser_who_is_not_trusted(start: Callable[..., Ran], shell: Shell, real: bytes, mallory: Endorser) -> None:
    theirs = mallory.signed(real.replace(b"alice@", b"mallory@"))
    ran = start(theirs)
    assert (ran.status, "its endorser mallory@example.org is not trusted; it is signed by CN=mallory,O=Tests" in ran.err) == (
        1,
        True,
    )
    assert "(if you trust the endorser, add mallory@example.org to trusted_endorsers; to start it" in ran.err
    del shell.environ["STRATUSLAB_TRUSTED_ENDORSERS"]
    assert "no endorser is trusted; it is endorsed by mallory@example.org" in start(theirs).err


def test_a_certificate_without_an_email(start: Callable[..., Ran], real: bytes) -> None:
    """As authorities of the grid issue them: then the subject must be the endorser's."""
    signer = Endorser("", "Alice")
    assert start(signer.signed(real.replace(b"CN=Alice<", b"CN=Alice,O=Tests<"))).status == 0


def test_a_certificate_with_a_hostile_name(start: Callable[..., Ran], real: bytes) -> None:
    signed = Endorser("alice@example.org", "a\x1b[31m").signed(real)
    for ran in (start(signed), start(signed, command="show_image", options=())):
        assert (ran.status, "CN=a" in ran.out + ran.err, "\x1b" in ran.out + ran.err) == (0, True, False)


def test_an_expired_certificate(start: Callable[..., Ran], real: bytes) -> None:
    signed = Endorser("alice@example.org", days=-1).signed(real)
    ran = start(signed)
    assert (ran.status, ", which expired on " in ran.err, "--allow-expired" in ran.err) == (ExitStatus.FAILED, True, True)
    assert start(signed, options=("--verify-image", "--allow-expired")).status == 0


def test_only_what_was_signed_is_used(
    start: Callable[..., Ran], shell: Shell, real: bytes, alice_: Endorser, mallory: Endorser
) -> None:
    """Newer entries of others do not count, wherever the signature of the trusted one was moved to."""
    good = alice_.signed(real)
    evil = real.replace(b"2026-11-22", b"2026-11-23").replace(b"custom", b"evil")
    signature = good[good.index(b"<Signature ") : good.index(b"</rdf:RDF>")]
    original = good[good.index(b"<rdf:RDF") :]
    wrapped = evil.replace(b"</rdf:RDF>", original + signature + b"</rdf:RDF>")
    inside = evil.replace(b"</rdf:RDF>", signature + b"</rdf:RDF>")
    for bad in (wrapped, inside, evil, mallory.signed(evil.replace(b"alice@", b"mallory@"))):
        assert start(bad).status == ExitStatus.FAILED
        assert start(bad, good).status == 0
        (row,) = document(start(bad, good, command="show_image", options=("--format", "json")))["details"]
        assert (row["os"], row["endorser_trusted"] or False) == ("evil", False)


def test_a_name_must_be_the_signed_one(start: Callable[..., Ran], real: bytes, alice_: Endorser) -> None:
    """A Marketplace cannot give another signed image for the name that was asked for."""
    signed = alice_.signed(real)
    assert start(signed, image="mine & yoursé").status == 0
    lie = real.replace(b"mine &amp; yours", b"wanted").replace(b"alice@", b"bob@")
    ran = start(lie, signed, image="wantedé")
    assert (ran.status, "its metadata is not signed" in ran.err) == (ExitStatus.FAILED, True)


def test_what_a_signature_does_not_cover(start: Callable[..., Ran], real: bytes, alice_: Endorser) -> None:
    """Comments, which are not read either, and how the document is written; but no processing instruction."""
    signed = alice_.signed(real.replace(b"<dcterms:title>", b"<?one two?><dcterms:title>"))
    assert (
        start(signed.replace(b"CN=Alice", b"CN=<!-- no -->Alice").replace(b'"http', b"  'http").replace(b'/"', b"/'")).status == 1
    )
    assert start(signed.replace(b"CN=Alice", b"CN=<!-- no -->Alice").replace(b"<rdf:RDF ", b"<rdf:RDF\n\t")).status == 0
    assert start(signed.replace(b"<?one two?>", b"<?one three?>")).status == ExitStatus.FAILED


@pytest.mark.parametrize(
    "word", ["one:tiny", "template:large", "https://example.org/image", "11111111-1111-1111-1111-111111111111"]
)
def test_what_cannot_be_verified(shell: Shell, word: str) -> None:
    shell.environ["STRATUSLAB_VERIFY_IMAGE"] = "yes"
    ran = shell("run", word)
    assert (ran.status, f"{word} cannot be verified: only entries of a Marketplace are signed" in ran.err) == (1, True)
    assert shell("run", "--no-check-image-url", MINE).status == ExitStatus.FAILED
    shell.environ["STRATUSLAB_VERIFY_IMAGE"] = "perhaps"
    assert shell("run", word).status == ExitStatus.USAGE


def test_the_embedded_marketplace(own: Shell, tmp_path: Path, real: bytes, alice_: Endorser) -> None:
    """Its own entries have no signature; one that was added with a signature keeps it, to the byte, also over HTTP."""
    own.environ.update(STRATUSLAB_VERIFY_IMAGE="yes", STRATUSLAB_TRUSTED_ENDORSERS="alice@example.org")
    for image in (TTYLINUX, MINE):
        ran = own("run", image)
        assert (ran.status, f"image {image}: its metadata is not signed (to start it" in ran.err) == (ExitStatus.FAILED, True)
        assert own("run", "--no-verify-image", image).status == 0
    newer = real.replace(b"2026-11-22T10", b"2026-11-23T10").replace(b"\n", b"\r\n")
    signed = alice_.signed(newer).replace(b"<slterms:os>", b"<!-- --><slterms:os >")
    (tmp_path / "signed.xml").write_bytes(signed)
    assert own("local_cloud", "add-entry", str(tmp_path / "signed.xml")).status == 0
    text = signed.decode().partition("?>")[2].strip()
    shown = own("show_image", "--metadata", MINE).out
    assert "<!-- -->" in shown and text.replace("\r", "") in shown
    for endpoint in (own.environ["STRATUSLAB_MARKETPLACE_ENDPOINT"], "local"):
        assert own("run", MINE, "--marketplace-endpoint", endpoint).status == 0


def test_without_the_package(
    start: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, real: bytes, alice_: Endorser, mallory: Endorser
) -> None:
    monkeypatch.setitem(sys.modules, "signxml.verifier", None)
    ran = start(alice_.signed(real))
    reason = "signatures cannot be checked without the package signxml (5.1 or newer) (pip install 'signxml>=5.1')"
    assert (ran.status, ran.err) == (ExitStatus.FAILED, f"stratus-run-instance: {reason}\n")
    (row,) = document(start(alice_.signed(real), command="show_image", options=("--format", "json")))["details"]
    assert (row["signature"], row["endorser_trusted"]) == ("not checked", None)
    assert "pip install" in row["signature_note"]


def test_the_signature_is_shown(start: Callable[..., Ran], real: bytes, alice_: Endorser, mallory: Endorser) -> None:
    def shown(entry: bytes) -> tuple[object, ...]:
        (row,) = document(start(entry, command="show_image", options=("--format", "json")))["details"]
        return tuple(row[name] for name in ("signature", "signed_by", "certificate", "endorser_trusted", "signature_note"))

    assert shown(real) == ("none", "CN=Alice", None, None, None)
    assert shown(alice_.signed(real)) == ("valid", "CN=alice,O=Tests", alice_.fingerprint, True, None)
    state, subject, fingerprint, trusted, note = shown(mallory.signed(real))
    assert (state, subject, fingerprint, trusted) == ("valid", "CN=mallory,O=Tests", mallory.fingerprint, False)
    assert "signed by somebody else" in str(note)
    broken = shown(alice_.signed(real).replace(b"custom", b"evil"))
    reason = "the signature of its metadata is broken: the metadata was changed after it was signed"
    assert broken == ("broken", "CN=Alice", None, False, reason)


def test_the_clouds_own_image_is_no_way_around(shell: Shell, opennebula: Clouds) -> None:
    """OpenNebula boots an image of its own that has the identifier, which a Marketplace that does not answer cannot vouch for."""
    image = f"<IMAGE><ID>4</ID><UNAME>alice</UNAME><NAME>{MINE}</NAME><TYPE>0</TYPE></IMAGE>"
    alice = at(shell, opennebula(things={"image": {4: image}}).url)
    unreachable = ("--marketplace-endpoint", "http://127.0.0.1:1", MINE)
    assert alice("run", *unreachable).status == 0
    assert alice("run", "--verify-image", *unreachable).status == ExitStatus.NOT_FOUND
