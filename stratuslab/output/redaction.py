"""Secrets in what is shown: values whose names say that they are secret are masked."""

from __future__ import annotations

import re

_SECRET = r"\w*(?:PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|API_?KEY|USER_DATA)\w*"
_ATTRIBUTE = re.compile(rf'\b({_SECRET}\s*=\s*)"(?:\\"|[^"])*"', re.IGNORECASE)


def masked(template: str) -> str:
    """A template's text with the values of secret attributes (passwords, tokens, cloud-init's user data) as ``***``."""
    return _ATTRIBUTE.sub(r'\1"***"', template)
