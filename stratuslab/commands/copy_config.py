"""stratus-copy-config: writes a commented configuration file to begin with."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.known_settings import KNOWN
from stratuslab.private_files import make_directory, replace
from stratuslab.results import Result, TextLine
from stratuslab.settings import DEFAULT_FILE


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("file")
    group.add_argument("-c", "--config", metavar="FILE", help=f"file to write (default {DEFAULT_FILE})")
    group.add_argument("--force", action="store_true", help="replace an existing file")


def _run(session: Session) -> Iterator[Result]:
    path = _path(session)
    if path.exists() and not session.options.force:
        raise UsageError(f'the file "{path}" exists already', "replace it with --force")
    try:
        make_directory(path.parent)
        replace(path, configuration().encode())
    except OSError as error:
        raise StratusLabError(f'cannot write the configuration file "{path}": {error.strerror}') from None
    yield TextLine(str(path))


def _path(session: Session) -> Path:
    named: str = session.options.config or DEFAULT_FILE
    if named.startswith("~/") and session.environment.home is None:
        raise UsageError("no home directory to write the configuration to", "name a file with --config FILE")
    return session.environment.expand(named)


def configuration() -> str:
    """A configuration file that explains every setting and sets none."""
    text = """\
# The StratusLab client's configuration. It may contain passwords, so only you should be able to read it (chmod 600).
#
# Remove the # in front of a setting to set it. Values are used as they are, without quotes; write %% for a percent
# sign. Options and environment variables take precedence: --endpoint, STRATUSLAB_ENDPOINT.
# "stratus-config" shows all settings and where they came from, "stratus-config --check" whether they work.

[default]

"""
    for known in KNOWN:
        meaning = textwrap.fill(known.meaning, 100, initial_indent="# ", subsequent_indent="# ")
        text += f"{meaning}\n#{known.key} = {known.example}\n\n"
    return (
        text
        + """\
# One section for each further cloud, laid over [default]; choose it with -S partner or selected_section.
#[partner]
#endpoint = https://one.example.com/RPC2

# Instance types of your own: CPUs, RAM in MB, swap space in MB.
#[instance_types]
#big = 8, 16384, 0
"""
    )


COMMAND = Command(
    "stratus-copy-config",
    "Write a configuration file to start from, which explains every setting.",
    _add_arguments,
    _run,
    is_on_cloud=False,
    related=("stratus-config",),
    epilog="""examples:
  stratus-copy-config                       ~/.stratuslab/stratuslab-user.cfg
  stratus-copy-config --config lab.cfg      another file
""",
)
