"""The XML signature of a Marketplace entry: whether it is valid, who made it, and whether the user trusts that endorser.

StratusLab's documents have an enveloped signature (RSA, SHA-1) over the whole document, with the signer's certificate in it. The
package signxml checks it. Nobody but the user vouches for a certificate: whoever makes one can name anybody in it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree
from lxml.etree import _Element

from stratuslab.errors import StratusLabError
from stratuslab.marketplace.metadata import RDF, Metadata, entry_documents, entry_of, in_message, parsed, read, single

_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_XML = "{http://www.w3.org/XML/1998/namespace}"
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
_HASHES = ("SHA1", "SHA256", "SHA384", "SHA512")  # StratusLab's are SHA-1


class SignxmlMissing(StratusLabError):
    """The package that checks signatures is not installed, or too old."""


class Signer(NamedTuple):
    """The certificate of a signature. ``subject`` is as in RFC 4514, ``fingerprint`` is ``sha256:`` and 64 hexadecimal digits,
    ``emails`` may be empty; it is valid between the two dates."""

    subject: str
    emails: Collection[str]
    fingerprint: str
    valid_from: datetime
    valid_until: datetime

    def __str__(self) -> str:
        named = " ".join([self.subject, *(f"<{email}>" for email in self.emails)])
        return f"{in_message(named, 150)}, certificate {self.fingerprint}"


class SignedEntry(NamedTuple):
    """An entry and its signature. With a ``signer`` the entry is exactly what was signed; ``problem`` says what is wrong with
    the signature, and is empty if it is the endorser's and valid."""

    entry: Metadata
    signer: Signer | None = None
    problem: str = ""


class SignatureCheck(NamedTuple):
    """What to say of a signature: ``valid``, ``broken``, or ``not checked`` for want of signxml; the subject and the fingerprint
    of the certificate, empty if it is not valid; whether the endorser is trusted, None if it was not checked; what is wrong."""

    state: str
    subject: str = ""
    certificate: str = ""
    trusted: bool | None = None
    note: str = ""


class Trust(NamedTuple):
    """Whom the user trusts: the email addresses of endorsers, in lower case, and fingerprints of certificates. Where one of the
    two is empty, it does not restrict the other."""

    endorsers: Collection[str] = ()
    certificates: Collection[str] = ()

    def require(self, signed: SignedEntry, now: datetime, *, allow_expired: bool = False) -> None:
        """Raise StratusLabError unless the entry has a valid signature of an endorser who is trusted."""
        entry, signer, problem = signed
        if signer is None or problem:
            raise StratusLabError(problem)
        email = in_message(entry.email) or "no email"
        if self.endorsers and entry.email.lower() not in self.endorsers:
            raise StratusLabError(
                f"its endorser {email} is not trusted; it is signed by {signer}",
                f"if you trust the endorser, add {email} to trusted_endorsers" if entry.email else "",
            )
        if self.certificates and signer.fingerprint not in self.certificates:
            raise StratusLabError(
                f"it is signed as {email}, but with a certificate that is not trusted: {signer}",
                f"if the certificate is the endorser's, add {signer.fingerprint} to trusted_certificates",
            )
        if not self.endorsers and not self.certificates:
            raise StratusLabError(
                f"no endorser is trusted; it is endorsed by {email} and signed by {signer}",
                "if you trust both the endorser and the certificate, set trusted_endorsers and trusted_certificates",
            )
        if now < signer.valid_from:
            raise StratusLabError(f"it is signed by {signer}, which is not valid before {signer.valid_from:%Y-%m-%d}")
        if now > signer.valid_until and not allow_expired:
            raise StratusLabError(
                f"it is signed by {signer}, which expired on {signer.valid_until:%Y-%m-%d}",
                "ask the endorser to sign it again; to accept that certificate, add --allow-expired",
            )


def require_signxml() -> None:
    """Raise SignxmlMissing if signatures cannot be checked."""
    try:
        from signxml.verifier import SignatureConfiguration

        SignatureConfiguration(verification_time=None)
    except (ImportError, AttributeError, TypeError) as error:  # not there, too old for cryptography, or too old
        raise SignxmlMissing(
            "signatures cannot be checked without the package signxml (5.1 or newer)", "pip install 'signxml>=5.1'"
        ) from error


def examined(document: bytes, identifier: str, now: datetime) -> list[SignedEntry]:
    """The entries about the image in a document, the best first (see :meth:`Metadata.preference`).

    Raises as :func:`read` does, and SignxmlMissing."""
    require_signxml()
    documents = entry_documents(parsed(document, keep_instructions=True))
    found = [signed for rdf in documents for signed in _examined(rdf) if signed.entry.identifier == identifier]
    if not found:
        read(document, identifier, now)  # says why, mostly
        raise StratusLabError("what was signed is about another image")
    return sorted(found, key=lambda signed: signed.entry.preference(now), reverse=True)


def _examined(rdf: _Element) -> Iterator[SignedEntry]:
    problem = "its metadata is not signed"
    if next(rdf.iter(f"{_DSIG}Signature"), None) is not None:
        try:
            yield _verified(rdf)
            return
        except Exception as error:  # whatever a hostile signature makes of signxml and what it uses
            problem = f"the signature of its metadata is broken: {in_message(str(error), 100)}"
    for description in rdf.iterfind(f"{RDF}Description"):
        try:
            yield SignedEntry(entry_of(description), problem=problem)
        except StratusLabError:
            continue


def _verified(rdf: _Element) -> SignedEntry:
    """The entry, read from what signxml says was signed. Raises anything if the signature is invalid."""
    # A document of its own: out of a list, with the namespaces that it had when it was signed.
    root = etree.fromstring(etree.tostring(rdf, with_tail=False), etree.XMLParser(resolve_entities=False))
    signatures = list(root.iter(f"{_DSIG}Signature"))
    signed_info = root.find(f"{_DSIG}Signature/{_DSIG}SignedInfo")
    if len(signatures) != 1 or signed_info is None:
        raise StratusLabError("not a single signature of the document")
    if any(reference.get("URI") != "" for reference in signed_info.iterfind(f"{_DSIG}Reference")):
        raise StratusLabError("it does not cover the whole document")
    encoded = signatures[0].findtext(f"{_DSIG}KeyInfo/{_DSIG}X509Data/{_DSIG}X509Certificate")
    if not encoded:
        raise StratusLabError("it has no certificate")
    method = signed_info.find(f"{_DSIG}CanonicalizationMethod")
    if method is not None and not method.get("Algorithm", "").startswith(_EXCLUSIVE):
        # In inclusive Canonical XML a part of a document inherits xml:base, which signxml does not know.
        for name, value in root.attrib.items():
            if str(name).startswith(_XML):
                signed_info.set(name, value)
    certificate, content = _signed_content(etree.tostring(root), b64decode(encoded))
    entry = replace(single(parsed(content)), signed=True)
    signer = _signer(certificate)
    emails = [email.lower() for email in signer.emails]
    if entry.email.lower() in emails or (not emails and _same_name(certificate, entry.subject)):
        return SignedEntry(entry, signer)
    endorser = in_message(f"{entry.subject} <{entry.email}>", 150)
    return SignedEntry(entry, signer, f"it is endorsed by {endorser}, but signed by somebody else: {signer}")


def _signed_content(document: bytes, encoded: bytes) -> tuple[x509.Certificate, bytes]:
    """The certificate (DER), and what was signed with its key. Raises anything if the signature is invalid."""
    from signxml.algorithms import DigestAlgorithm, SignatureMethod
    from signxml.exceptions import InvalidDigest, InvalidSignature
    from signxml.verifier import SignatureConfiguration, XMLVerifier

    class Verifier(XMLVerifier):
        def _c14n(self, nodes: Any, *arguments: Any, **named: Any) -> bytes:
            # libxml2 adds xmlns="" below an element that is not the root, if signature and document have different namespaces.
            root = etree.fromstring(etree.tostring(nodes, with_tail=False), etree.XMLParser(resolve_entities=False))
            return super()._c14n(root, *arguments, **named)  # type: ignore[no-any-return]

    certificate = x509.load_der_x509_certificate(encoded)
    # Whether the certificate has expired is the caller's question.
    configuration = SignatureConfiguration(
        location="./",
        signature_methods=frozenset(SignatureMethod[f"RSA_{name}"] for name in _HASHES),
        digest_algorithms=frozenset(DigestAlgorithm[name] for name in _HASHES),
        verification_time=certificate.not_valid_after_utc,
    )
    try:
        result = Verifier().verify(document, x509_cert=certificate, expect_config=configuration, validate_schema=False)
    except InvalidDigest:
        raise StratusLabError("the metadata was changed after it was signed") from None
    except InvalidSignature:
        raise StratusLabError("it was not made with the key of its certificate") from None
    assert not isinstance(result, list)
    return certificate, result.signed_data


def _signer(certificate: x509.Certificate) -> Signer:
    emails = [str(name.value) for name in certificate.subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS)]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        emails += names.value.get_values_for_type(x509.RFC822Name)
    except x509.ExtensionNotFound:
        pass
    return Signer(
        certificate.subject.rfc4514_string(),
        tuple(dict.fromkeys(emails)),
        f"sha256:{certificate.fingerprint(SHA256()).hex()}",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _same_name(certificate: x509.Certificate, subject: str) -> bool:
    try:
        return x509.Name.from_rfc4514_string(subject) == certificate.subject
    except ValueError:
        return False
