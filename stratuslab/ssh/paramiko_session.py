"""An SSH session with paramiko, for computers without ``ssh``: same known hosts, keys, exit statuses and remote shell."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO

from stratuslab.environment import end_process, signals_handled
from stratuslab.errors import SSHError, StratusLabError
from stratuslab.ssh.login_target import Target

if TYPE_CHECKING:
    from paramiko import Channel

_CHUNK = 1 << 16
_RESIZED = b"r"
_OVER = b"o"


def session(
    target: Target,
    command: Sequence[str],
    stdin: BinaryIO | None,
    stdout: BinaryIO,
    stderr: BinaryIO,
    *,
    errors: Callable[[], AbstractContextManager[None]] = nullcontext,
    terminal: str = "xterm",
    ask: Callable[[str], str] | None = None,
    complain: Callable[[StratusLabError], object] = lambda error: None,
) -> int:
    """Run the command on the target, or the user's shell without one, until it ends; its exit status.

    The streams are passed on unchanged, and a slow one slows the other side down; the end of ``stdin`` (or None) is passed on to
    the command. The shell gets a terminal of type ``terminal`` if ``stdin`` is one. ``errors`` is around writes to ``stdout``.
    ``ask`` asks the user for the passphrase of a key, given a prompt; ``complain`` is given what does not prevent the login.
    Raises SSHError when SSH itself fails, also in the middle.
    """
    from paramiko import SSHException

    from stratuslab.ssh.paramiko_login import log_in, watched

    line = " ".join(command)  # as ssh does: nothing is quoted, and the remote shell reads it as its own
    with ExitStack() as stack:
        transport = log_in(target, ask, complain)
        stack.callback(transport.close)
        is_lost = stack.enter_context(watched(transport, target.silence))
        try:
            channel = transport.open_session(timeout=target.connect_timeout)
            streams = _Streams(channel, stdin, stderr)
            stack.callback(streams.end)
            if line:
                channel.exec_command(line)
            elif streams.terminal is None:
                channel.invoke_shell()
            else:
                size = os.get_terminal_size(streams.terminal)
                channel.get_pty(terminal, size.columns, size.lines)
                stack.enter_context(signals_handled(streams.resized, signal.SIGWINCH))
                channel.invoke_shell()
                stack.enter_context(_raw(streams.terminal))
            status = streams.carry(stdout, errors)
        except (SSHException, EOFError) as error:
            why = f"no answer for {target.silence} s" if is_lost() else str(error)
            raise SSHError(f"the SSH session with {target.host} failed: {why}") from error
        if status < 0:
            # There is no status when a signal ended the command or the machine went away. The connection may end a moment
            # after the channel.
            transport.join(0.5)
            if is_lost():
                raise SSHError(f"the connection to {target.host} was lost: no answer for {target.silence} s")
            if not transport.is_active():
                raise SSHError(f"the connection to {target.host} was closed by the remote host")
    return status if status >= 0 else 255


class _Streams:
    """Three streams and a channel: one thread feeds the channel, one drains its errors, the caller's carries the output."""

    def __init__(self, channel: Channel, stdin: BinaryIO | None, stderr: BinaryIO) -> None:
        self._channel = channel
        self._stdin = stdin
        self._stderr = stderr
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)  # a signal handler writes to it
        self._descriptor = _descriptor(stdin)
        self.terminal = self._descriptor if self._descriptor is not None and os.isatty(self._descriptor) else None
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._feed, self._drain_errors)]

    def carry(self, stdout: BinaryIO, errors: Callable[[], AbstractContextManager[None]]) -> int:
        """Carry until the other side ends; its exit status, -1 if it sent none."""
        for thread in self._threads:
            thread.start()
        while data := self._channel.recv(_CHUNK):
            with errors():
                stdout.write(data)
                stdout.flush()
        self._threads[1].join()
        return self._channel.recv_exit_status()

    def end(self) -> None:
        # Closing the channel ends the threads that wait for it, the wake-up the one that waits for input.
        self._channel.close()
        os.write(self._wake, _OVER)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2)
        os.close(self._woken)
        os.close(self._wake)

    def resized(self, *_signal: object) -> None:
        """Have the window's new size sent: by the thread, as the signal may have interrupted a lock's holder."""
        with suppress(BlockingIOError):
            os.write(self._wake, _RESIZED)

    def _feed(self) -> None:
        # OSError: the channel was closed, nobody reads on.
        with suppress(OSError, EOFError):
            for data in self._input():
                self._channel.sendall(data)
            self._channel.shutdown_write()

    def _input(self) -> Iterator[bytes]:
        if self._descriptor is None:
            while self._stdin is not None and (data := self._stdin.read(_CHUNK)):
                yield data
            return
        # Not the stream's read(): nothing can wake a thread that waits in it, and it holds a lock at exit.
        while True:
            ready, _, _ = select.select([self._descriptor, self._woken], [], [])
            if self._woken in ready:
                if _OVER in os.read(self._woken, 64):
                    return
                if self.terminal is not None:
                    size = os.get_terminal_size(self.terminal)
                    self._channel.resize_pty(size.columns, size.lines)
            elif data := os.read(self._descriptor, _CHUNK):
                yield data
            else:
                return

    def _drain_errors(self) -> None:
        writable = True
        while data := self._channel.recv_stderr(_CHUNK):
            # stdout and stderr share a window: one that is not drained stops the other.
            if writable:
                try:
                    self._stderr.write(data)
                    self._stderr.flush()
                except (OSError, ValueError):
                    writable = False


def _descriptor(stream: BinaryIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Send every key to the other side; the terminal is restored afterwards, also when this process is terminated."""
    import termios
    import tty

    before = termios.tcgetattr(terminal)
    with signals_handled(end_process, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        try:
            tty.setraw(terminal)
            yield
        finally:
            with suppress(termios.error):
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)
