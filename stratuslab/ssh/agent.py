"""The keys in the user's SSH agent (draft-miller-ssh-agent, section 4.4)."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from stratuslab.openssh_keys import take_string

_REQUEST_IDENTITIES = b"\x00\x00\x00\x01\x0b"
_IDENTITIES_ANSWER = 12
_MAXIMUM_SIZE = 256 << 10
_TIMEOUT = 2.0


def agent_address(configured: str, environ: Mapping[str, str]) -> str:
    """The path of the agent's socket, by the value of ``IdentityAgent`` (ssh_config(5)) that ``ssh -G`` prints; empty: none."""
    if configured == "none":
        return ""
    if not configured or configured == "SSH_AUTH_SOCK":
        return environ.get("SSH_AUTH_SOCK", "")
    return environ.get(configured[1:], "") if configured.startswith("$") else configured


def agent_keys(address: str) -> list[bytes]:
    """The public keys of the agent at a socket, in SSH's wire format; empty without an agent, or if it does not answer."""
    if not address:
        return []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(address)
            connection.sendall(_REQUEST_IDENTITIES)
            with connection.makefile("rb") as stream:
                size = int.from_bytes(stream.read(4), "big")
                answer = stream.read(size) if 5 <= size <= _MAXIMUM_SIZE else b""
    except (OSError, ValueError):
        return []
    if len(answer) < 5 or answer[0] != _IDENTITIES_ANSWER:
        return []
    keys: list[bytes] = []
    rest = answer[5:]
    while rest and len(keys) < int.from_bytes(answer[1:5], "big"):
        key, rest = take_string(rest)
        _, rest = take_string(rest)  # its comment
        keys.append(key)
    return keys
