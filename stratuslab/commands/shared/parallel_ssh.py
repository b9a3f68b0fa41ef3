"""A command on several instances in parallel: each line of their output with the instance in front of it."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from io import RawIOBase
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from stratuslab.commands.session import Session
from stratuslab.commands.shared.parallel import Outcome, Parallel
from stratuslab.commands.standard_output import write_errors
from stratuslab.errors import ExitStatus, SSHError, StratusLabError
from stratuslab.output.safe_text import width, word
from stratuslab.ssh.login_target import Target

if TYPE_CHECKING:
    import subprocess

    from stratuslab.commands.shared.ssh_login import SSHLogin

_LONGEST = 1 << 16
"""Bytes after which a line that does not end is written all the same."""


class _Sink:
    """One of our outputs, to which whole lines are written by many threads until it is shut."""

    def __init__(self, stream: TextIO | None, errors: Callable[[], AbstractContextManager[object]]) -> None:
        self._stream = stream
        self._errors = errors  # what turns the errors of a write into those that a user can meet, or ignores them
        self._lock = threading.Lock()
        self._shut = False
        self._failure: BaseException | None = None

    def write(self, data: bytes) -> None:
        with self._lock:
            if self._stream is None or self._shut:
                return
            if self._failure is not None:
                raise self._failure
            binary = getattr(self._stream, "buffer", None)
            try:
                with self._errors():
                    if binary is None:
                        self._stream.write(data.decode("utf-8", "replace"))
                    else:
                        binary.write(data)
                        binary.flush()
            except Exception as error:
                self._failure = error
                raise

    def shut(self) -> None:
        # A thread that is in the middle of a write when Python ends takes the whole process down with it.
        with self._lock:
            self._shut = True


class _Lines(RawIOBase):
    """The output of one instance, cut into lines."""

    def __init__(self, sink: _Sink, prefix: str) -> None:
        self._sink = sink
        self._prefix = prefix.encode()
        self._rest = b""
        self.used = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.used = True
        content = self._rest + bytes(data)
        *whole, self._rest = content.split(b"\n")
        if len(self._rest) > _LONGEST:
            whole, self._rest = [*whole, self._rest], b""
        if whole:
            self._sink.write(b"".join(self._prefix + line + b"\n" for line in whole))
        return len(data)

    def finish(self) -> None:
        """Write the last line, that had no end."""
        if self._rest:
            self._sink.write(self._prefix + self._rest + b"\n")
            self._rest = b""


class ParallelSSH:
    """The command on so many instances at once. Instances have no standard input, and nobody is asked for anything."""

    def __init__(self, session: Session, login: SSHLogin, command: Sequence[str], parallel: int) -> None:
        self._session = session
        self._login = login
        self._command = command
        self._parallel = parallel
        self._over = False
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._out = _Sink(session.environment.stdout, lambda: write_errors(session.environment))
        self._err = _Sink(session.environment.stderr, lambda: suppress(OSError, ValueError))  # nobody has to read the errors

    def run(self, names: Mapping[int, str]) -> list[Outcome[int, int]]:
        """Run it on all of them, whose lines begin with these names; the status of each, or its error, in their order. On Ctrl-C
        all are ended, and nothing new is begun."""
        numbers = list(names)
        prefixes = {number: word(name) for number, name in names.items()}
        most = max(map(width, prefixes.values()))
        padded = {number: " " * (most - width(prefix)) + f"{prefix}: " for number, prefix in prefixes.items()}
        running = Parallel(lambda number: self._status(number, padded[number]), numbers, self._parallel)
        running.start()
        try:
            ended = dict(running.next() for _ in numbers)
        finally:
            running.stop()
            self._end()
        return [outcome for place in range(len(numbers)) if (outcome := ended[place])]

    def _status(self, number: int, prefix: str) -> int:
        out, err = _Lines(self._out, prefix), _Lines(self._err, prefix)
        try:
            target = self._login.target(number)
            return self._by_paramiko(target, out, err) if self._login.ssh is None else self._by_ssh(target, out, err)
        finally:
            out.finish()
            err.finish()

    def _by_ssh(self, target: Target, out: _Lines, err: _Lines) -> int:
        import subprocess

        # ERROR: ssh's notes about known hosts would stand between the lines.
        words = self._login.words(target, self._command, ("-o", "BatchMode=yes", "-o", "LogLevel=ERROR"))
        with self._lock:
            if self._over:
                raise StratusLabError("not begun")
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self._processes.add(process)
        with process, selectors.DefaultSelector() as ready:
            for stream, lines in ((process.stdout, out), (process.stderr, err)):
                assert stream is not None
                ready.register(stream, selectors.EVENT_READ, lines)
            try:
                while ready.get_map():
                    for source, _ in ready.select():
                        if data := os.read(source.fd, _LONGEST):
                            source.data.write(data)
                        else:
                            ready.unregister(source.fileobj)
            except BaseException:
                process.kill()
                raise
        status = process.returncode
        if status == ExitStatus.SSH and not err.used:
            # With LogLevel=ERROR ssh does not say that the server no longer answers.
            raise SSHError(f"the connection to {target.host} was lost, or the command exited with status {status}")
        return status if status >= 0 else 128 - status

    def _by_paramiko(self, target: Target, out: _Lines, err: _Lines) -> int:
        from stratuslab.ssh.paramiko_session import session

        streams = (None, cast(BinaryIO, out), cast(BinaryIO, err))
        return session(target, self._command, *streams, complain=self._login.not_recorded)

    def _end(self) -> None:
        with self._lock:
            self._over = True
            processes = list(self._processes)
        for process in processes:
            process.terminate()
        self._out.shut()
        self._err.shut()


def summed_up(session: Session, outcomes: Sequence[Outcome[int, int]], errors: Sequence[StratusLabError]) -> int:
    """Say on stderr how it went everywhere, and give the status of it.

    0 where the command succeeded everywhere, 5 where it failed on some; where it failed on all the status that they have in
    common, or 1. ``errors`` are those of words that name no instance.
    """
    failed = [(outcome, status) for outcome in outcomes if (status := outcome.error.status if outcome.error else outcome.value)]
    for error in errors:
        session.messages.error(str(error))
    for outcome, _ in failed:
        session.messages.error(_said(outcome))
    total = len(outcomes) + len(errors)
    count = len(failed) + len(errors)
    if not count:
        session.messages.note(f"done on {total} machines")
        return ExitStatus.DONE
    session.messages.error(f"failed on {count} of {total} machines")
    if count < total:
        return ExitStatus.PARTIAL
    statuses = {status for _, status in failed} | {int(error.status) for error in errors}
    return statuses.pop() if len(statuses) == 1 else ExitStatus.FAILED


def _said(outcome: Outcome[int, int]) -> str:
    name = f"machine {outcome.item}"
    if outcome.error is not None:
        # Most errors name the instance themselves.
        named = outcome.error.message.startswith((f"{name} ", f"machine {outcome.item} "))
        return str(outcome.error) if named else f"{name}: {outcome.error}"
    what = "SSH failed (255)" if outcome.value == ExitStatus.SSH else f"the command exited with status {outcome.value}"
    return f"{name}: {what}"
