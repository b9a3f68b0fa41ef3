"""stratus-connect-instance: log in to instances with SSH, or run a command on them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence

from stratuslab.commands.base import Command, add_cloud_options
from stratuslab.commands.session import Session
from stratuslab.commands.shared.instance_argument import select
from stratuslab.commands.shared.login_arguments import LOGIN_PATIENCE, SSH_OPTION, add_login_options, count, ssh_words
from stratuslab.commands.shared.parallel import report
from stratuslab.commands.shared.parallel_ssh import ParallelSSH, summed_up
from stratuslab.commands.shared.ssh_login import SSHLogin
from stratuslab.commands.shared.waiting import patiently
from stratuslab.commands.standard_output import write_errors
from stratuslab.environment import ask_secret
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Phase
from stratuslab.results import Result, TextLine
from stratuslab.ssh.login_target import Target

_AT_ONCE = 10


def _at_once(text: str) -> int:
    number = count(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("expected 1 to 1000 instances at once")
    return number


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", nargs="*", metavar="ID or NAME", help="instances; put a command to run there after --")
    add_login_options(parser)
    what = parser.add_argument_group("actions")
    what.add_argument(
        "--parallel", type=_at_once, metavar="N", help=f"instances to run the command on at once (default {_AT_ONCE})"
    )
    shown = what.add_mutually_exclusive_group()
    shown.add_argument("--print", dest="show", action="store_true", help="print the ssh command line and exit")
    shown.add_argument(
        "--ssh-config", action="store_true", help="print Host blocks for ~/.ssh/config, for all instances if no ID is given"
    )
    # -p is the port's, as in ssh.
    add_cloud_options(parser, password=("--password",))


def _run(session: Session) -> Iterator[Result]:
    options = session.options
    ssh_options = ssh_words(options.ssh_option or ())
    words = list(dict.fromkeys(options.instances))
    _check_usage(session, words, ssh_options)
    login = SSHLogin(session, ssh_options, alone=len(words) == 1)
    if options.show or options.ssh_config:
        found, errors = _described(session, login, words)
        lines = [shlex.join(login.words(target, options.command)) for _, target in found] if options.show else _blocks(found)
        yield from map(TextLine, lines)
        report(session.messages, errors, len(found), "instances")
        return
    numbers, errors = patiently(session, lambda: select(session.cloud, words), session.settings.wait_timeout(LOGIN_PATIENCE))
    if len(words) > 1:
        runner = ParallelSSH(session, login, options.command, options.parallel or _AT_ONCE)
        session.status = summed_up(session, runner.run(numbers) if numbers else [], errors)
    else:
        if errors:
            raise errors[0]
        session.status = _log_in(session, login, login.target(numbers[0]))


def _check_usage(session: Session, words: Sequence[str], ssh_options: Sequence[str]) -> None:
    options = session.options
    if not words and not options.ssh_config:
        after = f"; put it before {SSH_OPTION}, which takes all words that follow" if ssh_options else ""
        raise UsageError(f"no instance given{after}", f"see {COMMAND.prog} --help")
    if options.ssh_config and (options.command or ssh_options):
        raise UsageError(f"--ssh-config cannot be combined with a command or {SSH_OPTION}", "add them to the Host block yourself")
    if len(words) > 1 and not (options.command or options.ssh_config or options.show):
        raise UsageError(
            "cannot log in to several instances at once; put the command after --",
            f"such as {COMMAND.prog} {words[0]} -- {' '.join(words[1:4])}",
        )


def _described(
    session: Session, login: SSHLogin, words: Sequence[str]
) -> tuple[list[tuple[Instance, Target]], list[StratusLabError]]:
    """The instances that the words name (default: all running ones of the user) with their login targets, and the errors."""
    numbers, errors = select(session.cloud, words)
    if not words:
        numbers = [instance.id for instance in session.cloud.instances() if instance.phase == Phase.UP]
    found = []
    for number in numbers:
        try:
            instance = session.cloud.instance(number)
            found.append((instance, login.described(instance)))
        except StratusLabError as error:
            errors.append(error)
    return found, errors


def _blocks(found: Sequence[tuple[Instance, Target]]) -> Iterator[str]:
    from stratuslab.ssh.host_block import host_block

    names = [instance.name for instance, _ in found]
    for instance, target in found:
        # A name that several instances share is left out.
        yield from host_block(instance.id, instance.name if names.count(instance.name) == 1 else "", target)


def _log_in(session: Session, login: SSHLogin, target: Target) -> int:
    """Log in or run the command; returns the remote exit status, 255 if SSH itself failed."""
    if login.ssh is None:
        return _by_paramiko(session, login, target)
    from stratuslab.ssh import openssh

    # Otherwise ssh reports each host key that it sees for the first time.
    silent = ["-o", "LogLevel=ERROR"] if session.messages.level < 0 else []
    words = login.words(target, session.options.command, silent)
    session.messages.detail(shlex.join(words))
    if session.environment.owns_process:
        openssh.exec_ssh(words)
    return openssh.run(words)


def _by_paramiko(session: Session, login: SSHLogin, target: Target) -> int:
    from stratuslab.ssh import paramiko_session

    context = session.environment
    if context.stdout is None or context.stderr is None:
        raise StratusLabError("cannot show the instance's output: standard output or error is closed")
    return paramiko_session.session(
        target,
        session.options.command,
        context.stdin.buffer if context.stdin else None,
        context.stdout.buffer,
        context.stderr.buffer,
        errors=lambda: write_errors(context),
        terminal=context.environ.get("TERM") or "dumb",
        ask=ask_secret if login.asks else None,
        complain=login.not_recorded,
    )


COMMAND = Command(
    "stratus-connect-instance",
    "Log in to an instance by SSH, or run a command on one or several at once. A thin wrapper around ssh.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] ID or NAME ... [-- COMMAND ...]",
    takes_command=True,
    waits=lambda options: True,
    epilog="""examples:
  stratus-connect-instance 165                log in as root
  stratus-connect-instance 165 -- uname -a    run a command there
  stratus-connect-instance -l jane front      as jane, to the instance "front"
""",
)
