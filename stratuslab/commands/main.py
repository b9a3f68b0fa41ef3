"""Runs a command: parses its arguments, writes its results as they come, and turns errors into exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.standard_output import discard, flush, write
from stratuslab.environment import Environment
from stratuslab.errors import ExitStatus, SeveralFailed, StratusLabError, TerminalGone, Terminated, UsageError
from stratuslab.output.messages import Messages

if TYPE_CHECKING:
    from stratuslab.commands.session import Session
    from stratuslab.output.output_options import OutputOptions
    from stratuslab.results import Problem


def main(command: Command, argv: Sequence[str] | None = None, environment: Environment | None = None) -> int:
    """Run a command and return its exit status. The default ``argv`` and ``environment`` are those of this process."""
    environment = environment or _process_environment()
    messages = Messages(environment.stderr, command.prog)
    try:
        return _run(command, sys.argv[1:] if argv is None else argv, environment, messages)
    except StratusLabError as error:
        messages.error(str(error))
        return error.status
    except BrokenPipeError:
        discard(environment)
        return ExitStatus.BROKEN_PIPE
    except (KeyboardInterrupt, Exception) as error:
        (problem,) = _problems(error)
        messages.error(problem.message)
        if messages.level >= 3 and not isinstance(error, KeyboardInterrupt):
            import traceback

            traceback.print_exception(error, file=environment.stderr)
        return problem.status


def _process_environment() -> Environment:
    environment = Environment.of_process()
    for stream in (environment.stdout, environment.stderr):
        with contextlib.suppress(AttributeError):
            # Characters that the terminal's character set lacks are escaped, instead of raising an error.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return environment


def _run(command: Command, argv: Sequence[str], environment: Environment, messages: Messages) -> int:
    words = list(argv)
    remote: list[str] = []
    if command.takes_command and "--" in words:
        # argparse would take the remote command's options for ours.
        words, remote = words[: words.index("--")], words[words.index("--") + 1 :]
    parser = command.parser()
    for one in parser.with_actions():
        one.output = environment.stdout
    try:
        if any("\0" in word for word in argv):
            raise UsageError("an argument contains a NUL character")
        options = parser.parse_args(words, argparse.Namespace(command=remote))
    except SystemExit:  # --help and --version
        flush(environment)
        return ExitStatus.DONE
    except UsageError as error:
        from stratuslab.output.formatters import formatter

        write(environment, formatter(_early_output(command, words)).end(command.prog, error.status, _problems(error)))
        raise
    messages.level = options.verbose - options.quiet
    # --help needs none of these.
    from stratuslab.commands.session import Session
    from stratuslab.output.formatters import formatter
    from stratuslab.results import InstanceStarted

    _end_on_signals(environment)
    session = Session(options, environment, messages, waits=command.waits(options))
    writer = formatter(_early_output(command, words))
    started: list[int] = []
    try:
        writer = formatter(_output(command, session))
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


def _early_output(command: Command, words: Sequence[str]) -> OutputOptions:
    """How to show errors before the options are understood: where JSON is asked for, as JSON."""
    from stratuslab.output.output_options import OutputOptions

    as_json = command.rows is not None and re.search(r"(^|\0)--format[=\0]json(\0|$)", "\0".join(words)) is not None
    return OutputOptions(format="json" if as_json else "table")


def _output(command: Command, session: Session) -> OutputOptions:
    """How to show the results."""
    from stratuslab.commands.shared.output_arguments import output_options

    kind = command.rows(session.options) if command.rows is not None else None
    if kind is not None:
        session.output = output_options(session.options, kind, session.environment)
    shown = session.output._replace(filters=()) if command.filters_choose else session.output
    level = session.messages.level
    return shown._replace(quiet=level < 0, notes=level > 0)


def _write_end(environment: Environment, messages: Messages, text: Iterable[str], started: Sequence[int]) -> None:
    """Write the rest of the output at the end. If that fails, list the started machines on stderr."""
    try:
        write(environment, text)
    except BaseException:
        if started:
            messages.error(f"started: {', '.join(map(str, started))}")
        raise


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
    if not environment.owns_process:
        return
    import signal

    def end(number: int, _frame: object) -> None:
        raise Terminated if number == signal.SIGTERM else TerminalGone

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not below nohup
        signal.signal(signal.SIGHUP, end)
