"""The SSH protocol's way of writing text and bytes (RFC 4251, section 5, ``string``)."""

from __future__ import annotations


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """The string that the data begins with, and what follows it. Data that is too short gives what there is."""
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]
