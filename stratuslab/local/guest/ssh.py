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
from collections.abc import Callable

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    MSG_CHANNEL_REQUEST,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)

from stratuslab.local.guest.process import HungUp, Input, Interrupted, Left, decoded
from stratuslab.local.guest.shell import Shell
from stratuslab.local.guest.system import Guest
from stratuslab.local.guest.terminal import Terminal

MAX_CONNECTIONS = 100
MAX_LOGGING_IN = 30
MAX_SESSIONS = 10
"""Open sessions of one connection; OpenSSH's own number."""

LOGIN_SECONDS = 30.0
"""The time from connecting to being logged in."""

FAREWELL_SECONDS = 1.0
"""How long a client that is sent away may take to close its side."""

PIECE = 32 * 1024

_WEAK = {
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc", "blowfish-cbc", "arcfour128", "arcfour256"],
    "macs": ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
    "kex": ["diffie-hellman-group-exchange-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1"],
    "keys": ["ssh-rsa", "ssh-dss"],
    "pubkeys": ["ssh-rsa", "ssh-dss"],
}
"""What a client is not offered, though a version of paramiko may have it."""


class _Wire:
    """A channel as consoles use it. It is ``deaf`` once the client has said that nobody reads the output any more."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel = channel
        self.deaf = False

    def receive(self, seconds: float | None = None) -> bytes | None:
        if seconds == 0 and not (self.channel.recv_ready() or self.channel.closed or self.channel.eof_received):
            return None
        self.channel.settimeout(seconds)
        try:
            return self.channel.recv(PIECE)
        except TimeoutError:
            return None

    def send(self, data: bytes) -> None:
        self._send(self.channel.sendall, data)

    def send_error(self, data: bytes) -> None:
        self._send(self.channel.sendall_stderr, data)

    def _send(self, send: Callable[[bytes], None], data: bytes) -> None:
        self.check()
        self.channel.settimeout(None)
        try:
            send(data)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise HungUp from error

    def wait(self, seconds: float) -> None:
        if seconds > 0:
            # Set when the channel is closed.
            self.channel.status_event.wait(min(seconds, threading.TIMEOUT_MAX))
        self.check()

    def check(self) -> None:
        if self.deaf or self.channel.closed:
            raise HungUp


class _Pipes:
    """The console of a command without a terminal: three streams of bytes."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self.input = Input(iter(lambda: wire.receive() or b"", b""))
        self.write = wire.send
        self.write_error = wire.send_error
        self.pause = wire.wait


class _Session:
    """A channel from its opening on; ``command`` is None for a login shell."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.wire = _Wire(channel)
        self.channel = channel
        self.terminal: Terminal | None = None
        self.command: bytes | None = None
        self.requested = False
        self.started = False


class _Server(paramiko.ServerInterface):
    """What one connection may do. Paramiko calls this from the connection's thread."""

    def __init__(self, guest: Guest, keys: frozenset[bytes]) -> None:
        self.transport: paramiko.Transport | None = None
        self._guest = guest
        self._keys = keys
        self._sessions: dict[int, _Session] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        known = username == "root" and key.asbytes() in self._keys
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self._take_opened()
        self._sessions = {number: session for number, session in self._sessions.items() if not session.channel.closed}
        if kind != "session":
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        if len(self._sessions) >= MAX_SESSIONS:
            return OPEN_FAILED_RESOURCE_SHORTAGE
        return OPEN_SUCCEEDED

    def check_channel_pty_request(
        self,
        channel: paramiko.Channel,
        term: bytes,
        width: int,
        height: int,
        pixelwidth: int,
        pixelheight: int,
        modes: bytes,
    ) -> bool:
        session = self._session(channel)
        if session.requested:
            return False
        session.terminal = Terminal(session.wire, width)
        return True

    def check_channel_window_change_request(
        self, channel: paramiko.Channel, width: int, height: int, pixelwidth: int, pixelheight: int
    ) -> bool:
        terminal = self._session(channel).terminal
        if terminal is not None:
            terminal.resize(width)
        return terminal is not None

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        return self._start(channel, None)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._start(channel, command)

    def _start(self, channel: paramiko.Channel, command: bytes | None) -> bool:
        session = self._session(channel)
        if session.requested:
            return False
        session.requested = True
        session.command = command
        return True

    def _take_opened(self) -> None:
        # Paramiko holds channels weakly once they are taken from its queue, and its queue for good while they are not.
        while self.transport is not None and (opened := self.transport.accept(0)) is not None:
            self._sessions.setdefault(opened.chanid, _Session(opened))

    def _session(self, channel: paramiko.Channel) -> _Session:
        self._take_opened()
        return self._sessions.setdefault(channel.chanid, _Session(channel))

    def answered(self, channel: paramiko.Channel) -> None:
        """A request of the channel has its reply: now, and not before, a session may write and end."""
        session = self._sessions.get(channel.chanid)
        if session is not None and session.requested and not session.started:
            session.started = True
            threading.Thread(target=self._serve, args=(session,), daemon=True, name=f"session-{channel.chanid}").start()

    def unheard(self, channel: paramiko.Channel) -> None:
        """Nobody reads the channel's output any more, as behind ``ssh HOST yes | head``."""
        session = self._sessions.get(channel.chanid)
        if session is not None:
            session.wire.deaf = True

    def farewell(self) -> None:
        """A new line on every terminal, so that what the client says of the end is not behind the prompt."""
        for session in list(self._sessions.values()):
            if session.terminal is not None and session.started and session.channel.send_ready():
                with contextlib.suppress(HungUp):
                    session.terminal.write(b"\n")

    def _serve(self, session: _Session) -> None:
        self._guest.sessions.add(session)
        try:
            session.channel.send_exit_status(self._run(session))
        except (HungUp, OSError, EOFError, paramiko.SSHException):
            pass
        finally:
            self._guest.sessions.discard(session)
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                session.channel.close()

    def _run(self, session: _Session) -> int:
        terminal = session.terminal
        environment = {"TERM": "xterm"} if terminal else {}
        shell = Shell(self._guest, terminal or _Pipes(session.wire), environment)
        try:
            if session.command is not None:
                return shell.run(decoded(session.command))
            return shell.interact(terminal.ask) if terminal else shell.run_script(shell.console.input)
        except Left as left:
            return left.status
        except Interrupted:
            return 130


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
    if isinstance(server, _Server):
        # OpenSSH's PROTOCOL, 2.1: "eow@openssh.com", end of write.
        (server.unheard if kind == "eow@openssh.com" else server.answered)(channel)


class _Connection(paramiko.Transport):
    """Paramiko's transport, with the things that it has no hook for."""

    # A session that started before its request was answered could close the channel first, and the client would see none.
    _channel_handler_table = {  # noqa: RUF012
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_REQUEST: _handle_request,
    }

    def __init__(self, accepted: socket.socket, host_key: paramiko.PKey, server: _Server) -> None:
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
            if isinstance(connection.server_object, _Server):
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
            self._connections.append(_Connection(accepted, self._host_key, _Server(self._guest, self._keys)))
        except (OSError, RuntimeError, paramiko.SSHException):
            accepted.close()
