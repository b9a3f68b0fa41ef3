"""Writes a ``Host`` block for ``~/.ssh/config`` (ssh_config(5)), with which scp, rsync and ansible reach an instance."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stratuslab.ssh.login_target import Target
from stratuslab.ssh.openssh import host_settings, quoted

# A name must not be read as a pattern, an option or several names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


def host_block(instance: int, name: str, target: Target) -> Iterator[str]:
    """The lines of the block, named ``stratus-ID`` and, where ssh allows it, like the instance."""
    number = f"stratus-{instance}"
    own = f" {name}" if _NAME.match(name) and name != number else ""
    yield f"Host {number}{own}"
    for key, value in _settings(target):
        yield f"    {key} {value}"


def _settings(target: Target) -> Iterator[tuple[str, str]]:
    yield "HostName", target.host.replace("%", "%%")
    yield "Port", str(target.port)
    yield "User", target.user
    yield from host_settings(target)
    if target.jump:
        yield "ProxyJump", target.jump
    if target.key is not None:
        yield "IdentityFile", quoted(target.key)
        if target.only_key:
            yield "IdentitiesOnly", "yes"
