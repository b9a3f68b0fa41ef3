"""Masks secrets in output: values whose names say that they are secret, and what looks like a secret in free text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stratuslab.url_credentials import without_query_values

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

MASK = "***"
_LEAST = 4  # characters of a password that is looked for inside of other values: a shorter one would be found everywhere
_MOST = 64  # passwords that a document may declare before all its values are masked
# cloud-init's user data and start scripts often contain passwords. Patterns are compiled when they are first used.
_SECRET = (
    r"(?i:PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|(?:API|ACCESS|ENCRYPTION|SIGNING|LICEN[CS]E)_?KEY|PWD|(?:\b|_)PW(?:\b|_)|PW\b"
    r"|AUTH(?!OR)|AUTHORIZATION|USER_?DATA|START_SCRIPT|(?:\b|_)(?:JWT|BEARER|COOKIES?|SIGNATURE|PASSPHRASE)(?:\b|_)"
    r"|(?:\b|_)(?:PIN|SALT|SIG|OTP|DSN|PSK)\b|(?:\b|_)(?<!PUBLIC_)(?<!PUB_)KEY\b)"
)
# A word is looked at as a whole, and once: searching it for the parts of a name from each of its characters takes quadratic time.
_ATTRIBUTE = rf'\b((?=\w*{_SECRET})\w+\s*=\s*)"(?:\\"|[^"])*"'
# user:password, by the name of the user
_LOGIN = r"(?i:USER|LOGIN|ACCOUNT)"
_LOGIN_ATTRIBUTE = rf'\b((?=\w*{_LOGIN})\w+\s*=\s*"[^":/\s]+:)(?!//)[^"]+"'
_IN_TEXT = (
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", MASK),
    # https://user:password@host
    (r"(://[^\s/@:]*:)[^\s\"'<>/]+@", rf"\1{MASK}@"),
    # https://token@host
    (r"(://)[^\s/@:\"'<>]+@", rf"\1{MASK}@"),
    (r"(?i)(\bauthorization\s*[=:]\s*)(?!\*{3})\S+(?:\s+[^\s\"',;]+)?", rf"\1{MASK}"),
    # the default of a password that a machine template asks for
    (r"(\b[MO]\s*\|\s*password\s*\|[^|\"]{0,1000}\|[^|\"]{0,1000}\|)[^\"]+", rf"\1{MASK}"),
    # password=..., token: "...", and in a template's value password=\"...\"
    (
        r"(?i)(\b(?=\w*(?:passw(?:or)?d|pwd|secret|token|api_?key))\w+\s*[=:]\s*)(?![\"']?\*{3})"
        r"(?:\\?\"[^\"]*\"|'[^']*'|[^\s\"',;&]+)",
        rf"\1{MASK}",
    ),
)


def masked(template: str) -> str:
    """A template's text with the values of secret attributes (passwords, tokens, cloud-init's user data) as ``***``, and what
    looks like a secret in the other values."""
    return masked_text(re.sub(_LOGIN_ATTRIBUTE, rf'\1{MASK}"', re.sub(_ATTRIBUTE, rf'\1"{MASK}"', template)))


def masked_value(name: str, value: str) -> str:
    """The value of the attribute, element or variable with that name; ``***`` if the name says that it is secret."""
    if not value:
        return value
    if re.search(_SECRET, name):
        return MASK
    user, colon, password = value.partition(":")
    if colon and password and not re.search(r"[/\s]", user) and not password.startswith("//") and re.search(_LOGIN, name):
        return f"{user}:{MASK}"
    return masked_text(value)


def masked_text(text: str) -> str:
    """Free text with private keys, secrets in URLs, and values after ``password=`` and the like as ``***``."""
    before, quotes, quoted = text.partition("Error parsing: ")
    if "@^_^@" in quoted:  # the context that OpenNebula could not parse, as a whole
        _, found, reason = quoted.rpartition(". syntax error")
        text = f"{before}{quotes}{MASK}{found.removeprefix('.')}{reason if found else ''}"
    for pattern, replacement in _IN_TEXT:
        text = re.sub(pattern, replacement, text)
    return without_query_values(text)


def masks_of(document: Element) -> Callable[[str, str], str]:
    """What masks the value of an element or variable of that name in this VM document: :func:`masked_value`, and what its
    template asked for as passwords (USER_INPUTS) is masked as well, also inside of other values."""
    inputs = {child.tag for found in document.iter("USER_INPUTS") for child in found if _is_password(child.text or "")}
    texts = (element.text or "" for element in document.iter() if element.tag in inputs)
    given = {text.strip() for text in texts if len(text.strip()) >= _LEAST and not _is_password(text)}
    longest_first = sorted(given, key=len, reverse=True)

    def mask(name: str, value: str) -> str:
        if value and (name in inputs or len(given) > _MOST):
            return MASK
        for secret in longest_first:
            value = value.replace(secret, MASK)
        return masked_value(name, value)

    return mask


def _is_password(text: str) -> bool:
    """Whether the text declares an input as a password."""
    return [part.strip() for part in text.split("|")][1:2] == ["password"]
