"""TLS with a cloud: what is trusted, how the user authenticates, and what it means when it fails."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from stratuslab.certificate_error import certificate_hint
from stratuslab.cloud.delivery_failures import DroppedEarly, NeverSent
from stratuslab.cloud.endpoint import Credentials
from stratuslab.errors import AuthenticationError, StratusLabError, UsageError


def client_context(ca_bundle: str, credentials: Credentials) -> ssl.SSLContext:
    """What to connect with. ``ca_bundle`` names a file, or a directory as OpenSSL's rehash makes it, of certificates to trust
    instead of the system's (empty). Raises UsageError for files that cannot be used."""
    try:
        if Path(ca_bundle or "-").is_dir():
            context = ssl.create_default_context(capath=ca_bundle)
        else:
            context = ssl.create_default_context(cafile=ca_bundle or None)
    except OSError as error:
        raise UsageError(f'the CA bundle "{ca_bundle}" cannot be used: {_reason(error)}') from None
    if credentials.certificate and not credentials.username:
        certificate, key = credentials.certificate, credentials.key or None
        try:
            # Without a passphrase OpenSSL would ask on the terminal, in the middle of a script.
            context.load_cert_chain(certificate, key, password="")
        except OSError as error:
            pair = f'"{certificate}" with the key "{key}"' if key else f'"{certificate}"'
            raise UsageError(
                f"the certificate {pair} cannot be used: {_reason(error)}",
                "see --pem-cert and --pem-key; the key must have no passphrase",
            ) from None
    return context


def handshake_error(error: Exception, url: str, by_proxy: bool) -> StratusLabError | None:
    """What a failed handshake means; None if the error says nothing about TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return NeverSent(
            f"the TLS certificate of {url} is not trusted: {error.verify_message}",
            certificate_hint(error, "name its certificate with --ca-bundle FILE, the key ca_bundle or REQUESTS_CA_BUNDLE"),
            lasting=True,
        )
    if refused := certificate_refused(error, url):
        return refused
    if not by_proxy and isinstance(error, (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return DroppedEarly(f"{url} dropped the connection while it was being established")
    if isinstance(error, ssl.SSLError):
        return NeverSent(f"cannot use TLS with {url}: {_reason(error)}", "is it an http:// endpoint?", lasting=True)
    return None


def certificate_refused(error: Exception, url: str) -> StratusLabError | None:
    """The error if the server ended the TLS handshake because of the client certificate, or because there is none."""
    words = (getattr(error, "reason", None) or "").upper() if isinstance(error, ssl.SSLError) else ""
    if "ALERT" not in words or not ("CERTIFICATE" in words or "UNKNOWN_CA" in words):
        return None
    refused = AuthenticationError(
        f"{url} rejected the TLS client certificate, or requires one: {_reason(error)}", "see --pem-cert"
    )
    refused.nothing_done = True
    return refused


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError):
        text = re.sub(r"^\[.*?\] | \(_ssl\.c:\d+\)$", "", text)
    return "not a PEM file, or an incomplete one" if text == "PEM lib" else text
