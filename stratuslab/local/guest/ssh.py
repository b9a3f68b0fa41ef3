"""The simulated guest's SSH server, over paramiko: root with a public key, shells and commands, nothing else.

One thread for each connection (paramiko's), one for each session; both are bounded, in number and, before the login, in time.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.common import MSG_CHANNEL_REQUEST

from stratuslab.local.guest.sessions import Sessions
from stratuslab.local.guest.system import Guest

MAX_CONNECTIONS = 100
MAX_LOGGING_IN = 30
LOGIN_SECONDS = 30.0
"""The time from connecting to being logged in."""

FAREWELL_SECONDS = 1.0
"""How long a client that is sent away may take to close its side."""

_WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc", "blowfish-cbc", "arcfour128", "arcfour256"],
    "macs": ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
    "kex": ["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"],
    "keys": ["ssh-rsa", "ssh-dss"],
    "pubkeys": ["ssh-rsa", "ssh-dss"],
}
"""What a client is not offered, though a version of paramiko may have it."""


class _UnknownKey(paramiko.PKey):
    """A key of a type that paramiko does not know; nobody's."""

    def asbytes(self) -> bytes:
        return b""


class _AuthHandler(AuthHandler):
    def _generate_key_from_request(self, algorithm: str, keyblob: bytes) -> paramiko.PKey:
        # Paramiko ends the connection over a key that it cannot read, such as one on a FIDO token; SSH has the client try
        # its next key (RFC 4252, section 7).
        try:
            key: paramiko.PKey | None = super()._generate_key_from_request(algorithm, keyblob)  # type: ignore[misc]
        except Exception:
            key = None
        return _UnknownKey() if key is None else key


def _handle_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    server = channel.get_transport().server_object
    kind = paramiko.Message(message.get_remainder()).get_text()
    channel._handle_request(message)  # type: ignore[attr-defined]
    if isinstance(server, Sessions):
        # OpenSSH's PROTOCOL, 2.1: "eow@openssh.com", end of write.
        (server.unheard if kind == "eow@openssh.com" else server.answered)(channel)


class _Connection(paramiko.Transport):
    """Paramiko's transport, with the things that it has no hook for."""

    # A session that started before its request was answered could close the channel first, and the client would see none.
    _channel_handler_table = {  # noqa: RUF012
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _handle_request,
    }

    def __init__(self, accepted: socket.socket, host_key: paramiko.PKey, server: Sessions) -> None:
        super().__init__(accepted, disabled_algorithms=_WEAK)
        # Paramiko's log is about single packets; what goes wrong in it is a client's affair and no one's here.
        logging.getLogger(__name__).disabled = True
        self.set_log_channel(__name__)
        # OpenSSH's client uses its extensions (see _handle_request) only where this name begins like its own.
        self.local_version = "SSH-2.0-OpenSSH_StratusLab_simulated"
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = LOGIN_SECONDS
        self.daemon = True
        self.started = time.monotonic()
        self.add_server_key(host_key)
        server.transport = self
        self.start_server(threading.Event(), server)

    def _parse_newkeys(self, message: paramiko.Message) -> None:
        fresh = self.auth_handler is None
        super()._parse_newkeys(message)  # type: ignore[misc]
        if fresh:
            self.auth_handler = _AuthHandler(self)

    @property
    def overdue(self) -> bool:
        return not self.is_authenticated() and time.monotonic() - self.started > LOGIN_SECONDS


class SshServer:
    """Serves a listening socket, which stays its owner's, until it is stopped."""

    def __init__(self, listener: socket.socket, guest: Guest, host_key: paramiko.PKey, keys: frozenset[bytes]) -> None:
        self._listener = listener
        self._guest = guest
        self._host_key = host_key
        self._keys = keys
        self._connections: list[_Connection] = []
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, daemon=True, name="sshd")
        self._listener.setblocking(False)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Drop every connection, as a machine does that goes down: no channel is closed, no status sent."""
        self._wake.close()
        self._thread.join()
        self._woken.close()
        # In a thread, as a client that reads nothing can make it wait.
        farewell = threading.Thread(target=self._farewell, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        for connection in self._connections:
            # Only our side is closed at first: closing both while something is unread would be a reset, not an end.
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
        end = time.monotonic() + FAREWELL_SECONDS
        for connection in self._connections:
            connection.join(max(0.0, end - time.monotonic()))
            connection.close()

    def _farewell(self) -> None:
        for connection in self._connections:
            if isinstance(connection.server_object, Sessions):
                connection.server_object.farewell()

    def _accept(self) -> None:
        while True:
            logging_in = any(not connection.is_authenticated() for connection in self._connections)
            readable, _, _ = select.select([self._listener, self._woken], [], [], 1.0 if logging_in else None)
            if self._woken in readable:
                return
            self._connections = [connection for connection in self._connections if connection.is_alive()]
            for connection in self._connections:
                if connection.overdue:
                    connection.close()
            if readable:
                self._take()

    def _take(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            # Gone again, or no descriptor is left: the next one may fare better.
            time.sleep(0.01)
            return
        logging_in = [connection for connection in self._connections if not connection.is_authenticated()]
        if len(logging_in) >= MAX_LOGGING_IN:
            # The one that has taken longest; so a crowd of silent clients keeps nobody out for long.
            logging_in[0].close()
        elif len(self._connections) >= MAX_CONNECTIONS:
            accepted.close()
            return
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(_Connection(accepted, self._host_key, Sessions(self._guest, self._keys)))
        except (OSError, RuntimeError, paramiko.SSHException):
            accepted.close()
