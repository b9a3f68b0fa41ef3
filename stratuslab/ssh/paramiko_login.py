"""Logging in with paramiko: connecting, checking the host key, offering the user's keys. Loads paramiko."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from paramiko import AuthenticationException, Channel, SSHException, Transport

from stratuslab.errors import SSHError, StratusLabError, TimedOut
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.ssh.host_key import changed
from stratuslab.ssh.known_hosts import KnownHosts, NotRecorded
from stratuslab.ssh.login_target import Jump, Target, jumps
from stratuslab.ssh.offered_keys import Ask, OfferedKeys

_KEEPALIVE = 30
_PAUSE = 1.0

Complain = Callable[[StratusLabError], object]
"""Is given an error that does not prevent the login."""


def log_in(target: Target, ask: Ask | None, complain: Complain) -> Transport:
    """An authenticated connection to the target; the caller closes it.

    The key of a new host is added to the known ones, or ``complain`` is called if it cannot be; a host whose key has changed is
    refused. ``ask`` asks for the passphrase of ``target.key``; without it an encrypted key is not used. Raises SSHError, and
    TimedOut if the target cannot be reached through its jump hosts within ``target.patience``.
    """
    # Failures are exceptions; without a handler Python would print paramiko's warnings as well.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    connection = _connection(target, ask, complain)
    known_hosts = KnownHosts(target.known_hosts)
    transport: Transport | None = None
    try:
        transport = Transport(connection)
        transport.banner_timeout = target.connect_timeout
        transport.auth_timeout = target.silence or transport.auth_timeout
        known = _known(target, known_hosts)
        _prefer(transport, [kind for kind, _ in known])
        transport.start_client(timeout=target.connect_timeout)
        _check_host_key(transport, target, known_hosts, known, complain)
        _authenticate(transport, target, ask)
        transport.set_keepalive(_KEEPALIVE)
    except BaseException as error:
        (transport or connection).close()
        if isinstance(error, (SSHException, EOFError, OSError)):
            raise SSHError(f"SSH handshake with {target.host} port {target.port} failed: {error}") from error
        raise
    return transport


def _known(target: Target, known_hosts: KnownHosts) -> list[tuple[str, str]]:
    try:
        return known_hosts.keys(target.alias)
    except NotRecorded:
        if target.recorded:
            raise
        return []


@contextmanager
def watched(transport: Transport, silence: int) -> Iterator[Callable[[], bool]]:
    """Close the connection when the server has not answered for so many seconds (0: never), as ssh does by ServerAliveInterval.

    Gives a function that says whether this has happened.
    """
    over, lost = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(silence / 3):
            # A request that no server knows is answered, too: with a refusal.
            request = threading.Thread(target=transport.global_request, args=("keepalive@openssh.com",), daemon=True)
            request.start()
            request.join(silence * 2 / 3)
            if request.is_alive() and not over.is_set():
                lost.set()
                transport.close()
                return

    if silence:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield lost.is_set
    finally:
        over.set()


def _connection(target: Target, ask: Ask | None, complain: Complain) -> socket.socket | Channel:
    *before, last = jumps(target.jump) or (None,)
    if last is None:
        try:
            return socket.create_connection((target.host, target.port), target.connect_timeout)
        except (OSError, UnicodeError) as error:
            why = "no answer" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
            raise SSHError(f"cannot connect to {target.host} port {target.port}: {why}") from error
    way = log_in(_jump_host(target, last, before), ask, complain)
    place, origin, deadline = (target.host, target.port), ("127.0.0.1", 0), time.monotonic() + target.patience
    while True:
        try:
            channel = way.open_channel("direct-tcpip", place, origin, timeout=target.connect_timeout)
            break
        except (SSHException, EOFError) as error:
            if time.monotonic() + _PAUSE < deadline and way.is_active():
                time.sleep(_PAUSE)
                continue
            way.close()
            kind = TimedOut if target.patience else SSHError
            raise kind(f"cannot reach {target.host} port {target.port} through {last.host}: {error}") from error
    # Closing the channel closes the connection to the jump host, which nothing else uses.
    closing = channel.close

    def close() -> None:
        # Both ends close it, in any order: an error while sending no longer matters.
        with suppress(EOFError, OSError, SSHException):
            closing()
        way.close()

    channel.close = close  # type: ignore[method-assign]
    return channel


def _jump_host(target: Target, jump: Jump, before: Sequence[Jump]) -> Target:
    from getpass import getuser

    port = jump.port or SSH_PORT
    return replace(
        target,
        host=jump.host,
        port=port,
        alias=_own_name(jump.host, port),
        user=jump.user or getuser(),
        jump=",".join(map(str, before)),
        key=None,
        only_key=False,
        known=False,
        patience=0.0,
    )


def _own_name(host: str, port: int) -> str:
    """The name in known_hosts of a host that is not an instance."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _prefer(transport: Transport, kinds: list[str]) -> None:
    """Make the host show a key of a known type, not another one that it also has."""
    signatures = {name for kind in kinds for name in _SIGNATURES.get(kind, (kind,))}
    security = transport.get_security_options()
    security.key_types = tuple(sorted(security.key_types, key=lambda name: name not in signatures))


_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")}
"""The signature algorithms of a key type, where they have other names (RFC 8332)."""


def _check_host_key(
    transport: Transport, target: Target, known_hosts: KnownHosts, known: Sequence[tuple[str, str]], complain: Complain
) -> None:
    key = transport.get_remote_server_key()
    shown = (key.get_name(), key.get_base64())
    if not known:
        try:
            if target.recorded:
                known_hosts.add(target.alias, *shown)
        except NotRecorded as error:
            complain(error)
    elif shown not in known:
        if target.alias == _own_name(target.host, target.port):
            raise SSHError(
                f"the host key of jump host {target.host} has changed",
                f"if you know why, remove the old one: ssh-keygen -R '{target.alias}' -f {known_hosts.path}",
            )
        raise changed(target.host)


def _authenticate(transport: Transport, target: Target, ask: Ask | None) -> None:
    offer = OfferedKeys(target, ask)
    try:
        for key in offer.in_order():
            try:
                transport.auth_publickey(target.user, key)
            except AuthenticationException:
                continue
            except SSHException:
                # Servers disconnect after a number of keys.
                break
            if transport.is_authenticated():
                return
    finally:
        offer.close()
    tried = f"{offer.tried} tried" if offer.tried else "none to offer"
    raise SSHError(
        f"{target.host} rejected every key for {target.user} ({'; '.join([tried, *offer.problems])})",
        "name the private key that belongs to the machine's public key with --key",
    )
