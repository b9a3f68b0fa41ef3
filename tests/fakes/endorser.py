"""An endorser with a key and a certificate, who signs entries as StratusLab's sign-metadata, a Java program, does."""

from __future__ import annotations

from base64 import encodebytes
from datetime import datetime, timedelta, timezone
from hashlib import new
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree

_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}
_NAMES = {
    "sha1": ("http://www.w3.org/2000/09/xmldsig#rsa-sha1", "http://www.w3.org/2000/09/xmldsig#sha1"),
    "sha256": ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"),
}
_SIGNATURE = """<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo><CanonicalizationMethod \
Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"/><SignatureMethod Algorithm="{method}"/><Reference \
URI="{uri}"><Transforms><Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/></Transforms><DigestMethod \
Algorithm="{digest_method}"/><DigestValue>{digest}</DigestValue></Reference></SignedInfo><SignatureValue>{value}</SignatureValue>\
<KeyInfo><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></Signature>"""
_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_BASE = "{http://www.w3.org/XML/1998/namespace}base"


class Endorser:
    """A person with an email (empty: the certificate names none) and a self-signed certificate that ends after some days."""

    def __init__(self, email: str, name: str = "", days: int = 365) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        subject = x509.Name.from_rfc4514_string(f"CN={name or email.partition('@')[0]},O=Tests")
        begins = datetime.now(timezone.utc) - timedelta(days=1000)
        made = x509.CertificateBuilder(subject, subject, self.key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(begins).not_valid_after(begins + timedelta(days=1000 + days))
        if email:
            made = made.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=False)
        self.certificate = made.sign(self.key, hashes.SHA256())
        self.fingerprint = f"sha256:{self.certificate.fingerprint(hashes.SHA256()).hex()}"

    def signed(self, document: bytes, algorithm: str = "sha1", uri: str = "") -> bytes:
        """The document, an ``rdf:RDF``, with a signature at its end. The rest is as it was, to the byte."""
        names = dict(zip(("method", "digest_method"), _NAMES[algorithm], strict=True), uri=uri)
        names["certificate"] = encodebytes(self.certificate.public_bytes(Encoding.DER)).decode()
        names["digest"] = _base64(new(algorithm, _canonical(etree.fromstring(document))).digest())
        root = etree.fromstring(_with(document, _SIGNATURE.format(value="", **names)))
        info: Any = root.find(f"{_DSIG}Signature/{_DSIG}SignedInfo")
        if base := root.get(_BASE):
            info.set(_BASE, base)  # as a part of a document inherits it in Canonical XML 1.0
        value = self.key.sign(_canonical(etree.fromstring(etree.tostring(info))), PKCS1v15(), _HASHES[algorithm])
        return _with(document, _SIGNATURE.format(value=_base64(value), **names))


def _canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", with_comments=False)


def _base64(octets: bytes) -> str:
    return encodebytes(octets).decode().strip()


def _with(document: bytes, signature: str) -> bytes:
    before, end, after = document.rpartition(b"</rdf:RDF>")
    return before + signature.encode() + end + after
