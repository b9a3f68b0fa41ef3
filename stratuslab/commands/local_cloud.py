"""stratus-local-cloud: serve the embedded cloud over HTTP, show how it is, empty it, give it images and volumes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.commands import local_cloud_images, local_cloud_volumes
from stratuslab.commands.base import Command, Parser, Session
from stratuslab.commands.shared.confirmation import confirmed
from stratuslab.commands.shared.output_arguments import add_output_options
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.columns import RowKind
from stratuslab.results import Listing, Result, TextLine

if TYPE_CHECKING:
    from stratuslab.local.engine.engine import Engine

_PORT = 2633  # OpenNebula's own
_FLAVOURS = ("opennebula-7", "opennebula-6", "opennebula-5", "opennebula-4", "stratuslab-3")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    class ActionParser(Parser):
        """The parser of one action, which prints where the command's does."""

        def _print_message(self, message: str, file: object = None) -> None:
            parser._print_message(message)

    actions: argparse._SubParsersAction[Parser] = parser.add_subparsers(
        title="actions", dest="action", metavar="ACTION", required=True, parser_class=ActionParser
    )
    serve = actions.add_parser(
        "serve", help="let other programs use it over HTTP", description=_SERVE, usage="stratus-local-cloud serve [options]"
    )
    serve.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen at (default %(default)s)")
    serve.add_argument("--port", metavar="N", type=_port, default=_PORT, help="port (default %(default)s; 0 is any free one)")
    serve.add_argument(
        "--user",
        metavar="NAME:PASSWORD",
        type=_user,
        action="append",
        default=[],
        help="a user who may come in (may be repeated); without any, oneadmin with a password that is kept in a file",
    )
    serve.add_argument(
        "--flavour", choices=_FLAVOURS, default=_FLAVOURS[0], help="the server to behave like (default %(default)s)"
    )
    status = actions.add_parser("status", help="show where it is and what it does", description="Show how the cloud is.")
    add_output_options(status)
    reset = actions.add_parser("reset", help="end all instances and forget everything", description=_RESET)
    reset.add_argument("--yes", action="store_true", help="do not ask")
    entry = actions.add_parser("add-entry", help="add an entry to its Marketplace", description=_ADD_ENTRY)
    entry.add_argument("file", metavar="FILE", help="metadata of an image, in StratusLab's RDF/XML")
    others = [*local_cloud_images.add_arguments(actions), *local_cloud_volumes.add_arguments(actions)]
    for action in (serve, status, reset, entry, *others):
        group = action.add_argument_group("talk")
        # Without a default, so that the same options before the action keep what they say.
        for names, text in ((("-v", "--verbose"), "say more on stderr"), (("-q", "--quiet"), "say less")):
            group.add_argument(*names, action="count", default=argparse.SUPPRESS, help=text)


def _rows(options: argparse.Namespace) -> RowKind | None:
    """What the action lists."""
    if options.action not in ("status", "images", "volumes"):
        return None
    from stratuslab.output import local_cloud_columns

    kinds = {
        "status": local_cloud_columns.CLOUD_STATUS,
        "images": local_cloud_columns.IMAGES,
        "volumes": local_cloud_columns.VOLUMES,
    }
    return kinds[options.action]


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f'"{text}" is no port, which is a number from 0 to 65535')
    return int(text)


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        # What was given may be a password, so that it is not repeated.
        raise argparse.ArgumentTypeError("a user is written NAME:PASSWORD")
    return name, password


def _run(session: Session) -> Iterator[Result]:
    yield from _ACTIONS[session.options.action](session)


def _directory(session: Session) -> Path:
    from stratuslab.local import state_directory

    return state_directory(session.environment.environ)


def _engine(session: Session) -> Engine:
    from stratuslab.local.engine.engine import Engine

    return Engine(_directory(session), clock=session.environment.clock, environ=session.environment.environ)


def _serve(session: Session) -> Iterator[Result]:
    from stratuslab.local.api.http_server import serving
    from stratuslab.local.api.server_profiles import SERVER_PROFILES

    options = session.options
    users = dict(options.user)
    if len(users) < len(options.user):
        raise UsageError("a user is given twice with --user")
    profile = SERVER_PROFILES[options.flavour]
    environ = session.environment.environ
    with serving(_directory(session), options.host, options.port, users, environ, profile) as server:
        if server.administrator is not None:
            session.messages.note(f"user and password are in {server.administrator}")
        yield TextLine(str(server.urls))
        server.wait()


def _status(session: Session) -> Iterator[Result]:
    from stratuslab.local.engine.status_and_reset import status

    engine = _engine(session)
    try:
        now = status(engine, session.settings.hypervisor)
    finally:
        engine.close()
    yield Listing([now])


def _reset(session: Session) -> Iterator[Result]:
    from stratuslab.local.engine.status_and_reset import reset

    engine = _engine(session)
    try:
        if not session.options.yes:
            _confirm(session, engine.store.directory)
        ended = reset(engine)
    finally:
        engine.close()
    session.messages.step(f"Ended {ended} instance{'' if ended == 1 else 's'}")
    yield from ()


def _confirm(session: Session, directory: Path) -> None:
    question = f"End all instances of the embedded cloud in {directory}, forget them, its users and its images (volumes stay)?"
    if not confirmed(session.environment, question, "give --yes"):
        raise StratusLabError("nothing was done, as it was not confirmed")


def _add_entry(session: Session) -> Iterator[Result]:
    from stratuslab.local.images.bootstrap import open_store
    from stratuslab.local.images.marketplace_entries import add_entry

    now = session.environment.clock()
    store = open_store(_directory(session), now)
    try:
        entry = add_entry(store, now, session.environment.expand(session.options.file))
    finally:
        store.close()
    yield TextLine(entry.metadata.identifier)


_ACTIONS = {
    "serve": _serve,
    "status": _status,
    "reset": _reset,
    "add-entry": _add_entry,
    "build-image": local_cloud_images.build_image,
    "add-image": local_cloud_images.add_image,
    "images": local_cloud_images.images,
    "volumes": local_cloud_volumes.volumes,
}

_SERVE = """Let other programs use the embedded cloud over HTTP, until Ctrl-C. When it is ready, one line tells three URLs:
OpenNebula's XML-RPC, StratusLab's (with HTTP Basic), and the Marketplace."""
_RESET = """End all instances, like pulling the power cord, and forget them, the users, and the images and entries that were
added to the Marketplace. Volumes stay."""
_ADD_ENTRY = "Add an entry to the embedded Marketplace, which asks for no signature, and print the image's identifier."

COMMAND = Command(
    "stratus-local-cloud",
    "Serve, show and reset the cloud that is embedded in this package, and give it images and volumes.",
    _add_arguments,
    _run,
    epilog="""examples:
  stratus-local-cloud status                  what is it doing?
  stratus-local-cloud serve --port 2700       for other programs, over HTTP
  stratus-local-cloud build-image tiny        an image for real machines
  stratus-local-cloud volumes create 2        a disk that outlives machines
  stratus-local-cloud images --format json    the images, for a program
  stratus-local-cloud reset                   end everything in it
""",
    rows=_rows,
)
