"""What all commands share: common options, the session with the cloud, and ``main``, which turns errors into exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from stratuslab.commands.shared.output_arguments import output_options
from stratuslab.environment import Environment
from stratuslab.errors import ExitStatus, SeveralFailed, StratusLabError, Terminated, UsageError
from stratuslab.known_settings import KNOWN
from stratuslab.output.columns import RowKind
from stratuslab.output.formatters import formatter
from stratuslab.output.messages import Messages
from stratuslab.output.output_options import OutputOptions
from stratuslab.results import InstanceStarted, Problem, Result
from stratuslab.suggestion import did_you_mean, join_hints
from stratuslab.version import __version__

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud
    from stratuslab.marketplace.marketplace_client import Marketplace
    from stratuslab.settings import Settings


_OF_ONE_CLOUD = {
    f"STRATUSLAB_{key}" for key in ("ENDPOINT", "USERNAME", "PASSWORD", "PASSWORD_FILE", "PEM_CERTIFICATE", "PEM_KEY")
}


WAIT_TIMEOUT = 600.0
"""Seconds to wait for instances with --wait-for, unless set."""


class _HelpFormatter(argparse.HelpFormatter):
    """Help within 80 columns; text with line breaks (the examples) keeps them."""

    def __init__(self, prog: str, **details: Any) -> None:
        from shutil import get_terminal_size

        super().__init__(prog, **{"max_help_position": 26, "width": min(get_terminal_size().columns, 80) - 2, **details})

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


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError, and prints to the environment's stream without colour.

    Options are neither abbreviated nor given twice: an abbreviation may mean another option in the next version.
    """

    output: TextIO | None = None
    color = False  # Python 3.14 uses colour by default

    def __init__(self, **details: Any) -> None:
        # Only the examples keep their line breaks.
        details["description"] = " ".join((details.get("description") or "").split())
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **details)
        for name in (None, "store"):
            self.register("action", name, _GivenOnce)
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


class Session:
    """One run of a command: its options, its environment, and the cloud, which is opened when first used.

    ``status`` is what the command returns when it raises nothing; ``waits`` says that it waits for instances.
    """

    def __init__(self, options: argparse.Namespace, environment: Environment, messages: Messages, waits: bool = False) -> None:
        self.options = options
        self.environment = environment
        self.messages = messages
        self.status: int = ExitStatus.DONE
        self.output = OutputOptions()
        self.waits = waits

    @cached_property
    def settings(self) -> Settings:
        """The settings from the options, the environment and the configuration file."""
        from stratuslab.settings import load, option_of
        from stratuslab.settings_warnings import doubtful, not_meant

        given = vars(self.options)
        for key in (*(known.key for known in KNOWN), "config", "user_config_section"):
            if given.get(key) == "":
                # As from a script's variable that is not set: another cloud, say, would be used instead.
                raise UsageError(f"the value of {option_of(key)} is empty")
        if self.waits and given.get("timeout") and not given.get("wait_timeout"):
            # Before there was --wait-timeout, --timeout said how long to wait.
            given = {**given, "timeout": None, "wait_timeout": given["timeout"]}
        settings = load(self.environment, given)
        for text in not_meant(settings):
            self.messages.warning(text)
        for text in doubtful(settings):
            self.messages.note(text)
        return settings

    @cached_property
    def cloud(self) -> Cloud:
        from stratuslab.connections import open_cloud

        return open_cloud(self.settings, self.environment, self.messages)

    def cloud_of(self, section: str) -> Cloud:
        """The cloud that a section of the configuration describes, without asking for a password."""
        from stratuslab.connections import open_cloud
        from stratuslab.settings import load

        given = {**vars(self.options), "user_config_section": section}
        # The variables describe a single cloud: applied to all sections they would send all credentials to the same server.
        environ = {name: value for name, value in self.environment.environ.items() if name not in _OF_ONE_CLOUD}
        environment = self.environment._replace(stdin=None, environ=environ)
        return open_cloud(load(environment, given), environment, self.messages)

    @cached_property
    def marketplace(self) -> Marketplace:
        from stratuslab.connections import open_marketplace

        return open_marketplace(self.settings, self.environment, self.messages)


class Command:
    """A command: its name, its options, and the function that runs it and yields results as they are known.

    ``rows`` says what its rows are about, ``waits`` whether it waits for instances. With ``filters_choose`` --filter selects the
    instances to act on, not the rows to show. With ``takes_command`` the words after "--" are a command for the instance, in
    ``options.command``.
    """

    def __init__(
        self,
        prog: str,
        summary: str,
        add_arguments: Callable[[argparse.ArgumentParser], None],
        run: Callable[[Session], Iterator[Result]],
        *,
        usage: str | None = None,
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
            epilog=self.epilog,
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
    one.add_argument("--password-file", metavar="FILE", help="file whose first line is the password")
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
        _discard_output(environment)
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
    match error:
        case SeveralFailed(causes=causes):
            return [problem for cause in causes for problem in _problems(cause)]
        case StratusLabError():
            return [Problem(error.status, error.message, error.hint)]
        case Terminated():
            return [Problem(ExitStatus.TERMINATED, "terminated")]
        case KeyboardInterrupt():
            return [Problem(ExitStatus.INTERRUPTED, "interrupted")]
        case ModuleNotFoundError(name=str(name)) if not name.startswith("stratuslab"):
            return [Problem(ExitStatus.FAILED, f"the Python package {name} is not installed (pip install {name})")]
        case _:
            return [Problem(ExitStatus.FAILED, f"internal error: {type(error).__name__}: {error} (please report it)")]


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _process_environment() -> Environment:
    environment = Environment.of_process()
    signal.signal(signal.SIGTERM, _terminate)
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
    started: list[int] = []
    shown = OutputOptions(format="json") if _asks_for_json(command, words) else OutputOptions()
    writer = formatter(shown)
    try:
        if any("\0" in word for word in (*words, *remote)):
            raise UsageError("an argument contains a NUL character")
        try:
            options = parser.parse_args(words, argparse.Namespace(command=remote))
        except SystemExit:  # --help and --version
            _flush(environment)
            return ExitStatus.DONE
        messages.level = options.verbose - options.quiet
        session = Session(options, environment, messages, waits=command.waits(options))
        shown = OutputOptions()
        kind = command.rows(options) if command.rows is not None else None
        if kind is not None:
            session.output = shown = output_options(options, kind, environment)
        if command.filters_choose:
            shown = shown._replace(filters=())
        writer = formatter(shown._replace(quiet=messages.level < 0, notes=messages.level > 0))
        for result in command.run(session):
            _write(environment, writer.show(result))
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


def _write_end(environment: Environment, messages: Messages, text: Iterable[str], started: Sequence[int]) -> None:
    """Write the rest of the output at the end. If that fails, list the started machines on stderr."""
    try:
        _write(environment, text)
    except (StratusLabError, BrokenPipeError):
        if started:
            messages.error(f"started: {', '.join(map(str, started))}")
        raise


def _write(environment: Environment, text: Iterable[str]) -> None:
    lines = list(text)
    if not lines:
        return
    if environment.stdout is None:
        raise StratusLabError("cannot write the answer: standard output is closed")
    with _write_errors(environment):
        for line in lines:
            environment.stdout.write(line + "\n")
    _flush(environment)


def _flush(environment: Environment) -> None:
    with _write_errors(environment):
        if environment.stdout is not None:
            environment.stdout.flush()


@contextlib.contextmanager
def _write_errors(environment: Environment) -> Iterator[None]:
    try:
        yield
    except ValueError:
        raise StratusLabError("cannot write the answer: standard output is closed") from None
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):
            # EIO: the terminal is gone.
            raise BrokenPipeError from None
        _discard_output(environment)
        raise StratusLabError(f"cannot write the answer: {error.strerror}") from None


def _discard_output(environment: Environment) -> None:
    """Discard buffered output, which would raise again when Python exits."""
    if environment.owns_process:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
