"""The sessions of one SSH connection to the simulated guest: who may open them, and the shell behind each.

One thread for each session; their number is bounded.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_RESOURCE_SHORTAGE,
    OPEN_SUCCEEDED,
)

from stratuslab.local.guest.process import HungUp, Input, Interrupted, Left, decoded
from stratuslab.local.guest.shell import Shell
from stratuslab.local.guest.system import Guest
from stratuslab.local.guest.terminal import Terminal

MAX_SESSIONS = 10
"""Open sessions of one connection; OpenSSH's own number."""

PIECE = 32 * 1024


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


class Sessions(paramiko.ServerInterface):
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
