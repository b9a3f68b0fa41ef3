"""Finds the jump hosts in ssh's configuration for a host, and reads an SSH server's banner through them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence

from stratuslab.errors import Unreachable
from stratuslab.ssh.banner import banner_from
from stratuslab.ssh.login_target import jumps

_LEAST = 10.0
"""Seconds for one attempt: there are several logins on the way."""


def detour(configured: Mapping[str, str]) -> tuple[str, bool]:
    """How ssh's configuration reaches a host: the jump hosts (empty for none), and whether a proxy command is set."""
    through, command = configured.get("proxyjump", "none"), configured.get("proxycommand", "none")
    return "" if through == "none" else through, command != "none"


def banner_through(ssh: str, through: str, options: Sequence[str] = ()) -> Callable[[str, int, float], object]:
    """A replacement for read_banner that goes through the jump hosts with ``ssh -W``.

    It returns an empty banner where a jump host asks for a password or about a host key: only the session itself can ask a
    person.
    """
    import subprocess

    *before, last = jumps(through)
    hops = ",".join(map(str, before))
    way = [
        *(("-J", hops) if hops else ()),
        *(("-l", last.user) if last.user else ()),
        *(("-p", str(last.port)) if last.port else ()),
    ]

    def read(host: str, port: int, timeout: float) -> str:
        seconds = max(timeout, _LEAST)
        ours, theirs = socket.socketpair()
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        argv = [ssh, *options, "-o", "BatchMode=yes", "-o", f"ConnectTimeout={seconds:.0f}", *way, "-W", place, "--", last.host]
        with theirs:
            end = theirs.fileno()
            try:
                process = subprocess.Popen(argv, stdin=end, stdout=end, stderr=subprocess.PIPE, start_new_session=True)
            except OSError as error:
                ours.close()
                raise Unreachable(f"cannot start {ssh}: {error.strerror}") from error
        with process:
            try:
                return banner_from(ours, time.monotonic() + seconds)
            except Unreachable as error:
                process.kill()
                said = (process.stderr.read() if process.stderr else b"").decode("utf-8", "replace")
                if any(sign in said for sign in _NEEDS_A_PERSON):
                    return ""
                reason = said.strip().splitlines()
                raise Unreachable(f"through {last.host}: {reason[0][:200] if reason else error.message}") from error
            finally:
                process.kill()

    return read


_NEEDS_A_PERSON = ("Permission denied", "Host key verification failed", "Too many authentication failures")
