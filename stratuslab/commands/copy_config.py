"""stratus-copy-config: writes a commented configuration file to begin with."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from stratuslab.commands.base import Command, Session
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.known_settings import KNOWN
from stratuslab.private_files import private_directory, replace
from stratuslab.results import Result, TextLine
from stratuslab.settings import DEFAULT_FILE


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("file")
    group.add_argument("-c", "--config", metavar="FILE", help=f"where to write it (default {DEFAULT_FILE})")
    group.add_argument("--force", action="store_true", help="also over a file that is there")


def _run(session: Session) -> Iterator[Result]:
    path = _path(session)
    if path.exists() and not session.options.force:
        raise UsageError(f'there is a file "{path}" already', "--force replaces it")
    try:
        private_directory(path.parent)
        replace(path, configuration().encode())
    except OSError as error:
        raise StratusLabError(f'the configuration file "{path}" cannot be written: {error.strerror}') from None
    yield TextLine(str(path))


def _path(session: Session) -> Path:
    named: str = session.options.config or DEFAULT_FILE
    if named.startswith("~/") and session.environment.home is None:
        raise UsageError("there is no home directory to write the configuration to", "name a file with --config FILE")
    return session.environment.expand(named)


def configuration() -> str:
    """A configuration file in which every setting is explained and none is set."""
    text = """\
# The StratusLab client's configuration. It may hold passwords: only you should be able to read it (chmod 600).
#
# Take the # away in front of a setting to set it. Values are taken as they stand, without quotes; a percent sign is
# written %%. An option or a variable in the environment wins: --endpoint, STRATUSLAB_ENDPOINT.
# "stratus-config" shows what is set and where it came from, "stratus-config --check" whether it works.

[default]

"""
    for known in KNOWN:
        meaning = textwrap.fill(known.meaning, 100, initial_indent="# ", subsequent_indent="# ")
        text += f"{meaning}\n#{known.key} = {known.example}\n\n"
    return (
        text
        + """\
# A section for each further cloud, laid over [default]; it is chosen with -S partner or by selected_section.
#[partner]
#endpoint = https://one.example.com/RPC2

# Instance types of your own: CPUs, RAM in MB, swap space in MB.
#[instance_types]
#big = 8, 16384, 0
"""
    )


COMMAND = Command(
    "stratus-copy-config",
    "Write a configuration file to begin with, in which every setting is explained.",
    _add_arguments,
    _run,
    usage="%(prog)s [options]",
    epilog="""examples:
  stratus-copy-config                       ~/.stratuslab/stratuslab-user.cfg
  stratus-copy-config --config lab.cfg      another file
""",
)
