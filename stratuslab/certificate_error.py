"""What to do about a server's TLS certificate that was not accepted, by the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLCertVerificationError

# X509_V_ERR_... of OpenSSL, as SSLCertVerificationError.verify_code.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _REVOKED = 9, 10, 18, 23
_OTHER_NAME = (62, 64)  # of a host, of an address


def certificate_hint(error: SSLCertVerificationError, trust: str) -> str:
    """What to do, in a sentence; ``trust`` says how certificates to trust are named, such as ``use --ca-bundle FILE``."""
    code = error.verify_code
    if code in _OTHER_NAME:
        return "use the name that the certificate was issued for, or have it issued for this one"
    if code == _EXPIRED:
        return "the server's administrator has to renew it, unless this computer's clock is wrong: see date"
    if code == _NOT_YET_VALID:
        return "this computer's clock is probably wrong: see date"
    if code == _REVOKED:
        return "its authority has revoked it: do not connect"
    if code == _SELF_SIGNED:
        return f"if you know this server: {trust}"
    return f"to trust a private authority, {trust}"
