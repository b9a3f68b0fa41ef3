"""stratus-copy-files: copy files and folders to and from instances."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.commands.shared.instance_argument import numbers
from stratuslab.commands.shared.login_arguments import LOGIN_PATIENCE, add_login_options
from stratuslab.commands.shared.parallel import in_order, report
from stratuslab.commands.shared.ssh_login import SSHLogin
from stratuslab.commands.shared.waiting import patiently
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.result_columns import COPIES
from stratuslab.results import FilesCopied, Result


class _Place(NamedTuple):
    """A path, on the instances that the words name, or on this computer."""

    instances: Sequence[str]
    path: str


def _place(text: str) -> _Place:
    """``[ID or NAME[,...]:]PATH``. As with scp, a colon after a slash belongs to a path of this computer."""
    before, colon, path = text.partition(":")
    if not colon or "/" in before or not before:
        return _Place((), text)
    path = path.removeprefix("~/") if path != "~" else ""
    return _Place([word for word in before.split(",") if word], path or ".")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="[ID:]PATH", help="files to copy, and last where to; ID can be a name")
    group = parser.add_argument_group("files")
    group.add_argument("-r", "--recursive", action="store_true", help="copy folders with all that is in them")
    add_login_options(parser)


def _run(session: Session) -> Iterator[Result]:
    places = [_place(text) for text in session.options.paths]
    _check_usage(places)
    *sources, destination = places
    words = list(destination.instances or dict.fromkeys(word for source in sources for word in source.instances))
    login = SSHLogin(session, alone=len(words) == 1)
    wait_timeout = session.settings.wait_timeout(LOGIN_PATIENCE)
    ids, errors = patiently(session, lambda: numbers(session.cloud, words), wait_timeout)
    found = list(ids)
    copied = 0
    for outcome in in_order(lambda word: _copied(session, login, word, ids[word], sources, destination), found):
        if outcome.value is None:
            errors += [outcome.error] if outcome.error else []
            continue
        result, failed = outcome.value
        errors += failed
        copied += result.files
        yield result
    report(session.messages, errors, copied, "files")


def _check_usage(places: Sequence[_Place]) -> None:
    if len(places) < 2:
        raise UsageError("nothing to copy: name a file, and where to", f"see {COMMAND.prog} --help")
    *sources, destination = places
    remote = [source for source in sources if source.instances]
    if destination.instances and remote:
        raise UsageError("cannot copy from one machine to another", "copy to this computer first")
    if not destination.instances and len(remote) < len(sources):
        raise UsageError(
            "no machine is named: all paths are on this computer" if not remote else "the sources must all be on machines",
            "write ID:PATH for a path on a machine",
        )
    if any(len(source.instances) > 1 for source in sources):
        raise UsageError("files of several machines would have the same name", "copy them one by one")


def _copied(
    session: Session, login: SSHLogin, word: str, number: int, sources: Sequence[_Place], destination: _Place
) -> tuple[FilesCopied, list[StratusLabError]]:
    """Copy what is to be copied to or from one instance; the result, and the errors of single files."""
    from stratuslab.byte_sizes import size_text
    from stratuslab.output.status_line import Progress
    from stratuslab.ssh.file_copy import FileCopy

    environment = session.environment
    with (
        Progress(environment.stderr, environment.environ, login.alone and session.messages.level == 0) as progress,
        login.sftp(login.target(number)) as sftp,
    ):

        def show(name: str, done: int, size: int) -> None:
            progress.show(f"{name}: {size_text(done)} of {size_text(size)}")
            if done >= size:
                session.messages.step(f"Copied {name}, {size_text(done)}")

        copy = FileCopy(sftp, word, session.options.recursive, show)
        if destination.instances:
            copy.put([session.environment.expand(source.path) for source in sources], destination.path)
        else:
            mine = [source.path for source in sources if source.instances[0] == word]
            copy.get(mine, Path(destination.path), several=len(sources) > 1)
    return FilesCopied(number, copy.files, copy.size), copy.errors


COMMAND = Command(
    "stratus-copy-files",
    "Copy files and folders to and from machines.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] FILE ... ID:PATH | ID:PATH ... FOLDER",
    rows=lambda options: COPIES,
    waits=lambda options: True,
    related=("stratus-connect-instance",),
    epilog="""examples:
  stratus-copy-files data.csv 165:             to the user's home folder there
  stratus-copy-files -r web1:/var/log logs     a folder from there
  stratus-copy-files job.sh 165,166,web1:/opt  to several machines
""",
)
