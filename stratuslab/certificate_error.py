"""What to do about a server's TLS certificate that was not accepted, by the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLCertVerificationError

_OTHER_NAME = "use the name that the certificate was issued for, or have it issued for this one"
# By X509_V_ERR_... of OpenSSL, which SSLCertVerificationError has as verify_code.
_HINTS = {
    9: "this computer's clock is probably wrong: see date",  # not yet valid
    10: "the server's administrator has to renew it, unless this computer's clock is wrong: see date",  # expired
    18: "if you know this server: {trust}",  # self-signed
    23: "its authority has revoked it: do not connect",
    62: _OTHER_NAME,  # of a host
    64: _OTHER_NAME,  # of an address
}


def certificate_hint(error: SSLCertVerificationError, trust: str) -> str:
    """What to do, in a sentence; ``trust`` says how certificates to trust are named, such as ``use --ca-bundle FILE``."""
    return _HINTS.get(error.verify_code, "to trust a private authority, {trust}").format(trust=trust)
