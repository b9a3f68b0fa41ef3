"""stratus-connect-instance: log in to an instance by SSH, or run a command on it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from stratuslab.answers import Answer
from stratuslab.commands.base import Command, Session, add_cloud_options
from stratuslab.commands.selection import select
from stratuslab.errors import InstanceFailed, StratusLabError, TimedOut, UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Phase
from stratuslab.ssh import keys
from stratuslab.ssh.banner import wait_for_ssh
from stratuslab.ssh.known_hosts import KnownHosts, host_key_alias
from stratuslab.ssh.target import Target
from stratuslab.ssh.where import listening_points

PATIENCE = 120.0
"""Seconds that an instance is waited for which is still being prepared, where --timeout says nothing else."""

_POLL = 1.0


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="ID or NAME", help="the instance; what follows -- is a command to run on it")
    group = parser.add_argument_group("login")
    group.add_argument(
        "-k", "--key", metavar="FILE", help="private SSH key (default: the one whose public half it was started with)"
    )
    group.add_argument("-l", "--login", metavar="USER", default="root", help="user on the instance (default root)")
    add_cloud_options(parser)


def _run(session: Session) -> Iterator[Answer]:
    given = _given_key(session)
    numbers, errors = select(session.cloud, [session.options.instance])
    if errors:
        raise errors[0]
    found = session.settings.find("timeout")
    patience = session.settings.timeout if found and found.origin != "default" else PATIENCE
    deadline = time.monotonic() + patience
    instance = _up(session, numbers[0], deadline)
    points = listening_points(instance.nics, instance.hostname)
    if not points:
        raise InstanceFailed(f"instance {instance.id} has no address to connect to")
    host, port = wait_for_ssh(points, deadline)
    session.talk.step(f"Instance {instance.id} answers at {host} port {port}")
    target = _target(session, instance, host, port, given)
    session.status = _log_in(session, target)
    yield from ()


def _up(session: Session, number: int, deadline: float) -> Instance:
    """The instance once it runs; one that is being prepared is waited for, one that is away is refused with the reason."""
    told = False
    while True:
        instance = session.cloud.instance(number)
        if instance.phase == Phase.UP:
            return instance
        if instance.phase == Phase.AWAY:
            why = f": {instance.message}" if instance.message else ""
            raise InstanceFailed(f"instance {number} cannot be connected to, it is {instance.state_label}{why}")
        if time.monotonic() > deadline:
            raise TimedOut(f"instance {number} is still {instance.state_label}", "see --timeout")
        if not told:
            session.talk.note(f"instance {number} is {instance.state_label}, waiting for it")
            told = True
        time.sleep(_POLL)


def _given_key(session: Session) -> Path | None:
    """The private key of --key; that of a public key that is named instead. Raises UsageError where there is none."""
    given = session.options.key
    if not given:
        return None
    key = keys.private_half(session.context.expand(given))
    if not key.is_file():
        raise UsageError(f'there is no private key "{key}" (--key)')
    return key


def _target(session: Session, instance: Instance, host: str, port: int, given: Path | None) -> Target:
    home = session.context.home
    if home is None:
        raise UsageError("there is no home directory to keep the keys of hosts in", "set HOME")
    key = given or _key(session, instance, home)
    session.talk.step(f"Private key: {key or 'as ssh chooses'}")
    known_hosts = KnownHosts(home / ".stratuslab" / "known_hosts")
    known_hosts.prepare()
    return Target(
        host,
        port,
        alias=host_key_alias(session.cloud.address, instance.id),
        known_hosts=known_hosts.path,
        user=session.options.login,
        key=key,
        only_key=given is not None,
    )


def _key(session: Session, instance: Instance, home: Path) -> Path | None:
    """The private half of the public key that the instance was started with, as far as it is found; None leaves it to ssh."""
    named = session.settings.find("user_public_key_file")
    if named:
        key = keys.private_half(session.context.expand(named.value))
        return key if key.is_file() else None
    own = home / ".stratuslab"
    usual = [home / ".ssh" / name for name in keys.USUAL_NAMES]
    for public in (*usual, own / "id_ed25519.pub"):
        key = keys.private_half(public)
        if public.is_file() and key.is_file() and _was_given(public, instance):
            return key
    return None


def _was_given(public: Path, instance: Instance) -> bool:
    try:
        lines = keys.read_public_keys(public).splitlines()
    except UsageError:
        return False  # a file that is no key was never given to anybody
    return any(word in instance.public_keys for line in lines for word in line.split() if word.startswith("AAAA"))


def _log_in(session: Session, target: Target) -> int:
    """Log in, or run the command; the remote status, 255 for a failure of SSH itself."""
    from stratuslab.ssh import openssh

    ssh = openssh.find_ssh(session.context.environ)
    if ssh is None:
        return _log_in_without_ssh(session, target)
    # Without this ssh tells of each host key that it sees for the first time.
    silent = ["-o", "LogLevel=ERROR"] if session.talk.level < 0 else []
    words = openssh.command_line(ssh, target, session.options.command, silent)
    session.talk.detail(" ".join(words))
    if session.context.owns_process:
        openssh.exec_ssh(words)
    return openssh.run(words)


def _log_in_without_ssh(session: Session, target: Target) -> int:
    from stratuslab.ssh import paramiko_session

    session.talk.step("There is no ssh on this computer: using paramiko")
    context = session.context
    stdin = context.stdin.buffer if context.stdin else None
    if context.stdout is None or context.stderr is None:
        raise StratusLabError("there is nowhere to write what the instance says: standard output or error is closed")
    from getpass import getpass

    return paramiko_session.session(
        target,
        session.options.command,
        stdin,
        context.stdout.buffer,
        context.stderr.buffer,
        terminal=context.environ.get("TERM") or "dumb",
        ask=getpass if context.interactive else None,
    )


COMMAND = Command(
    "stratus-connect-instance",
    "Log in to an instance by SSH, or run a command on it. A thin wrapper around ssh.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] ID or NAME [-- COMMAND ...]",
    takes_command=True,
    epilog="""examples:
  stratus-connect-instance 165                log in as root
  stratus-connect-instance 165 -- uname -a    run a command there
  stratus-connect-instance -l jane front      as jane, to the instance "front"
""",
)
