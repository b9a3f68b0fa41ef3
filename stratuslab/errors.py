"""Errors, and the exit status of each kind.

Every error that a user can meet is a :class:`StratusLabError`. Its text is one line: what happened, to what, and why as far
as that is known; ``hint`` says what to do next. The command's ``main`` prints both on one line and returns ``status``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit statuses that all commands share (documented in the manual)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    NOT_FOUND = 4
    PARTIAL = 5
    INSTANCE_FAILED = 6
    TIMED_OUT = 7
    UNREACHABLE = 8
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143
    SSH = 255


class StratusLabError(Exception):
    """The cloud, the Marketplace or this computer refused or failed.

    ``message`` says what happened; ``hint`` (may be empty) says what to do about it. ``nothing_done`` says that the cloud
    certainly did nothing: it refused by itself, or was never asked. An error is never changed: :meth:`replaced` makes a new one.
    """

    status: ExitStatus = ExitStatus.FAILED
    nothing_done: bool = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def replaced(self, message: str = "", hint: str = "") -> StratusLabError:
        """A copy of the error with another message or hint."""
        other = type(self).__new__(type(self))  # some kinds have a constructor of their own
        other.__dict__.update(self.__dict__)
        StratusLabError.__init__(other, message or self.message, hint or self.hint)
        return other

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(StratusLabError):
    """An option, a file or a setting that the user gave cannot be used."""

    status = ExitStatus.USAGE
    nothing_done = True


class ConfigurationError(UsageError):
    """A configuration file cannot be read, or its content is invalid."""


class AuthenticationError(StratusLabError):
    """The cloud does not know the user, or the password or certificate is wrong."""

    status = ExitStatus.DENIED


class PermissionDenied(StratusLabError):
    """The user is authenticated but not allowed to do this."""

    status = ExitStatus.DENIED


class NotFound(StratusLabError):
    """There is no such instance, image, network or template."""

    status = ExitStatus.NOT_FOUND


class SeveralFailed(StratusLabError):
    """Some or all of several operations failed; ``causes`` are their errors."""

    def __init__(self, message: str, status: ExitStatus, causes: Sequence[StratusLabError]) -> None:
        super().__init__(message)
        self.status = status
        self.causes = causes


class InstanceFailed(StratusLabError):
    """The instance failed, or is in a state that does not allow the operation."""

    status = ExitStatus.INSTANCE_FAILED


class TimedOut(StratusLabError):
    """Something did not happen in time."""

    status = ExitStatus.TIMED_OUT


class Unreachable(StratusLabError):
    """Nothing that speaks the expected protocol answers at the address. ``lasting`` says that asking again will not help."""

    status = ExitStatus.UNREACHABLE

    def __init__(self, message: str, hint: str = "", lasting: bool = False) -> None:
        super().__init__(message, hint)
        self.lasting = lasting


class SSHError(StratusLabError):
    """SSH itself failed (no connection, no accepted key, a changed host key), not the remote command. Has ssh's own status."""

    status = ExitStatus.SSH


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM, as ``timeout`` sends it. It ends as after Ctrl-C, and reports what was done."""

    status = ExitStatus.TERMINATED
    message = "terminated"


class TerminalGone(Terminated):
    """The process received SIGHUP: its terminal is gone."""

    status = ExitStatus.HUNG_UP
    message = "hung up"
