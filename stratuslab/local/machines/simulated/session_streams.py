"""Input and output of a session in a simulated guest, with and without a terminal."""

from __future__ import annotations

import codecs
import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import paramiko

PIECE = 32 * 1024  # bytes received at once
MAX_LINE = 64 * 1024  # bytes of a line; a longer one is split
MAX_AHEAD = 16 * 1024  # keys that are buffered while a command runs; further ones wait in the connection
# Escape sequences as in ECMA-48, sent by keys such as arrows, are ignored.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|[^\[O])", re.DOTALL)


class HungUp(Exception):
    """The client has closed the connection."""


class Interrupted(Exception):
    """The user pressed Ctrl-C."""


class Streams:
    """The three streams of a session, which ``thread`` serves."""

    def __init__(self, channel: paramiko.Channel, window: tuple[int, int] = (80, 24)) -> None:
        self.channel, self.window = channel, window
        self.thread: threading.Thread | None = None
        self._received = b""

    def pieces(self) -> Iterator[bytes]:
        """Standard input, in pieces as they arrive. Raises HungUp, Interrupted."""
        while piece := self._received or self._receive():
            self._received = b""
            yield piece

    def write(self, data: bytes) -> None:
        """Write to standard output; blocks while the client does not read. Raises HungUp."""
        self._send(self.channel.sendall, data)

    def write_error(self, data: bytes) -> None:
        """Write to standard error. Raises HungUp."""
        self._send(self.channel.sendall_stderr, data)

    def read_line(self, prompt: str) -> bytes:
        """The next line for the shell, empty at the end. The prompt is for terminals only. Raises HungUp, Interrupted."""
        while b"\n" not in self._received and len(self._received) < MAX_LINE and (piece := self._receive()):
            self._received += piece
        end = self._received.find(b"\n", 0, MAX_LINE) + 1 or MAX_LINE
        line, self._received = self._received[:end], self._received[end:]
        return line

    def pause(self, seconds: float) -> None:
        """Wait so long; 0 only checks the connection. Raises HungUp, Interrupted."""
        if seconds > 0:
            # The event is set when the channel is closed.
            self.channel.status_event.wait(min(seconds, threading.TIMEOUT_MAX))
        if self.channel.closed:
            raise HungUp

    def _send(self, send: Callable[[bytes], None], data: bytes) -> None:
        self.channel.settimeout(None)
        try:
            send(data)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise HungUp from error

    def _receive(self) -> bytes:
        self.channel.settimeout(None)
        return self.channel.recv(PIECE)


class TerminalStreams(Streams):
    """A terminal, with echo and editing as in Linux: backspace, Ctrl-U, Ctrl-C, Ctrl-D."""

    def __init__(self, channel: paramiko.Channel, window: tuple[int, int]) -> None:
        super().__init__(channel, window)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ahead: deque[str] = deque()
        self._ended = False

    def write(self, data: bytes) -> None:
        super().write(data.replace(b"\n", b"\r\n"))

    write_error = write

    def pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            left = max(end - time.monotonic(), 0)
            if self._ended or len(self._ahead) > MAX_AHEAD:
                super().pause(left)
            else:
                self._receive_keys(left)
            if "\x03" in self._ahead:
                # A terminal discards what was typed before.
                self._ahead.clear()
                self._interrupt()
            if left <= 0:
                return

    def read_line(self, prompt: str) -> bytes:
        """The next line; empty if the user pressed Ctrl-D or disconnected."""
        self.write(prompt.encode())
        line = ""
        while True:
            while self._ahead:
                key = self._ahead.popleft()
                if key in "\r\n" or (key == "\x04" and not line):
                    self.write(b"\n")
                    return b"" if key == "\x04" else f"{line}\n".encode()
                if key == "\x03":
                    self._interrupt()
                if key in "\x7f\b\x15":
                    kept = "" if key == "\x15" else line[:-1]
                    self.write(b"\b \b" * (len(line) - len(kept)))
                    line = kept
                elif key.isprintable() and len(line) < MAX_LINE // 4:
                    line += key
                    self.write(key.encode())
            if self._ended:
                return b""
            self._receive_keys(None)

    def _receive(self) -> bytes:
        return b"" if self._ended else self.read_line("")

    def _receive_keys(self, seconds: float | None) -> None:
        """Buffer the keys that arrive within this time, None: until some do."""
        if seconds == 0 and not (self.channel.recv_ready() or self.channel.closed or self.channel.eof_received):
            return
        self.channel.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            data = self.channel.recv(PIECE)
            self._ended = not data
            self._ahead += _SEQUENCE.sub("", self._decoder.decode(data))
        if self._ended:
            super().pause(0)

    def _interrupt(self) -> None:
        self.write(b"^C\n")
        raise Interrupted
