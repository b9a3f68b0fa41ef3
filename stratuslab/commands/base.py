"""What all commands share: common options, the session with the cloud, and ``main``, which turns errors into exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from stratuslab.commands.standard_output import discard, flush, write
from stratuslab.environment import Environment
from stratuslab.errors import ExitStatus, SeveralFailed, StratusLabError, TerminalGone, Terminated, UsageError
from stratuslab.output.messages import Messages
from stratuslab.output.terminal import Terminal
from stratuslab.suggestion import did_you_mean, join_hints
from stratuslab.version import __version__

if TYPE_CHECKING:
    from types import FrameType

    from stratuslab.commands.session import Session
    from stratuslab.output.columns import RowKind
    from stratuslab.results import Problem, Result


WAIT_TIMEOUT = 600.0
"""Seconds to wait for instances with --wait-for, unless set."""


class _HelpFormatter(argparse.HelpFormatter):
    """Help within 80 columns; text with line breaks (the examples) keeps them."""

    def __init__(self, prog: str, **details: Any) -> None:
        width = min(Terminal.of(sys.stdout, os.environ).width, 80) - 2
        super().__init__(prog, **{"max_help_position": 26, "width": width, **details})

    def _format_usage(self, usage: str | None, actions: Iterable[argparse.Action], groups: Any, prefix: str | None) -> str:
        """Of the options only that there are some: all follow below."""
        if usage is None and any(action.option_strings for action in actions):
            arguments = super()._format_usage(None, [action for action in actions if not action.option_strings], [], "")
            usage = f"{self._prog} [options]{arguments.strip().removeprefix(self._prog)}"
        return super()._format_usage(usage, actions, groups, prefix)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class _GivenOnce(argparse._StoreAction):
    """An option with a value, given once: of two values one would be ignored."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        given = namespace.__dict__.setdefault("given_once", set())
        if option_string and self.dest in given:
            raise argparse.ArgumentError(self, "given more than once")
        given.add(self.dest)
        super().__call__(parser, namespace, values, option_string)


class _Repeatable(argparse._AppendAction):
    """An option that may be repeated, with the list of its values (action="append"); its help says so."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, help: str, **details: Any) -> None:
        end = "" if "may be repeated" in help else "; may be repeated"
        super().__init__(option_strings, dest, default=[], help=f"{help}{end}", **details)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, and prints to the environment's stream without colour.

    Options are not abbreviated, as an abbreviation may mean another one in the next version, and given twice only with "append".
    """

    output: TextIO | None = None
    color = False  # Python 3.14 uses colour by default

    def __init__(self, **details: Any) -> None:
        # Only the examples keep their line breaks.
        details["description"] = " ".join((details.get("description") or "").split())
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **details)
        for name, action in ((None, _GivenOnce), ("store", _GivenOnce), ("append", _Repeatable)):
            self.register("action", name, action)
        self.color = False

    def error(self, message: str) -> object:  # type: ignore[override]
        raise UsageError(message, join_hints(self._suggestion(message), f"see {self.prog} --help"))

    def _suggestion(self, message: str) -> str:
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            names = list(self._option_names())
            return did_you_mean(unknown[1], [name for name in names if name.startswith(unknown[1])] or names)
        choice = re.match(r"argument [^:]*: invalid choice: '(.*?)' \(choose from ([^)]*)", message)
        return did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2])) if choice else ""

    def _option_names(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                yield from (name for parser in action.choices.values() for name in parser._option_names())

    def _print_message(self, message: str, file: object = None) -> None:
        if self.output is not None:
            self.output.write(message)


class Command:
    """A command: its name, its options, and the function that runs it and yields results as they are known.

    ``related`` are the commands that its help names, ``rows`` says what its rows are about, ``waits`` whether it waits for
    instances. With ``filters_choose`` --filter selects the instances to act on, not the rows to show. With ``takes_command`` the
    words after "--" are a command for the instance, in ``options.command``.
    """

    def __init__(
        self,
        prog: str,
        summary: str,
        add_arguments: Callable[[argparse.ArgumentParser], None],
        run: Callable[[Session], Iterator[Result]],
        *,
        usage: str | None = None,
        related: Sequence[str],
        epilog: str = "",
        rows: Callable[[argparse.Namespace], RowKind | None] | None = None,
        filters_choose: bool = False,
        takes_command: bool = False,
        waits: Callable[[argparse.Namespace], bool] = lambda options: False,
    ) -> None:
        self.prog = prog
        self.summary = summary
        self.add_arguments = add_arguments
        self.run = run
        self.usage = usage
        self.epilog = epilog
        self.related = related
        self.rows = rows
        self.filters_choose = filters_choose
        self.takes_command = takes_command
        self.waits = waits

    def parser(self) -> Parser:
        """The command's parser, including the options that all commands have."""
        parser = Parser(
            prog=self.prog,
            usage=self.usage,
            description=self.summary,
            epilog=f"{self.epilog}\nsee also:\n  {', '.join(self.related)}\n  man {self.prog}\n".lstrip(),
        )
        self.add_arguments(parser)
        _add_common(parser, self.prog)
        return parser


def add_cloud_options(parser: argparse.ArgumentParser, password: Sequence[str] = ("-p", "--password")) -> None:
    """Add the options of every command that talks to a cloud; ``password`` are the names of the password option."""
    group = parser.add_argument_group("cloud")
    group.add_argument("--endpoint", metavar="URL", help='cloud: a host, a URL, or "local" for the embedded cloud')
    group.add_argument("-u", "--username", metavar="NAME", help="user name on the cloud")
    one = group.add_mutually_exclusive_group()
    one.add_argument(*password, metavar="TEXT", help="password; other users of this computer can see it, so prefer a file")
    one.add_argument("--password-file", metavar="FILE", help='file whose first line is the password; "-" for standard input')
    group.add_argument("--pem-cert", dest="pem_certificate", metavar="FILE", help="client certificate, used without a user name")
    group.add_argument("--pem-key", metavar="FILE", help="private key of the client certificate")
    group.add_argument("--ca-bundle", metavar="FILE", help="certificates to trust instead of the system's")
    group.add_argument("--timeout", metavar="S", help="seconds to wait for data from a server (default 30)")
    group.add_argument("-c", "--config", metavar="FILE", help="configuration (default ~/.stratuslab/stratuslab-user.cfg)")
    group.add_argument(
        "-S", "--user-config-section", metavar="NAME", help="section of the configuration that describes the cloud"
    )


def add_wait_timeout(group: argparse._ArgumentGroup, usual: float = WAIT_TIMEOUT) -> None:
    """The option of every command that waits for instances."""
    group.add_argument("--wait-timeout", metavar="S", help=f"seconds to wait (default {usual:g})")


def _add_common(parser: argparse.ArgumentParser, prog: str) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("-v", "--verbose", action="count", default=0, help="print more on stderr; -vv and -vvv even more")
    group.add_argument("-q", "--quiet", action="count", default=0, help="print less")
    group.add_argument("--version", action="version", version=f"{prog} {__version__}")


def main(command: Command, argv: Sequence[str] | None = None, environment: Environment | None = None) -> int:
    """Run a command and return its exit status. The default ``argv`` and ``environment`` are those of this process."""
    environment = environment or _process_environment()
    messages = Messages(environment.stderr, command.prog)
    try:
        return _run(command, argv, environment, messages)
    except StratusLabError as error:
        messages.error(str(error))
        return error.status
    except BrokenPipeError:
        discard(environment)
        return ExitStatus.BROKEN_PIPE
    except (KeyboardInterrupt, Exception) as error:
        (problem,) = _problems(error)
        messages.error(problem.message)
        if isinstance(error, KeyboardInterrupt):
            return problem.status
        if messages.level >= 3:
            import traceback

            traceback.print_exception(error, file=environment.stderr)
        return ExitStatus.FAILED


def _problems(error: BaseException) -> list[Problem]:
    """An error as results show it; one that sums up several, as each of them."""
    from stratuslab.results import Problem

    match error:
        case SeveralFailed(causes=causes):
            return [problem for cause in causes for problem in _problems(cause)]
        case StratusLabError():
            return [Problem(error.status, error.message, error.hint)]
        case Terminated(status=status, message=message):
            return [Problem(status, message)]
        case KeyboardInterrupt():
            return [Problem(ExitStatus.INTERRUPTED, "interrupted")]
        case ModuleNotFoundError(name=str(name)) if not name.startswith("stratuslab"):
            return [Problem(ExitStatus.FAILED, f"the Python package {name} is not installed (pip install {name})")]
        case OSError():
            reason = error.strerror or str(error) or type(error).__name__
            return [Problem(ExitStatus.FAILED, f'cannot use "{error.filename}": {reason}' if error.filename else reason)]
        case MemoryError():
            return [Problem(ExitStatus.FAILED, "not enough memory")]
        case _:
            return [Problem(ExitStatus.FAILED, f"internal error: {type(error).__name__}: {error} (please report it)")]


def _end_on_signals(environment: Environment) -> None:
    """Let SIGTERM, and a terminal that goes away, end this process as Ctrl-C does, if it only runs this command."""
    if environment.owns_process:
        import signal

        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not below nohup
            signal.signal(signal.SIGHUP, _hang_up)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _hang_up(_signal: int, _frame: FrameType | None) -> None:
    raise TerminalGone


def _process_environment() -> Environment:
    environment = Environment.of_process()
    for stream in (environment.stdout, environment.stderr):
        with contextlib.suppress(AttributeError):
            # Characters that the terminal's character set lacks are escaped, instead of raising an error.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return environment


def _run(command: Command, argv: Sequence[str] | None, environment: Environment, messages: Messages) -> int:
    parser = command.parser()
    parser.output = environment.stdout
    words = list(sys.argv[1:] if argv is None else argv)
    remote: list[str] = []
    if command.takes_command and "--" in words:
        # argparse would take the remote command's options for ours.
        words, remote = words[: words.index("--")], words[words.index("--") + 1 :]
    try:
        if any("\0" in word for word in (*words, *remote)):
            raise UsageError("an argument contains a NUL character")
        options = parser.parse_args(words, argparse.Namespace(command=remote))
    except SystemExit:  # --help and --version
        flush(environment)
        return ExitStatus.DONE
    except UsageError as error:
        if _asks_for_json(command, words):
            _write_json_error(command, error, environment)
        raise
    messages.level = options.verbose - options.quiet
    # --help needs none of these.
    from stratuslab.commands.session import Session
    from stratuslab.commands.shared.output_arguments import output_options
    from stratuslab.output.formatters import formatter
    from stratuslab.output.output_options import OutputOptions
    from stratuslab.results import InstanceStarted

    _end_on_signals(environment)
    session = Session(options, environment, messages, waits=command.waits(options))
    started: list[int] = []
    shown = OutputOptions(format="json") if _asks_for_json(command, words) else OutputOptions()
    writer = formatter(shown)
    try:
        shown = OutputOptions()
        kind = command.rows(options) if command.rows is not None else None
        if kind is not None:
            session.output = shown = output_options(options, kind, environment)
        if command.filters_choose:
            shown = shown._replace(filters=())
        writer = formatter(shown._replace(quiet=messages.level < 0, notes=messages.level > 0))
        for result in command.run(session):
            write(environment, writer.show(result))
            if isinstance(result, InstanceStarted):
                started.append(result.id)
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, Exception) as error:
        problems = _problems(error)
        status = error.status if isinstance(error, StratusLabError) else problems[0].status
        _write_end(environment, messages, writer.end(command.prog, status, problems), started)
        raise
    _write_end(environment, messages, writer.end(command.prog, session.status, ()), started)
    return session.status


def _asks_for_json(command: Command, words: Sequence[str]) -> bool:
    """Whether the output is to be JSON, found out before parsing, so that usage errors are written as JSON too."""
    return command.rows is not None and re.search(r"(^|\0)--format[=\0]json(\0|$)", "\0".join(words)) is not None


def _write_json_error(command: Command, error: UsageError, environment: Environment) -> None:
    from stratuslab.output.json_formatter import JsonFormatter
    from stratuslab.output.output_options import OutputOptions

    write(environment, JsonFormatter(OutputOptions()).end(command.prog, error.status, _problems(error)))


def _write_end(environment: Environment, messages: Messages, text: Iterable[str], started: Sequence[int]) -> None:
    """Write the rest of the output at the end. If that fails, list the started machines on stderr."""
    try:
        write(environment, text)
    except BaseException:
        if started:
            messages.error(f"started: {', '.join(map(str, started))}")
        raise
