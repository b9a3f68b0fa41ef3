"""Man pages in the format of man(7), generated from the commands' parsers and the manual."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from stratuslab.commands.command_declaration import Command
from stratuslab.known_settings import KNOWN
from stratuslab.settings import variable_of
from stratuslab.version import __version__

FILES = (
    ("~/.stratuslab/stratuslab-user.cfg", "The configuration."),
    ("~/.stratuslab/id_ed25519, id_ed25519.pub", "The key pair that the commands make if you have none."),
    ("~/.stratuslab/known_hosts", "The host keys of machines."),
    ("~/.stratuslab/agent_keys/", "Public halves of keys that only the SSH agent has."),
    ("~/.local/state/stratuslab/local/", "The embedded cloud."),
)


def statuses(page: str) -> list[tuple[str, str]]:
    """The exit statuses and their meanings from the table in the manual, as plain text."""
    rows = re.findall(r"^   \* - (\d+)\n     - (.+(?:\n       .+)*)", page, re.MULTILINE)
    return [(number, " ".join(meaning.replace("``", "").split())) for number, meaning in rows]


def man_page(command: Command, others: list[str], exit_statuses: list[tuple[str, str]], date: str) -> str:
    """The source of a command's man page; ``others`` are the names of the commands to refer to, ``date`` is YYYY-MM-DD."""
    return "\n".join(_lines(command, others, exit_statuses, date)) + "\n"


def _lines(command: Command, others: list[str], exit_statuses: list[tuple[str, str]], date: str) -> Iterator[str]:
    parser = command.parser()
    yield f'.TH "{_plain(command.prog.upper())}" 1 "{date}" "StratusLab client {__version__}"'
    yield from (".nh", ".ad l")  # no words cut in two, no lines spread out
    purpose = command.summary.partition(". ")[0].rstrip(".")
    yield from (".SH NAME", f"{_plain(command.prog)} \\- {_plain(purpose[0].lower() + purpose[1:])}")
    yield ".SH SYNOPSIS"
    for line in re.sub(r"^usage: ", "", parser.format_usage()).strip().splitlines():
        yield from (".B " + _plain(line.strip()), ".br")
    yield from (".SH DESCRIPTION", _plain(command.summary))
    yield ".SH OPTIONS"
    yield from _options(parser, ".SS")
    if command.epilog:
        title, _, examples = command.epilog.partition("\n")
        yield from (f".SH {title.rstrip(':').upper()}", ".nf", *map(_plain, examples.rstrip().splitlines()), ".fi")
    yield ".SH EXIT STATUS"
    for number, meaning in exit_statuses:
        yield from (".TP", f".B {number}", _plain(meaning))
    yield ".SH ENVIRONMENT"
    if "--endpoint" in parser._option_string_actions:
        for known in KNOWN:
            yield from (".TP", f".B {variable_of(known.key)}", _plain(known.meaning))
    yield from (".TP", ".B STRATUSLAB_LOCAL_DIR", "The folder of the embedded cloud.")
    yield ".SH FILES"
    for file, meaning in FILES:
        yield from (".TP", f".I {_plain(file)}", _plain(meaning))
    yield ".SH SEE ALSO"
    yield ",\n".join(f".BR {_plain(other)} (1)" for other in others if other != command.prog).replace("(1),", '(1) ","')


def _options(parser: argparse.ArgumentParser, heading: str, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The options in their groups, without those that the command above has as well."""
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != argparse.SUPPRESS and action.dest not in above]
        if not actions:
            continue
        yield f"{heading} {_plain(group.title or '')}"
        for action in actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, below in action.choices.items():
                    yield from (".TP", f".B {_plain(name)}", _plain(" ".join((below.description or "").split())))
                    yield ".RS"
                    yield from _options(below, ".PP\n.I", frozenset(one.dest for one in parser._actions))
                    yield ".RE"
            else:
                yield from (".TP", _names(action), _plain(parser._get_formatter()._expand_help(action)))


def _names(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else value_name(action)
    if not action.option_strings:
        return f"\\fI{_plain(value)}\\fR"
    names = ", ".join(f"\\fB{_plain(name)}\\fR" for name in action.option_strings)
    return f"{names} \\fI{_plain(value)}\\fR" if value else names


def value_name(action: argparse.Action) -> str:
    """What stands for the value of an option or argument."""
    if isinstance(action.metavar, str):
        return f"[{action.metavar}]" if action.nargs == "?" and action.option_strings else action.metavar
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    return action.dest.upper()


def _plain(text: str) -> str:
    """The text escaped for roff: no escapes, no requests, and hyphens that can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text
