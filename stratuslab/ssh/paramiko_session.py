"""An SSH session with paramiko, for computers without ``ssh``: same known hosts, keys, exit statuses and remote shell."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from stratuslab.errors import SSHError, StratusLabError
from stratuslab.ssh.known_hosts import KnownHosts
from stratuslab.ssh.login_target import Target, remote_command

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

    line = remote_command(command)
    with ExitStack() as stack:
        transport = log_in(target, KnownHosts(target.known_hosts), ask, complain)
        stack.callback(transport.close)
        is_lost = stack.enter_context(watched(transport, target.silence))
        try:
            channel = transport.open_session(timeout=target.connect_timeout)
            streams = stack.enter_context(_streams(channel, stdin, stderr))
            if line:
                channel.exec_command(line)
            elif streams.terminal is None:
                channel.invoke_shell()
            else:
                size = os.get_terminal_size(streams.terminal)
                channel.get_pty(terminal, size.columns, size.lines)
                stack.enter_context(_resizes(streams.wake))
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

    def __init__(self, channel: Channel, stdin: BinaryIO | None, stderr: BinaryIO, pipe: tuple[int, int]) -> None:
        self._channel = channel
        self._stdin = stdin
        self._stderr = stderr
        self._woken, self.wake = pipe
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
        os.write(self.wake, _OVER)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2)

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
                self._resize()
            elif data := os.read(self._descriptor, _CHUNK):
                yield data
            else:
                return

    def _resize(self) -> None:
        if self.terminal is not None:
            size = os.get_terminal_size(self.terminal)
            self._channel.resize_pty(size.columns, size.lines)

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


@contextmanager
def _streams(channel: Channel, stdin: BinaryIO | None, stderr: BinaryIO) -> Iterator[_Streams]:
    pipe = os.pipe()
    # A signal handler writes to it and must not block.
    os.set_blocking(pipe[1], False)
    streams = _Streams(channel, stdin, stderr, pipe)
    try:
        yield streams
    finally:
        streams.end()
        for descriptor in pipe:
            os.close(descriptor)


def _descriptor(stream: BinaryIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *signals: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        # Python lets only the main thread handle signals.
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)


@contextmanager
def _resizes(wake: int) -> Iterator[None]:
    """Wake the feeding thread when the window is resized; the handler itself may have interrupted a lock's holder."""

    def resized(number: int, frame: FrameType | None) -> None:
        with suppress(BlockingIOError):
            os.write(wake, _RESIZED)

    with _handled(resized, signal.SIGWINCH):
        yield


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Send every key to the other side; the terminal is restored afterwards, also when this process is terminated."""
    import termios
    import tty

    def terminated(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = termios.tcgetattr(terminal)
    with _handled(terminated, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        try:
            tty.setraw(terminal)
            yield
        finally:
            with suppress(termios.error):
                termios.tcsetattr(terminal, termios.TCSADRAIN, before)
