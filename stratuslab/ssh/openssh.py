"""The system's own ``ssh``, with all its comfort (agent, configuration, escape keys): found, given its arguments, run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stratuslab.errors import SSHError
from stratuslab.ssh.target import Target


def find_ssh(environ: Mapping[str, str]) -> str | None:
    """The path of the system's ``ssh``; None where the PATH has none."""
    import shutil

    return shutil.which("ssh", path=environ.get("PATH", os.defpath))


def command_line(ssh: str, target: Target, command: Sequence[str] = (), options: Sequence[str] = ()) -> list[str]:
    """The arguments that log in to the target with ``ssh``; without a command it is an interactive session.

    ``command`` is handed on as it is: ``ssh`` puts blanks between the words and lets the remote shell read the line (see
    :func:`stratuslab.ssh.target.remote_command`). ``options`` are the user's own and come first, since ssh takes the first
    value that it is given.
    """
    return [
        ssh,
        *options,
        *("-p", str(target.port)),
        *("-l", target.user),
        *(word for name, value in host_settings(target) for word in _option(name, value)),
        *_option("ConnectTimeout", str(target.connect_timeout)),
        *(("-J", target.jump) if target.jump else ()),
        *_identity(target),
        "--",
        target.host,
        *command,
    ]


def host_settings(target: Target) -> Iterator[tuple[str, str]]:
    """The settings of ssh_config(5) that keep the host's identity in our own file, each a name and a value."""
    yield "HostKeyAlias", target.alias
    yield "UserKnownHostsFile", quoted(target.known_hosts)
    yield "CheckHostIP", "no"
    # Of a host whose key is known accept-new would still take a key of another type.
    yield "StrictHostKeyChecking", "yes" if target.known else "accept-new"
    # Names in our file must be found again when they are to be forgotten.
    yield "HashKnownHosts", "no"


def _option(name: str, value: str) -> tuple[str, str]:
    return "-o", f"{name}={value}"


def _identity(target: Target) -> Iterator[str]:
    if target.key is None:
        return
    path = str(target.key.absolute())
    if "%" in path or "${" in path:
        # Of -i ssh looks for the file first and replaces tokens in the name later: no way of writing % survives both.
        yield from _option("IdentityFile", quoted(target.key))
    else:
        yield from ("-i", path)
    if target.only_key:
        yield from _option("IdentitiesOnly", "yes")


def quoted(path: Path) -> str:
    """A path as the value of an option: blanks, quotes and ``%`` in it stand for themselves (ssh_config(5), TOKENS)."""
    text = str(path.absolute()).replace("%", "%%")
    if any(character in text for character in " \t#\"'\\"):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def run(argv: Sequence[str]) -> int:
    r"""Run ssh to its end; its status, or as a shell says it 128 + N when signal N ended it.

    Ctrl-C and Ctrl-\\ are ssh's meanwhile, as they are for a command that a shell runs. Raises SSHError where it cannot
    be started.
    """
    import subprocess

    with _left_to_the_child():
        try:
            status = subprocess.call(argv)
        except OSError as error:
            raise _cannot_start(argv[0], error) from error
    return status if status >= 0 else 128 - status


@contextmanager
def _left_to_the_child() -> Iterator[None]:
    """Do nothing at SIGINT and SIGQUIT. A handler and not SIG_IGN, which the child would inherit."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread is ever interrupted.
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exec_ssh(argv: Sequence[str]) -> NoReturn:
    """Become ssh, so that nothing stands between it and the terminal. Raises SSHError where it cannot be started."""
    import signal
    import sys

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # Python ignores SIGPIPE, and what is ignored stays so across exec, down to what ssh starts itself.
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        signal.signal(signal.SIGPIPE, before)
        raise _cannot_start(argv[0], error) from error


def _cannot_start(ssh: str, error: OSError) -> SSHError:
    return SSHError(f"{ssh} cannot be started: {error.strerror or error}", "install OpenSSH's client")
