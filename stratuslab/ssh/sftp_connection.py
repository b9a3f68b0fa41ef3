"""SFTP to an instance: paramiko's client over a connection of OpenSSH, or over paramiko's own.

One client for both, so that names, errors and progress are the same; the way in, the keys and the host's identity are those of a
login.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from paramiko import SFTPClient, SFTPError, SSHException

from stratuslab.errors import SSHError, StratusLabError
from stratuslab.ssh.login_target import Target

if TYPE_CHECKING:
    import subprocess

SFTP_WORDS = ("-s", "-o", "LogLevel=ERROR")
"""The options of OpenSSH with which the command ``sftp`` is a subsystem, and ssh reports errors only."""

_LEFT_ALONE = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""Ctrl-C is ours: the connection is needed to remove what is half done."""
_LARGEST_PACKET = 1 << 20
"""Bytes. OpenSSH sends at most 256 KiB; a guest must not fill our memory."""
_LONGEST_REASON = 4096
_BROKEN = (EOFError, SSHException, SFTPError, struct.error)


class _Connection(socket.socket):
    """A socket with what paramiko expects of a channel besides."""

    def get_name(self) -> str:
        return "sftp"

    def recv_ready(self) -> bool:
        return bool(select.select([self], [], [], 0)[0])


class _Client(SFTPClient):
    def _read_all(self, size: int) -> bytes:
        if size > _LARGEST_PACKET:
            raise SFTPError("the server sent an impossible length")
        return super()._read_all(size)  # type: ignore[misc, no-any-return]


@contextmanager
def by_openssh(words: Sequence[str], host: str) -> Iterator[SFTPClient]:
    """The client over ``ssh``, given its command line, with :data:`SFTP_WORDS` and the command ``sftp``. Raises SSHError."""
    import subprocess

    pair, theirs = socket.socketpair()
    with _Connection(fileno=pair.detach()) as ours:
        with theirs:
            end = theirs.fileno()
            process = subprocess.Popen([*_LEFT_ALONE, *words], stdin=end, stdout=end, stderr=subprocess.PIPE)
        try:
            yield _opened(ours)
        except _BROKEN:
            raise _reason(process, host) from None
        finally:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            _end(process)


@contextmanager
def by_paramiko(
    target: Target, ask: Callable[[str], str] | None, complain: Callable[[StratusLabError], object]
) -> Iterator[SFTPClient]:
    """The client over paramiko, which logs in with ``ask`` and ``complain`` as log_in() does. Raises SSHError."""
    from stratuslab.ssh.paramiko_login import log_in, watched

    transport = log_in(target, ask, complain)
    with closing(transport), watched(transport, target.silence):
        try:
            channel = transport.open_session(timeout=target.connect_timeout)
            try:
                channel.invoke_subsystem("sftp")
            except SSHException:
                raise _no_server(target.host) from None
            yield _opened(channel)
        except _BROKEN:
            raise _closed(target.host) from None


def _opened(connection: object) -> SFTPClient:
    try:
        return _Client(connection)  # type: ignore[arg-type]
    except OSError:
        raise EOFError from None


def _reason(process: subprocess.Popen[bytes], host: str) -> SSHError:
    """Why ssh ended, in its own words."""
    assert process.stderr is not None
    text = process.stderr.read(_LONGEST_REASON).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("subsystem request failed" in line for line in lines):
        return _no_server(host)
    return SSHError(lines[-1]) if lines else _closed(host)


def _closed(host: str) -> SSHError:
    return SSHError(f"the connection to {host} was closed by the remote host")


def _no_server(host: str) -> SSHError:
    remedy = 'install one there, or use a command that reads it: stratus-connect-instance ID -- "cat > FILE" < FILE'
    return SSHError(f"{host} has no SFTP server", remedy)


def _end(process: subprocess.Popen[bytes]) -> None:
    import subprocess

    with process:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
