"""Secrets in what is shown: values whose names say that they are secret are masked, and what looks like one in free text."""

from __future__ import annotations

import re

MASK = "***"
# cloud-init's user data and start scripts carry passwords as often as not.
_SECRET = r"\w*(?:PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|API_?KEY|ACCESS_?KEY|ENCRYPTION_?KEY|USER_?DATA|START_SCRIPT)\w*"
_ATTRIBUTE = re.compile(rf'\b({_SECRET}\s*=\s*)"(?:\\"|[^"])*"', re.IGNORECASE)
_NAME = re.compile(_SECRET, re.IGNORECASE)
_IN_TEXT = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
    # https://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s/@]+@", re.IGNORECASE), rf"\1{MASK}@"),
    # password=..., token: "...", and in a template's value password=\"...\"
    (
        re.compile(
            r"(\b\w*(?:passw(?:or)?d|secret|token|api_?key)\w*\s*[=:]\s*)(?![\"']?\*{3})"
            r"(?:\\?\"[^\"]*\"|'[^']*'|[^\s\"',;&]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
)


def masked(template: str) -> str:
    """A template's text with the values of secret attributes (passwords, tokens, cloud-init's user data) as ``***``, and what
    looks like a secret in the other values."""
    return masked_text(_ATTRIBUTE.sub(rf'\1"{MASK}"', template))


def masked_value(name: str, value: str) -> str:
    """The value of the attribute, element or variable of that name; ``***`` where the name says that it is secret."""
    if not value:
        return value
    return MASK if _NAME.fullmatch(name) else masked_text(value)


def masked_text(text: str) -> str:
    """Free text with private keys, passwords in URLs, and what stands behind ``password=`` and its like as ``***``."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text
