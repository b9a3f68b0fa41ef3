"""What can go wrong, and the exit status that each kind of failure has.

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
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143
    SSH = 255


class StratusLabError(Exception):
    """The cloud, the Marketplace or this computer refused or failed.

    ``message`` says what happened; ``hint`` (may be empty) says what to do about it. Once made an error stays as it is:
    :meth:`replaced` makes another one.
    """

    status: ExitStatus = ExitStatus.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def replaced(self, message: str = "", hint: str = "") -> StratusLabError:
        """The same error with this message or this hint, where one is given."""
        other = type(self).__new__(type(self))  # some kinds have a constructor of their own
        other.__dict__.update(self.__dict__)
        StratusLabError.__init__(other, message or self.message, hint or self.hint)
        return other

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(StratusLabError):
    """What the user gave (an option, a file, a setting) cannot be used."""

    status = ExitStatus.USAGE


class ConfigurationError(UsageError):
    """A configuration file cannot be read or holds something that has no meaning."""


class AuthenticationError(StratusLabError):
    """The cloud does not know the user, or the password or certificate is wrong."""

    status = ExitStatus.DENIED


class PermissionDenied(StratusLabError):
    """The cloud knows the user, and the user may not do this."""

    status = ExitStatus.DENIED


class NotFound(StratusLabError):
    """There is no such instance, image, network or template."""

    status = ExitStatus.NOT_FOUND


class SeveralFailed(StratusLabError):
    """Of several things some or all failed; ``causes`` are the errors of those."""

    def __init__(self, message: str, status: ExitStatus, causes: Sequence[StratusLabError]) -> None:
        super().__init__(message)
        self.status = status
        self.causes = causes


class InstanceFailed(StratusLabError):
    """The instance itself is in a state in which it cannot do what was asked."""

    status = ExitStatus.INSTANCE_FAILED


class TimedOut(StratusLabError):
    """What was waited for did not happen in time."""

    status = ExitStatus.TIMED_OUT


class Unreachable(StratusLabError):
    """Nothing that speaks the expected protocol answers at the address. ``lasting`` says that asking again will not help."""

    status = ExitStatus.UNREACHABLE

    def __init__(self, message: str, hint: str = "", lasting: bool = False) -> None:
        super().__init__(message, hint)
        self.lasting = lasting


class SSHError(StratusLabError):
    """SSH itself failed (no connection, no key that opens, another host key), and not what was run; ssh's own status."""

    status = ExitStatus.SSH


class Terminated(KeyboardInterrupt):
    """The process is asked to end (SIGTERM, as ``timeout`` sends it): it ends as after Ctrl-C, and tells what was done."""
