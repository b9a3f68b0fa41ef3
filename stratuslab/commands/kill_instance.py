"""stratus-kill-instance: stop instances at once and release all that they have."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from stratuslab.answers import Answer
from stratuslab.commands.base import Command, Session, add_cloud_options
from stratuslab.commands.selection import select
from stratuslab.commands.side_by_side import in_order, report
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.ssh.known_hosts import KnownHosts, host_key_alias


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", nargs="*", metavar="ID or NAME", help="instances to kill")
    group = parser.add_argument_group("instances")
    group.add_argument("-i", "--input", metavar="FILE", help='file with an id or name on each line; "-" is standard input')
    add_cloud_options(parser)


def _run(session: Session) -> Iterator[Answer]:
    words = [*session.options.instances, *_listed(session)]
    if not words:
        raise UsageError("which instances? Please give their ids, or a file of ids with --input", f"see {COMMAND.prog} --help")
    numbers, errors = select(session.cloud, words)
    killed = []
    for outcome in in_order(session.cloud.kill, numbers):
        if outcome.error is None:
            killed.append(outcome.item)
            session.talk.step(f"Killed instance {outcome.item}")
        else:
            errors.append(outcome.error)
    _forget_host_keys(session, killed)
    report(session.talk, errors, len(killed), "instances")
    yield from ()


def _forget_host_keys(session: Session, numbers: list[int]) -> None:
    """Killed instances never come back, so their SSH host keys need not be remembered."""
    if session.context.home is None:
        return
    known_hosts = KnownHosts(session.context.home / ".stratuslab" / "known_hosts")
    try:
        known_hosts.forget(*(host_key_alias(session.cloud.address, number) for number in numbers))
    except StratusLabError as error:
        session.talk.step(str(error))


def _listed(session: Session) -> list[str]:
    """The ids and names in the file of ``--input``; ``#`` begins a comment, blank lines are passed over."""
    name = session.options.input
    if not name:
        return []
    try:
        if name == "-":
            lines = session.context.stdin.readlines() if session.context.stdin else []
        else:
            lines = session.context.expand(name).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f'the file "{name}" (--input) cannot be read: {reason}') from None
    words = []
    for line in lines:
        text = line.partition("#")[0].strip()
        ids = text.split()
        # A name may hold blanks; several ids on a line are several ids.
        words += ids if all(word.isdigit() for word in ids) else [text]
    return words


COMMAND = Command(
    "stratus-kill-instance",
    "Stop instances at once, like pulling the power cord, and release all that they have.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] ID or NAME ...",
)
