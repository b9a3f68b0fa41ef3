"""stratus-connect-instance: log in to instances with SSH, or run a command on them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.commands.shared.instance_argument import numbers, select
from stratuslab.commands.shared.instance_rows import by_id, listed, rows_of
from stratuslab.commands.shared.login_arguments import LOGIN_PATIENCE, SSH_OPTION, add_login_options, count
from stratuslab.commands.shared.output_arguments import condition
from stratuslab.commands.shared.parallel import report
from stratuslab.commands.shared.parallel_ssh import ParallelSSH, summed_up
from stratuslab.commands.shared.ssh_login import SSHLogin
from stratuslab.commands.shared.waiting import patiently
from stratuslab.commands.standard_output import write_errors
from stratuslab.environment import ask_secret
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.states import Phase
from stratuslab.output.output_options import OutputOptions
from stratuslab.output.result_columns import INSTANCES
from stratuslab.results import Result, TextLine
from stratuslab.ssh.login_target import Target

_AT_ONCE = 10


def _at_once(text: str) -> int:
    number = count(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("expected 1 to 1000 machines at once")
    return number


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", nargs="*", metavar="ID or NAME", help="machines; put a command to run there after --")
    add_login_options(parser)
    what = parser.add_argument_group("actions")
    add = what.add_argument
    add("--all", action="store_true", help="run the command on all of your running machines")
    add("--filter", action="append", metavar="TEST", help="with --all: those with COL=VALUE")
    add("--parallel", type=_at_once, metavar="N", help=f"machines to run the command on at once (default {_AT_ONCE})")
    add = what.add_mutually_exclusive_group().add_argument
    add("--print", dest="show", action="store_true", help="print the ssh command line and exit")
    add("--ssh-config", action="store_true", help="print Host blocks for ~/.ssh/config, for all machines if no ID is given")
    add("--write-ssh-config", action="store_true", help="keep these blocks in ~/.stratuslab/ssh_config")
    what.add_argument("--include", action="store_true", help="with --write-ssh-config: include that file in ~/.ssh/config")


def _run(session: Session) -> Iterator[Result]:
    options = session.options
    words = list(dict.fromkeys(options.instances))
    _check_usage(options, words)
    login = SSHLogin(session, alone=len(words) == 1)
    if options.write_ssh_config:
        _write_ssh_config(session, login)
        return
    if options.show or options.ssh_config:
        found, errors = _described(session, login, words)
        lines = [shlex.join(login.words(target, options.command)) for _, target in found] if options.show else _blocks(found)
        yield from map(TextLine, lines)
        report(session.messages, errors, len(found), "machines")
        return
    wait_timeout = session.settings.wait_timeout(LOGIN_PATIENCE)
    named, errors = patiently(session, lambda: _all(session) if options.all else numbers(session.cloud, words), wait_timeout)
    if len(words) == 1:
        if errors:
            raise errors[0]
        session.status = _log_in(session, login, login.target(named[words[0]]))
        return
    runner = ParallelSSH(session, login, options.command, options.parallel or _AT_ONCE)
    prefixes = {number: word for word, number in reversed(named.items())}  # of two words for one instance the first
    session.status = summed_up(session, runner.run(prefixes) if prefixes else [], errors)


def _all(session: Session) -> tuple[dict[str, int], list[StratusLabError]]:
    """The user's running instances that match --filter, by their names, or by their ids where several share a name."""
    session.output = OutputOptions(INSTANCES, filters=[condition(INSTANCES, text) for text in session.options.filter])
    running = (one for one in listed(session, session.cloud, shown=False) if one.phase == Phase.UP)
    rows = sorted(session.output.selected(list(rows_of(session, running))), key=by_id)
    names = [row.name for row in rows]
    return {row.name if names.count(row.name) == 1 else str(row.id): row.id for row in rows}, []


def _check_usage(options: argparse.Namespace, words: Sequence[str]) -> None:
    if options.all and (words or not options.command):
        raise UsageError("--all is for a command on all machines: it takes no ids or names, and a command after --")
    if options.filter and not options.all:
        raise UsageError("--filter needs --all")
    if options.include and not options.write_ssh_config:
        raise UsageError("--include needs --write-ssh-config")
    if options.write_ssh_config and (words or options.command or options.ssh_option):
        raise UsageError(f"--write-ssh-config is about all machines: it takes no ids, names, command or {SSH_OPTION}")
    if not (words or options.ssh_config or options.write_ssh_config or options.all):
        after = f"; put it before {SSH_OPTION}, which takes all words that follow" if options.ssh_option else ""
        raise UsageError(f"no machine given{after}", f"see {COMMAND.prog} --help")
    if options.ssh_config and (options.command or options.ssh_option):
        raise UsageError(f"--ssh-config cannot be combined with a command or {SSH_OPTION}", "add them to the Host block yourself")
    if len(words) > 1 and not (options.command or options.ssh_config or options.show):
        raise UsageError(
            "cannot log in to several machines at once; put the command after --",
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


def _write_ssh_config(session: Session, login: SSHLogin) -> None:
    """Bring the blocks of this cloud up to date: those of instances that are gone are removed."""
    from stratuslab.ssh.ssh_config_writer import SSHConfigFile

    home = session.environment.home
    assert home is not None, "SSHLogin needs one"
    file, users = SSHConfigFile(home / ".stratuslab" / "ssh_config"), home / ".ssh" / "config"
    found, errors = _described(session, login, ())
    file.replace_section(session.cloud.address, _blocks(found))
    if session.options.include:
        file.include(users)
    elif not file.is_included(users):
        session.messages.note(f"{file.path} is not included in {users} (--include)")
    session.messages.note(f"updated {file.path} (machines: {len(found)})")
    report(session.messages, errors, len(found), "machines")


def _blocks(found: Sequence[tuple[Instance, Target]]) -> Iterator[str]:
    from stratuslab.ssh.ssh_config_writer import host_block

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
        raise StratusLabError("cannot show the machine's output: standard output or error is closed")
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
    "Log in to a machine by SSH, or run a command on one or several at once. A thin wrapper around ssh.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] ID or NAME ... [-- COMMAND ...]",
    takes_command=True,
    waits=lambda options: True,
    related=("stratus-copy-files", "stratus-describe-instance"),
    epilog="""examples:
  stratus-connect-instance 165                log in as root
  stratus-connect-instance 165 -- uname -a    run a command there
  stratus-connect-instance -l jane front      as jane, to the machine "front"
""",
)
