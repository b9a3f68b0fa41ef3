"""The system's ``ssh``: finding it, its command line, running it. Agent, configuration and escape keys work as usual."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from stratuslab.environment import signals_handled
from stratuslab.errors import SSHError
from stratuslab.ssh.login_target import Target


def find_ssh(environ: Mapping[str, str]) -> str | None:
    """The path of the system's ``ssh``; None if it is not on PATH."""
    import shutil

    return shutil.which("ssh", path=environ.get("PATH", os.defpath))


def configuration(ssh: str, host: str, options: Sequence[str]) -> dict[str, str]:
    """What ssh's configuration and the options set for a host: names in lower case, as ``ssh -G`` prints them. May be empty."""
    return dict(line.partition(" ")[::2] for line in printed_by([ssh, *options, "-G", "--", host], 10))


def printed_by(argv: Sequence[str], timeout: float) -> list[str]:
    """The lines that one of OpenSSH's programs prints; none if it cannot be started, or does not end within so many seconds."""
    import subprocess

    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def overrides(configured: Mapping[str, str], command: bool, options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The settings that keep a user's configuration from breaking a login, and a command from being changed by it.

    Only what is ``configured`` otherwise: old versions of ssh refuse settings that they do not know. The user's ``options`` come
    before these and still win.
    """
    # A shared connection leads to whatever had the address before, without any look at the host key.
    if configured.get("controlpath", "none") != "none":
        yield "ControlPath", "none"
    if configured.get("pubkeyauthentication") in ("no", "false"):
        yield "PubkeyAuthentication", "yes"
    preferred = configured.get("preferredauthentications", "publickey")
    if "publickey" not in preferred.split(","):
        yield "PreferredAuthentications", f"publickey,{preferred}"
    if not command:
        return
    for name, harmless in _FOR_COMMANDS.items():
        if configured.get(name.lower(), harmless[0]) not in harmless:
            yield name, harmless[0]
    # The ports may be taken, by another login. Those of the user's own options would be cleared, too.
    if any(configured.get(name, "false") != "false" for name in _FORWARDINGS) and not any(
        _forwards(option) for option in options
    ):
        yield "ClearAllForwardings", "yes"


_FOR_COMMANDS = {
    "RemoteCommand": ("none",),
    "RequestTTY": ("no", "false", "auto"),
    "SessionType": ("default",),
    "ForkAfterAuthentication": ("no",),
    "StdinNull": ("no",),
    "PermitLocalCommand": ("no",),
}
"""What would change a command, its streams or its status; the values that do not, as ``ssh -G`` prints them."""

_FORWARDINGS = ("localforward", "remoteforward", "dynamicforward", "tunnel")


def _forwards(option: str) -> bool:
    return option.startswith(("-L", "-R", "-D", "-w")) or option.lower().removeprefix("-o").strip().startswith(_FORWARDINGS)


def command_line(
    ssh: str,
    target: Target,
    command: Sequence[str] = (),
    options: Sequence[str] = (),
    settings: Iterable[tuple[str, str]] = (),
) -> list[str]:
    """The command line that logs in to the target with ``ssh``; without a command, for an interactive session.

    ``command`` is passed on unchanged: ``ssh`` joins the words with blanks, so the remote shell expands ``echo '$USER'``.
    ``options`` are the user's own and come first, since ssh uses the first value of an option; ``settings`` come after them.
    """
    return [
        ssh,
        *options,
        *("-p", str(target.port)),
        *("-l", target.user),
        *(word for name, value in host_settings(target) for word in _option(name, value)),
        *_option("ConnectTimeout", str(target.connect_timeout)),
        *(word for name, value in (*_given_up(target), *settings) for word in _option(name, value)),
        *(("-J", target.jump) if target.jump else ()),
        *_identity(target),
        "--",
        target.host,
        *command,
    ]


def host_settings(target: Target) -> Iterator[tuple[str, str]]:
    """The settings of ssh_config(5) that keep the host's key in our own file, as pairs of name and value."""
    yield "HostKeyAlias", target.alias
    yield "UserKnownHostsFile", quoted(target.known_hosts)
    yield "CheckHostIP", "no"
    # accept-new would accept a key of another type from a host whose key is known.
    yield "StrictHostKeyChecking", "yes" if target.known else "accept-new"
    # Names in our file must be readable when keys are removed.
    yield "HashKnownHosts", "no"


def _given_up(target: Target) -> Iterator[tuple[str, str]]:
    """ConnectTimeout ends with the server's banner; after it only these settings bound how long ssh waits for an answer."""
    if target.silence:
        count = min(3, target.silence)
        yield "ServerAliveInterval", str(target.silence // count)
        yield "ServerAliveCountMax", str(count)


def _option(name: str, value: str) -> tuple[str, str]:
    return "-o", f"{name}={value}"


def _identity(target: Target) -> Iterator[str]:
    if target.key is None:
        return
    path = str(target.key.absolute())
    if "%" in path or "${" in path:
        # With -i, ssh looks for the file first and expands tokens in the name later: no way to write % survives both.
        yield from _option("IdentityFile", quoted(target.key))
    else:
        yield from ("-i", path)
    if target.only_key:
        yield from _option("IdentitiesOnly", "yes")


def quoted(path: Path) -> str:
    """A path as the value of an option, with blanks, quotes and ``%`` escaped (ssh_config(5), TOKENS)."""
    text = str(path.absolute()).replace("%", "%%")
    if any(character in text for character in " \t#\"'\\"):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def run(argv: Sequence[str]) -> int:
    r"""Run ssh to its end; its exit status, or 128 + N if signal N ended it, as in a shell.

    Ctrl-C and Ctrl-\ go to ssh meanwhile. Raises SSHError if it cannot be started.
    """
    import signal
    import subprocess

    # Ignored by a handler: the child would inherit SIG_IGN.
    with signals_handled(lambda *_: None, signal.SIGINT, signal.SIGQUIT):
        try:
            status = subprocess.call(argv)
        except OSError as error:
            raise _cannot_start(argv[0], error) from error
    return status if status >= 0 else 128 - status


def exec_ssh(argv: Sequence[str]) -> NoReturn:
    """Replace this process by ssh. Raises SSHError if it cannot be started."""
    import signal
    import sys

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    # Python ignores SIGPIPE, and an ignored signal stays ignored across exec, also in what ssh starts.
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))
    except OSError as error:
        signal.signal(signal.SIGPIPE, before)
        raise _cannot_start(argv[0], error) from error


def _cannot_start(ssh: str, error: OSError) -> SSHError:
    return SSHError(f"cannot start {ssh}: {error.strerror or error}", "install OpenSSH's client")
