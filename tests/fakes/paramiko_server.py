"""A real SSH server on loopback, by paramiko: each exec and each shell is a process of this computer."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from functools import partial
from typing import BinaryIO, cast

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED


class ParamikoServer:
    """``authorized`` is a line of authorized_keys. ``host_key`` may be replaced between connections."""

    def __init__(self, authorized: str) -> None:

        self.authorized = authorized.split()[1]
        self.host_key: paramiko.PKey = paramiko.ECDSAKey.generate()
        self.logins: list[str] = []
        self.offered: list[str] = []
        self._transports: list[paramiko.Transport] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._over = False
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        # Closing the socket under a thread that waits in accept() could give that thread the next test's socket.
        self._over = True
        socket.create_connection(("127.0.0.1", self.port), 5).close()
        self._accepting.join(5)
        self._listening.close()
        self.hang_up()

    def hang_up(self) -> None:
        for transport in self._transports:
            transport.close()

    def _accept(self) -> None:

        while True:
            connection, _ = self._listening.accept()
            if self._over:
                connection.close()
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            self._transports.append(transport)
            with suppress(paramiko.SSHException, EOFError):
                transport.start_server(event=threading.Event(), server=_interface(self))


def _interface(server: ParamikoServer):

    class Interface(paramiko.ServerInterface):
        process: subprocess.Popen | None = None
        terminal: int | None = None
        environment: dict[str, str]

        def get_allowed_auths(self, username: str) -> str:
            return "publickey"

        def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
            server.offered.append(key.get_base64())
            if key.get_base64() != server.authorized:
                return AUTH_FAILED
            server.logins.append(username)
            return AUTH_SUCCESSFUL

        def check_channel_request(self, kind: str, chanid: int) -> int:
            return OPEN_SUCCEEDED

        def check_channel_pty_request(self, channel, term, width, height, pixelwidth, pixelheight, modes) -> bool:
            self.environment = {"TERM": term.decode()}
            self.size = (height, width)
            self.terminal = -1
            return True

        def check_channel_window_change_request(self, channel, width, height, pixelwidth, pixelheight) -> bool:
            if self.terminal is not None:
                _resize(self.terminal, height, width)
            return True

        def check_channel_shell_request(self, channel) -> bool:
            self._start(channel, ["/bin/sh", "-i"] if self.terminal == -1 else ["/bin/sh"])
            return True

        def check_channel_exec_request(self, channel, command: bytes) -> bool:
            self._start(channel, ["/bin/sh", "-c", "--", os.fsdecode(command)])
            return True

        def _start(self, channel, argv: list[str]) -> None:
            if self.terminal == -1:
                self.terminal, slave = pty.openpty()
                _resize(self.terminal, *self.size)
                process = subprocess.Popen(
                    [sys.executable, "-c", _WITH_TERMINAL, *argv],
                    stdin=slave,
                    stdout=slave,
                    stderr=slave,
                    start_new_session=True,
                    env={"PATH": os.environ["PATH"], "PS1": "# ", "USER": "root", **self.environment},
                )
                os.close(slave)
                threading.Thread(target=_interact, args=(channel, process, self.terminal), daemon=True).start()
            else:
                pipe = subprocess.PIPE
                process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
                threading.Thread(target=_serve, args=(channel, process), daemon=True).start()

    return Interface()


def _resize(terminal: int, height: int, width: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


# Not by preexec_fn, which is not safe in a process with threads. Tests may run with SIGINT ignored, a login never does.
_WITH_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


def _interact(channel, process: subprocess.Popen, terminal: int) -> None:
    def keys() -> None:
        with suppress(OSError, EOFError):
            while data := channel.recv(65536):
                os.write(terminal, data)

    threading.Thread(target=keys, daemon=True).start()
    with suppress(OSError, EOFError):
        while data := os.read(terminal, 65536):
            channel.sendall(data)
    _finish(channel, process)


def _serve(channel, process: subprocess.Popen) -> None:
    def copy(read, write, done) -> None:
        with suppress(OSError, EOFError):
            while data := read(65536):
                write(data)
        with suppress(OSError, EOFError):
            done()

    stdin, stdout, stderr = (cast(BinaryIO, stream) for stream in (process.stdin, process.stdout, process.stderr))

    def take(data: bytes) -> None:
        stdin.write(data)
        stdin.flush()

    feed = threading.Thread(target=copy, args=(channel.recv, take, stdin.close))
    errors = threading.Thread(target=copy, args=(partial(os.read, stderr.fileno()), channel.sendall_stderr, lambda: None))
    for thread in (feed, errors):
        thread.daemon = True
        thread.start()
    copy(partial(os.read, stdout.fileno()), channel.sendall, lambda: None)
    errors.join()
    _finish(channel, process)


def _finish(channel, process: subprocess.Popen) -> None:
    status = process.wait()
    with suppress(OSError, EOFError, paramiko.SSHException):
        # A short command may end before paramiko has answered that it starts; this comes back after that answer.
        channel.get_transport().global_request("keepalive@example.org", wait=True)
        if status >= 0:
            channel.send_exit_status(status)
        channel.close()
