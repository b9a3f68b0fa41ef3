"""An instance as an object that can be waited for, logged in to and acted upon."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from stratuslab.commands import (
    connect_instance,
    copy_files,
    kill_instance,
    reboot_instance,
    shutdown_instance,
    start_instance,
    stop_instance,
    update_instance,
)
from stratuslab.commands.command_declaration import Command
from stratuslab.commands.shared.login_arguments import LOGIN_PATIENCE
from stratuslab.commands.shared.ssh_login import SSHLogin
from stratuslab.diagnosis.explanation import Explanation, explain
from stratuslab.diagnosis.timeline import Span, steps
from stratuslab.errors import NotFound, SeveralFailed, StratusLabError
from stratuslab.opennebula.instance import Instance
from stratuslab.output.reason_text import reason
from stratuslab.python_library.command_calls import CommandSessions
from stratuslab.python_library.python_hints import for_programs
from stratuslab.results import FilesCopied
from stratuslab.ssh.captured_command import captured


class CommandOutput(NamedTuple):
    """What a command on a machine did: its exit status, and what it wrote (UTF-8; other bytes are replaced)."""

    status: int
    stdout: str
    stderr: str


class CommandFailed(StratusLabError):
    """A command on a machine ended with another status than 0; ``output`` is all of it."""

    def __init__(self, message: str, output: CommandOutput) -> None:
        super().__init__(message)
        self.output = output


class VirtualMachine(Instance):
    """An instance of a connected cloud, with all facts of an ``Instance`` as they were when it was last looked at.

    Every action, :meth:`wait` and :meth:`refresh` look again. Methods may raise the errors of the library. Different
    threads may use different machines of one cloud.
    """

    def __init__(self, sessions: CommandSessions, instance: Instance) -> None:
        super().__init__(instance.document, instance.usage)
        self._sessions = sessions
        self._changing = False

    def __repr__(self) -> str:
        return f"<VirtualMachine {self.id} {self.name!r} {self.state_label}>"

    @for_programs()
    def refresh(self) -> VirtualMachine:
        """Look again, and return the machine. Raises NotFound."""
        self._seen(self._sessions.cloud.instance(self.id))
        return self

    def _seen(self, instance: Instance) -> None:
        self.__dict__ = {**instance.__dict__, "_sessions": self._sessions, "_changing": self._changing}

    @for_programs()
    def wait(self, state: str = "running", timeout: float = 600.0) -> VirtualMachine:
        """Wait until the machine is in a state, such as ``"running"``, ``"poweroff"`` or ``"done"``, or answers by ``"ssh"``,
        for at most ``timeout`` seconds, and return it.

        Raises InstanceFailed, which says why it will not get there, or TimedOut.
        """
        waited = self._sessions.wait([self.id], state, timeout, asked_for=self._changing)
        self._changing = False
        if self.id in waited.latest:
            self._seen(waited.latest[self.id])
        if self.id in waited.errors:
            raise waited.errors[self.id]
        return self

    @for_programs()
    def ssh(
        self,
        command: str | Sequence[str],
        *,
        input: str | bytes | None = None,
        check: bool = False,
        user: str = "",
        key: str | PathLike[str] = "",
        port: int | None = None,
        timeout: float = LOGIN_PATIENCE,
    ) -> CommandOutput:
        """Run a command on the machine, once its SSH server answers, and return its status and output.

        A string is a line for the remote shell; the words of a sequence stay what they are. ``input`` is the command's standard
        input. ``user``, ``key`` (a private key's file) and ``port`` are by default those that the machine was started with.
        ``timeout`` is how many seconds to wait for the server, not for the command. Host keys are kept in
        ``~/.stratuslab/known_hosts``.

        Raises SSHError if SSH itself fails, TimedOut or InstanceFailed if the server does not answer, and with ``check``
        CommandFailed if the command does not end with status 0.
        """
        words = [command] if isinstance(command, str) else [shlex.join(command)]
        arguments = {"user": user, "key": key, "port": port, "wait_timeout": timeout}
        session = self._sessions.session(connect_instance.COMMAND, arguments, [str(self.id)])
        login = SSHLogin(session, alone=False)
        target = login.target(self.id)
        line = None if login.ssh is None else login.words(target, words, ("-o", "BatchMode=yes", "-o", "LogLevel=ERROR"))
        data = input.encode() if isinstance(input, str) else input
        status, out, err = captured(line, target, words, data, login.not_recorded)
        output = CommandOutput(status, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))
        if check and status:
            last = output.stderr.strip().rpartition("\n")[2]
            said = f"the command on machine {self.id} ended with status {status}"
            raise CommandFailed(f"{said}: {last}" if last else said, output)
        return output

    def copy_to(
        self,
        source: str | PathLike[str] | Sequence[str | PathLike[str]],
        destination: str = "",
        *,
        recursive: bool = False,
        user: str = "",
        key: str | PathLike[str] = "",
        timeout: float = LOGIN_PATIENCE,
    ) -> FilesCopied:
        """Copy files (with ``recursive`` also folders) to a path on the machine; an empty one is the user's home folder there."""
        files = [source] if isinstance(source, (str, PathLike)) else source
        # A path with a slash is never taken for one on a machine.
        words = [*(str(Path(one).absolute()) for one in files), f"{self.id}:{destination}"]
        return self._copied(words, recursive=recursive, user=user, key=key, wait_timeout=timeout)

    def copy_from(
        self,
        source: str | Sequence[str],
        destination: str | PathLike[str] = ".",
        *,
        recursive: bool = False,
        user: str = "",
        key: str | PathLike[str] = "",
        timeout: float = LOGIN_PATIENCE,
    ) -> FilesCopied:
        """Copy files (with ``recursive`` also folders) from the machine to a path of this computer."""
        names = [source] if isinstance(source, str) else source
        folder = str(Path(destination).absolute()) + ("/" if str(destination).endswith("/") else "")
        words = [*(f"{self.id}:{name}" for name in names), folder]
        return self._copied(words, recursive=recursive, user=user, key=key, wait_timeout=timeout)

    @for_programs()
    def _copied(self, words: Sequence[str], **arguments: object) -> FilesCopied:
        done = self._sessions.results(copy_files.COMMAND, arguments, words)
        return next(result for result in done if isinstance(result, FilesCopied))

    def stop(self, *, hard: bool = False, wait: bool = True, timeout: float = 120.0) -> None:
        """Power the machine off; it keeps its disks and addresses. ``hard`` does not ask the guest. Returns when it is off, or at
        once without ``wait``. Raises InstanceFailed in a state that does not allow it, TimedOut after ``timeout`` seconds."""
        self._act(stop_instance.COMMAND, hard=hard, no_wait=not wait, wait_timeout=timeout)

    def start(self, *, wait: bool = True, timeout: float = 120.0) -> None:
        """Start a machine that is powered off, suspended, or lost by its host. Returns when it runs, else as :meth:`stop`."""
        self._act(start_instance.COMMAND, no_wait=not wait, wait_timeout=timeout)

    def shutdown(self, *, wait: bool = True, timeout: float = 120.0) -> None:
        """Shut the machine down cleanly and release its resources. Returns when it is gone, else as :meth:`stop`."""
        self._act(shutdown_instance.COMMAND, no_wait=not wait, wait_timeout=timeout)

    def reboot(self, *, hard: bool = False) -> None:
        """Ask the guest to reboot, or reset it (``hard``). Returns before it has."""
        self._act(reboot_instance.COMMAND, hard=hard)

    def kill(self) -> None:
        """Stop the machine at once and release its resources; does nothing if that was done before."""
        self._act(kill_instance.COMMAND)

    def rename(self, name: str) -> None:
        """Give the machine another name."""
        self._act(update_instance.COMMAND, name=name)

    def label(self, *labels: str, remove: Iterable[str] = ()) -> None:
        """Add labels, and remove others."""
        self._act(update_instance.COMMAND, label=labels, remove_label=tuple(remove))

    @for_programs()
    def _act(self, command: Command, **arguments: object) -> None:
        try:
            self._sessions.results(command, arguments, [str(self.id)])
        except SeveralFailed as error:
            raise error.causes[0] from None
        self._changing = bool(arguments.get("no_wait"))
        with suppress(NotFound):
            self._seen(self._sessions.cloud.instance(self.id))

    def diagnosis(self) -> Explanation | None:
        """Why the machine failed, waits or is away: its kind, the step, the server's message and its known cause. None if there
        is nothing to explain."""
        return explain(self.refresh(), time.time())

    def why(self) -> str:
        """The diagnosis as a sentence without its subject, such as ``waits for a host``; empty if there is nothing to explain."""
        found = self.diagnosis()
        return reason(found) if found else ""

    def timeline(self) -> tuple[Span, ...]:
        """The steps of the machine's life with their times, in order."""
        return steps(self.refresh(), time.time())


class BatchFailed(SeveralFailed):
    """Some or all of several machines failed: ``causes`` are their errors, ``machines`` those that are there all the same."""

    def __init__(self, error: StratusLabError, machines: Sequence[VirtualMachine]) -> None:
        causes = error.causes if isinstance(error, SeveralFailed) else (error,)
        super().__init__(error.message, error.status, causes)
        self.machines = machines
