"""What a command is given of the world around it: streams, environment, clock, name service.

Commands never reach for ``sys``, ``os.environ`` or ``time`` themselves, so that a test runs them in-process with streams and
an environment of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


def reverse_lookup(address: str) -> str:
    """The host name that the name service has for an IP address; raises OSError where it has none."""
    import socket

    return socket.gethostbyaddr(address)[0]


@dataclass
class Environment:
    """The world of one run of a command.

    ``clock`` gives seconds since the epoch, ``reverse_lookup`` turns an IP address into a name or raises OSError. A stream
    is None where the process was started without it. ``owns_process`` says that the command is all that the process is for,
    so that it may become another program.
    """

    stdin: TextIO | None
    stdout: TextIO | None
    stderr: TextIO | None
    environ: Mapping[str, str]
    clock: Callable[[], float] = field(default=time.time)
    reverse_lookup: Callable[[str], str] = field(default=reverse_lookup)
    owns_process: bool = False

    @classmethod
    def of_process(cls) -> Environment:
        """The context of this process."""
        return cls(sys.stdin, sys.stdout, sys.stderr, os.environ, owns_process=True)

    @property
    def home(self) -> Path | None:
        """The home directory; None where the environment names none and the system knows none (cron, containers)."""
        named = self.environ.get("HOME")
        if named:
            return Path(named)
        try:
            import pwd

            return Path(pwd.getpwuid(os.getuid()).pw_dir)
        except (ImportError, KeyError):
            return None

    def expand(self, path: str) -> Path:
        """The path with a leading ``~/`` replaced by the home directory."""
        if path.startswith("~/") and self.home is not None:
            return self.home / path[2:]
        return Path(path)

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: input and talk are both a terminal."""
        return is_terminal(self.stdin) and is_terminal(self.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads or writes this stream; a stream that is closed or missing is none."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False
