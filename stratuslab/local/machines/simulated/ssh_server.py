"""The SSH server of a simulated guest, based on paramiko: for root with a public key only.

It has one thread per connection (paramiko's) and one per session. Their number is limited, as is the time to log in, and what a
client can send that nobody reads.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import paramiko
from paramiko import common
from paramiko.auth_handler import AuthHandler

from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.local.machines.simulated.session_streams import HungUp, Interrupted, Streams, TerminalStreams
from stratuslab.local.machines.simulated.sftp_server import SftpServer
from stratuslab.local.machines.simulated.shell import Shell
from stratuslab.openssh_keys import public_keys

MAX_CONNECTIONS = 100
MAX_LOGGING_IN = 30
MAX_SESSIONS = 40  # open sessions of all connections together
MAX_OPENED = 10_000  # sessions that a connection opens one after the other, as paramiko remembers them all
WINDOW = 256 * 1024  # bytes that a client may send before they are read, for each session
LARGEST_PACKET = 256 * 1024  # as in OpenSSH
LARGEST_GREETING = 4096
LOGIN_SECONDS = 30.0  # from the connection to the login
FAREWELL_SECONDS = 1.0  # how long clients may take to close their side when the machine goes down
_ACCEPTED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc", "blowfish-cbc", "arcfour128", "arcfour256"],
    "macs": ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
    "kex": ["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"],
    "keys": ["ssh-rsa", "ssh-dss"],
    "pubkeys": ["ssh-rsa", "ssh-dss"],
}
"""Algorithms that are not offered, though some versions of paramiko have them."""


def authorized(text: str) -> frozenset[bytes]:
    """The public keys that can log in, in their wire format. Certificate authorities are ignored."""
    return frozenset(key.blob for key in public_keys(text) if key.type in _ACCEPTED and "cert-authority" not in key.options)


class _Sessions(paramiko.ServerInterface):
    """The sessions of one connection. Paramiko calls the methods in the connection's thread."""

    def __init__(self, guest: Guest, keys: frozenset[bytes]) -> None:
        self.transport: paramiko.Transport
        self._guest, self._keys = guest, keys

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return common.AUTH_SUCCESSFUL if username == "root" and key.asbytes() in self._keys else common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._take_opened()
        opened = self._guest.opened
        for channel in list(opened):
            if channel.closed:
                opened.pop(channel, None)
        if kind != "session":
            return common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        if len(opened) >= MAX_SESSIONS or len(self.transport.channels_seen) >= MAX_OPENED:
            return common.OPEN_FAILED_RESOURCE_SHORTAGE
        return common.OPEN_SUCCEEDED

    def check_channel_pty_request(
        self, channel: paramiko.Channel, term: bytes, width: int, height: int, pixelwidth: int, pixelheight: int, modes: bytes
    ) -> bool:
        if self._streams(channel).thread is not None:
            return False
        self._guest.opened[channel] = TerminalStreams(channel, (width, height))
        return True

    def check_channel_window_change_request(
        self, channel: paramiko.Channel, width: int, height: int, pixelwidth: int, pixelheight: int
    ) -> bool:
        self._streams(channel).window = (width, height)
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self._request(channel, self._shell)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._request(channel, partial(self._shell, command=command))

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        return name == "sftp" and self._request(channel, self._sftp)

    def requested(self, channel: paramiko.Channel, kind: str) -> None:
        """Called after the reply to a request of the channel. Only then may its session start."""
        thread = self._streams(channel).thread
        if kind == "eow@openssh.com":
            # OpenSSH's PROTOCOL, 2.1: the client no longer reads the output, as in ``ssh HOST cat FILE | head``.
            channel.close()
        elif thread is not None and thread.ident is None:
            thread.start()

    def _request(self, channel: paramiko.Channel, work: Callable[[Streams], int]) -> bool:
        """Accept one request for each channel: ``work`` serves it, and returns the exit status."""
        streams = self._streams(channel)
        if streams.thread is not None:
            return False
        streams.thread = threading.Thread(target=self._serve, args=(streams, work), daemon=True)
        return True

    def _take_opened(self) -> None:
        # Paramiko keeps a channel in its queue for ever unless it is accepted, and then only by a weak reference.
        while (channel := self.transport.accept(0)) is not None:
            self._guest.opened.setdefault(channel, Streams(channel))

    def _streams(self, channel: paramiko.Channel) -> Streams:
        self._take_opened()
        return self._guest.opened.setdefault(channel, Streams(channel))

    def _serve(self, streams: Streams, work: Callable[[Streams], int]) -> None:
        with contextlib.suppress(HungUp, OSError, EOFError, paramiko.SSHException), streams.channel:
            status = work(streams)
            # When the client hangs up, the command only sees the end of its input. That must not count as success.
            if not streams.channel.closed:
                streams.channel.send_exit_status(status)

    def _shell(self, streams: Streams, command: bytes | None = None) -> int:
        shell = Shell(self._guest, streams)
        while True:
            try:
                text = streams.read_line("# ") if command is None else command
                shell.run(text)
            except Interrupted:
                shell.status, text = 130, b"^C"
            if shell.left or command is not None or not text:
                return shell.status

    def _sftp(self, streams: Streams) -> int:
        # Paramiko raises almost anything on invalid input.
        with contextlib.suppress(Exception):
            SftpServer(streams.channel, self, self._guest.files).start_subsystem("sftp", self.transport, streams.channel)
        return 0


class _AuthHandler(AuthHandler):
    def _generate_key_from_request(self, algorithm: str, keyblob: bytes) -> paramiko.PKey:
        # Paramiko closes the connection for a key that it cannot read, such as one on a FIDO token, but the client should be
        # able to try its next key (RFC 4252, section 7). An empty key matches nobody's.
        try:
            return super()._generate_key_from_request(algorithm, keyblob) or paramiko.PKey()  # type: ignore[misc]
        except Exception:
            return paramiko.PKey()


def _handle_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    kind = paramiko.Message(message.get_remainder()).get_text()
    channel._handle_request(message)  # type: ignore[attr-defined]
    server = channel.get_transport().server_object
    if isinstance(server, _Sessions):
        server.requested(channel, kind)


def _receive(channel: paramiko.Channel, message: paramiko.Message) -> None:
    # Paramiko keeps all input, also that of a client that sends more than it may.
    if len(channel.in_buffer) > WINDOW:
        raise paramiko.SSHException("more input than allowed")
    channel._feed(message)  # type: ignore[attr-defined]


def _refuse(channel: paramiko.Channel, message: paramiko.Message) -> None:
    raise paramiko.SSHException("a client has no standard error")


class _Packetizer(paramiko.packet.Packetizer):
    """Paramiko's, with limits: it would receive packets and lines of any length, before the login, too."""

    _greeting = 0

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > LARGEST_PACKET:
            raise paramiko.SSHException("the packet is too large")
        return super().read_all(n, check_rekey)

    def _read_timeout(self, timeout: float) -> bytes:
        # Only the first line is read like this.
        received: bytes = super()._read_timeout(timeout)  # type: ignore[misc]
        self._greeting += len(received)
        if self._greeting > LARGEST_GREETING:
            raise EOFError
        return received


class _Connection(paramiko.Transport):
    """Paramiko's transport, with changes for which it has no hook."""

    # A session that starts before its request is answered could close the channel before the client sees the reply.
    _channel_handler_table = {  # noqa: RUF012
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        common.MSG_CHANNEL_REQUEST: _handle_request,
        common.MSG_CHANNEL_DATA: _receive,
        common.MSG_CHANNEL_EXTENDED_DATA: _refuse,
    }

    def __init__(self, accepted: socket.socket, host_key: paramiko.PKey, sessions: _Sessions) -> None:
        super().__init__(accepted, WINDOW, disabled_algorithms=_WEAK, packetizer_class=_Packetizer)
        # Paramiko logs single packets and clients' errors, which nobody reads here.
        logging.getLogger(__name__).disabled = True
        self.set_log_channel(__name__)
        # OpenSSH's client sends eow@openssh.com only to servers whose name begins with OpenSSH.
        self.local_version = "SSH-2.0-OpenSSH_StratusLab_simulated"
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = LOGIN_SECONDS
        self.daemon = True
        self.login_until = time.monotonic() + LOGIN_SECONDS
        self.add_server_key(host_key)
        self.auth_handler = _AuthHandler(self)
        sessions.transport = self
        self.start_server(threading.Event(), sessions)


class SshServer:
    """The SSH server of a guest on a listening socket, which it does not close."""

    def __init__(self, listener: socket.socket, guest: Guest, host_key: paramiko.PKey, keys: frozenset[bytes]) -> None:
        self._listener = listener
        self._guest, self._host_key, self._keys = guest, host_key, keys
        self._connections: list[_Connection] = []
        self._listener.setblocking(False)

    def hang_up(self) -> None:
        """Drop every connection like a machine that goes down, without closing channels or sending statuses."""
        # In a thread, as a client that does not read can block it.
        farewell = threading.Thread(target=self._farewell, daemon=True)
        farewell.start()
        farewell.join(FAREWELL_SECONDS)
        for connection in self._connections:
            # Close our side first: closing both with unread data would reset the connection.
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
        end = time.monotonic() + FAREWELL_SECONDS
        for connection in self._connections:
            connection.join(max(0.0, end - time.monotonic()))
            connection.close()

    def _farewell(self) -> None:
        """Write a newline to every terminal, so that the client's message about the end is not after the prompt."""
        for streams in list(self._guest.sessions):
            if isinstance(streams, TerminalStreams) and streams.channel.send_ready():
                with contextlib.suppress(HungUp):
                    streams.write(b"\n")

    def serve(self, end: socket.socket) -> None:
        """Accept connections until there is something to read from ``end``."""
        while True:
            self._connections = [connection for connection in self._connections if connection.is_alive()]
            logging_in = [connection for connection in self._connections if not connection.is_authenticated()]
            readable, _, _ = select.select([self._listener, end], [], [], 1.0 if logging_in else None)
            if end in readable:
                return
            for number, connection in enumerate(reversed(logging_in), 1):
                # If there are too many, the oldest are closed, so silent clients do not block others for long.
                late = number >= MAX_LOGGING_IN or time.monotonic() > connection.login_until
                if late and not connection.is_authenticated():
                    connection.close()
            if not readable:
                continue
            try:
                accepted, _ = self._listener.accept()
                if len(self._connections) < MAX_CONNECTIONS:
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._connections.append(_Connection(accepted, self._host_key, _Sessions(self._guest, self._keys)))
                else:
                    accepted.close()
            except (OSError, RuntimeError, paramiko.SSHException):
                # The client has gone, or descriptors or threads are used up: pause before the next one.
                time.sleep(0.01)
