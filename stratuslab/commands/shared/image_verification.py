"""What ``--verify-image`` requires of an image: a signature of an endorser whom the user trusts."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from stratuslab.commands.session import Session
from stratuslab.commands.shared.image_search import stands_for
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.marketplace.identifier import is_identifier

if TYPE_CHECKING:
    from stratuslab.marketplace.metadata import Metadata
    from stratuslab.marketplace.metadata_signature import SignatureCheck, Trust

UNVERIFIED = "to start it all the same, add --no-verify-image"
_FINGERPRINT = "expected what this command prints: openssl x509 -noout -fingerprint -sha256 -in FILE"


def trust_of(session: Session) -> Trust:
    """Whom the user's settings trust. Raises UsageError."""
    from stratuslab.marketplace.metadata_signature import Trust

    emails, fingerprints = (
        session.settings.get(key).lower().replace(",", " ").split() for key in ("trusted_endorsers", "trusted_certificates")
    )
    for email in emails:
        if "@" not in email:
            raise UsageError(f'invalid trusted_endorsers: "{email}" is not an email address')
    digits = [text.removeprefix("sha256:").replace(":", "") for text in fingerprints]
    for text, digest in zip(fingerprints, digits, strict=True):
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise UsageError(f'invalid trusted_certificates: "{text}" is not a SHA-256 fingerprint', _FINGERPRINT)
    return Trust(emails, [f"sha256:{digest}" for digest in digits])


def verified_entry(session: Session, identifier: str) -> Metadata:
    """The best entry about the image that a trusted endorser has signed, exactly as it was signed.

    Where the user named the image by a word, the signed entry must bear it out. Raises StratusLabError that says why there is
    none, and what the Marketplace raises."""
    from stratuslab.marketplace.metadata_signature import examined, require_signxml

    require_signxml()
    trust, text = trust_of(session), session.options.image
    now = datetime.fromtimestamp(session.environment.clock(), timezone.utc)
    found = session.marketplace.find_with(identifier, lambda document: examined(document, identifier, now))
    refusals: list[StratusLabError] = []
    for signed in found:
        entry, signer = signed.entry, signed.signer
        try:
            trust.require(signed, now, allow_expired=session.options.allow_expired)
            if not is_identifier(text) and not stands_for(text, entry, identifier):
                raise StratusLabError(f'it is not called "{text}" in the metadata that {signer} has signed')
        except StratusLabError as error:
            refusals.append(error)
            continue
        assert signer is not None
        if not trust.certificates:
            session.messages.warning(
                f"image {identifier} is signed by {signer}; anybody can make a certificate in this name: to rely on it, set "
                f"trusted_certificates = {signer.fingerprint}"
            )
        if signer.valid_until < now:
            session.messages.note(f"image {identifier}: the certificate expired on {signer.valid_until:%Y-%m-%d}")
        session.messages.detail(f"Image {identifier}: signed by {signer}")
        return entry
    refusal = refusals[0]
    hint = "; ".join(filter(None, (refusal.hint, UNVERIFIED)))
    raise StratusLabError(f"image {identifier}: {refusal.message}", hint)


def entry_and_signature(document: bytes, identifier: str, now: datetime, trust: Trust) -> tuple[Metadata, SignatureCheck | None]:
    """The best entry about the image in a document, and its signature if there is one. Raises as :func:`read` does."""
    from stratuslab.marketplace.metadata import read
    from stratuslab.marketplace.metadata_signature import SignatureCheck, SignxmlMissing, examined

    entry = read(document, identifier, now)
    if not entry.signed:
        return entry, None
    try:
        signed = examined(document, identifier, now)[0]
    except SignxmlMissing as error:
        return entry, SignatureCheck("not checked", note=str(error))
    note = ""
    try:
        trust.require(signed, now)
    except StratusLabError as error:
        note = error.message
    if signed.signer is None:
        return signed.entry, SignatureCheck("broken", trusted=False, note=note)
    return signed.entry, SignatureCheck("valid", signed.signer.subject, signed.signer.fingerprint, not note, note)
