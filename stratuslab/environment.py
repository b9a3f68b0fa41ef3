"""What a command needs from the outside: streams, environment variables, clock, name service.

Commands never use ``sys``, ``os.environ`` or ``time`` themselves, so that tests can run them in-process with streams and an
environment of their own.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from pathlib import Path


def reverse_lookup(address: str) -> str:
    """The host name of an IP address. Raises OSError if the name service has none."""
    import socket

    return socket.gethostbyaddr(address)[0]


def ask_secret(prompt: str, stream: TextIO | None = None) -> str:
    r"""What the user types at the terminal, without echo. Raises EOFError if the user ends the input.

    Ctrl-\ ends the process as it always does, but only after the terminal shows again what is typed.
    """
    import signal
    from getpass import getpass

    with signals_handled(end_process, signal.SIGQUIT):
        return getpass(prompt, stream)


def end_process(number: int, frame: object) -> None:
    """A handler of signals that ends the process as the signal would, but not before what is to be done at the end."""
    raise SystemExit(128 + number)


@contextmanager
def signals_handled(handler: Callable[[int, object], object], *numbers: int) -> Iterator[None]:
    """Let a function handle these signals in the block. Does nothing outside of the main thread, which gets all signals."""
    import signal
    import threading

    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in numbers if in_main}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


class Environment(NamedTuple):
    """The environment of one run of a command.

    ``clock`` gives seconds since the epoch, ``reverse_lookup`` turns an IP address into a name or raises OSError. A stream
    is None if the process was started without it. ``owns_process`` says that the process only runs this command, so it may
    be replaced by another program.
    """

    stdin: TextIO | None
    stdout: TextIO | None
    stderr: TextIO | None
    environ: Mapping[str, str]
    clock: Callable[[], float] = time.time
    reverse_lookup: Callable[[str], str] = reverse_lookup
    owns_process: bool = False

    @classmethod
    def of_process(cls) -> "Environment":
        """The environment of this process."""
        return cls(sys.stdin, sys.stdout, sys.stderr, dict(os.environ), owns_process=True)

    def hide_passwords(self) -> None:
        """Keep variables with passwords, also those in URLs, of clouds and proxies from the programs that this process starts
        from now on."""
        for name, value in self.environ.items() if self.owns_process else ():
            of_client = name.startswith("STRATUSLAB_") or name == "ONE_XMLRPC"
            in_url = ("@" in value or "?" in value) and (of_client or name.lower().endswith("_proxy"))
            if in_url or (of_client and name.endswith("PASSWORD")):
                os.environ.pop(name, None)

    @property
    def home(self) -> "Path | None":
        """The home directory; None if neither the environment nor the system has one (cron, containers)."""
        from pathlib import Path

        home = home_directory(self.environ)
        return Path(home) if home else None

    def expanded(self, path: str) -> str:
        """The path with a leading ``~/`` replaced by the home directory."""
        home = home_directory(self.environ) if path.startswith("~/") else ""
        return f"{home}/{path[2:]}" if home else path

    def expand(self, path: str) -> "Path":
        """The same as a Path, whose module takes long to load."""
        from pathlib import Path

        return Path(self.expanded(path))

    @property
    def interactive(self) -> bool:
        """Whether the user can be asked: both stdin and stderr are terminals."""
        return is_terminal(self.stdin) and is_terminal(self.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal; False for a closed or missing stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def home_directory(environ: Mapping[str, str]) -> str:
    """The user's home directory, empty if neither the environment nor the system has one."""
    try:
        import pwd

        return environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return environ.get("HOME", "")
