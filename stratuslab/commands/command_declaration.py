"""What a command is declared with: its name, its function, and its parser with the options that all commands share."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from stratuslab.commands.shared.output_arguments import add_output_options
from stratuslab.errors import UsageError
from stratuslab.output.terminal import Terminal
from stratuslab.suggestion import did_you_mean, join_hints
from stratuslab.version import __version__

if TYPE_CHECKING:
    from stratuslab.commands.session import Session
    from stratuslab.output.result_columns import RowKind
    from stratuslab.results import Result

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

    def __init__(self, **details: Any) -> None:
        # Only the examples keep their line breaks.
        details["description"] = " ".join((details.get("description") or "").split())
        super().__init__(formatter_class=_HelpFormatter, allow_abbrev=False, **details)
        for name, action in ((None, _GivenOnce), ("store", _GivenOnce), ("append", _Repeatable)):
            self.register("action", name, action)
        self.color = False  # Python 3.14 uses colour by default

    def error(self, message: str) -> object:  # type: ignore[override]
        raise UsageError(message, join_hints(self._suggestion(message), f"see {self.prog} --help"))

    def _suggestion(self, message: str) -> str:
        unknown = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if unknown:
            names = [name for parser in self.with_actions() for name in parser._option_string_actions]
            return did_you_mean(unknown[1], [name for name in names if name.startswith(unknown[1])] or names)
        choice = re.match(r"argument [^:]*: invalid choice: '(.*?)' \(choose from ([^)]*)", message)
        return did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2])) if choice else ""

    def with_actions(self) -> "Iterator[Parser]":
        """The parser itself, and those of its actions and their verbs."""
        yield self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in action.choices.values():
                    yield from parser.with_actions()

    def _print_message(self, message: str, file: object = None) -> None:
        if self.output is not None:
            self.output.write(message)


class Command(NamedTuple):
    """A command: its name, its own options, and the function that runs it and yields results as they are known.

    One that is ``is_on_cloud`` has the options for that as well, and if it yields ``rows`` those for them.
    ``related`` are the commands that its help names, ``rows`` says what its rows are about, ``waits`` whether it waits for
    instances. With ``filters_choose`` --filter selects the instances to act on, not the rows to show. With ``takes_command`` the
    words after "--" are a command for the instance, in ``options.command``.
    """

    prog: str
    summary: str
    add_arguments: Callable[[Parser], None]
    run: Callable[["Session"], Iterator["Result"]]
    related: Sequence[str]
    epilog: str = ""
    usage: str | None = None
    rows: Callable[[argparse.Namespace], "RowKind | None"] | None = None
    filters_choose: bool = False
    takes_command: bool = False
    waits: Callable[[argparse.Namespace], bool] = lambda options: False
    is_on_cloud: bool = True

    def parser(self) -> Parser:
        """The command's parser, including the options that many commands have."""
        parser = Parser(
            prog=self.prog,
            usage=self.usage,
            description=self.summary,
            epilog=f"{self.epilog}\nsee also:\n  {', '.join(self.related)}\n  man {self.prog}\n".lstrip(),
        )
        self.add_arguments(parser)
        if self.is_on_cloud:
            _add_cloud_options(parser)
            if self.rows:
                add_output_options(parser)
        group = parser.add_argument_group("output")
        group.add_argument("-v", "--verbose", action="count", default=0, help="print more on stderr; -vv and -vvv even more")
        group.add_argument("-q", "--quiet", action="count", default=0, help="print less")
        group.add_argument("--version", action="version", version=f"{self.prog} {__version__}")
        return parser


def _add_cloud_options(parser: Parser) -> None:
    # As with ssh, -p is the port's where there is one.
    password = ("--password",) if "-p" in parser._option_string_actions else ("-p", "--password")
    group = parser.add_argument_group("cloud")
    add = group.add_argument
    add("--endpoint", metavar="URL", help='cloud: a host, a URL, or "local" for the embedded cloud')
    add("-u", "--username", metavar="NAME", help="user name on the cloud")
    add = group.add_mutually_exclusive_group().add_argument
    add(*password, metavar="TEXT", help="password; other users of this computer can see it, so prefer a file")
    add("--password-file", metavar="FILE", help='file whose first line is the password; "-" for standard input')
    add = group.add_argument
    add("--pem-cert", dest="pem_certificate", metavar="FILE", help="client certificate, used without a user name")
    add("--pem-key", metavar="FILE", help="private key of the client certificate")
    add("--ca-bundle", metavar="FILE", help="certificates to trust instead of the system's")
    add("--timeout", metavar="S", help="seconds to wait for data from a server (default 30)")
    add("-c", "--config", metavar="FILE", help="configuration (default ~/.stratuslab/stratuslab-user.cfg)")
    add("-S", "--user-config-section", metavar="NAME", help="section of the configuration that describes the cloud")


def add_wait_timeout(group: argparse._ArgumentGroup, usual: float = WAIT_TIMEOUT) -> None:
    """The option of every command that waits for instances."""
    group.add_argument("--wait-timeout", metavar="S", help=f"seconds to wait (default {usual:g})")
