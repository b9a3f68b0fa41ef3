"""stratus-local-cloud: serves the embedded cloud over HTTP, shows its status, resets it, and manages images and volumes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from stratuslab.commands import local_cloud_images, local_cloud_volumes
from stratuslab.commands.command_declaration import Command, Parser
from stratuslab.commands.session import Session
from stratuslab.commands.shared.output_arguments import add_output_options
from stratuslab.commands.shared.terminal_questions import require_yes
from stratuslab.errors import UsageError
from stratuslab.output.result_columns import RowKind
from stratuslab.private_files import require_own, why
from stratuslab.results import Listing, Result, TextLine

if TYPE_CHECKING:
    from stratuslab.local.engine.engine import Engine

_PORT = 2633  # OpenNebula's own
_LARGEST_USERS = 1 << 20  # characters
_FLAVOURS = ("opennebula-7", "opennebula-6", "opennebula-5", "opennebula-4", "stratuslab-3")


def _add_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    serve = actions.add_parser("serve", help="serve it over HTTP to other programs", description=_SERVE)
    add = serve.add_argument
    add("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", metavar="N", type=_port, default=_PORT, help="port (default %(default)s; 0 for any free one)")
    add(
        "--user",
        metavar="NAME:PASSWORD",
        type=_user,
        action="append",
        help="allow this user; may be repeated; other users of this computer can see it, so prefer --users",
    )
    add(
        "--users",
        metavar="FILE",
        help='file with a line NAME:PASSWORD for each user, or "-" for stdin (default: oneadmin, with a password kept in a file)',
    )
    add(
        "--name",
        metavar="HOST",
        action="append",
        help="accept requests for this host name; may be repeated; addresses and this computer's own name need no option",
    )
    add("--flavour", choices=_FLAVOURS, default=_FLAVOURS[0], help="server to behave like (default %(default)s)")
    status = actions.add_parser("status", help="show its status", description="Show the status of the cloud.")
    add_output_options(status)
    reset = actions.add_parser("reset", help="kill all machines and delete everything but volumes", description=_RESET)
    reset.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    entry = actions.add_parser("add-entry", help="add an entry to its Marketplace", description=_ADD_ENTRY)
    entry.add_argument("file", metavar="FILE", help="the metadata of an image in StratusLab's RDF/XML")
    local_cloud_images.add_arguments(actions)
    local_cloud_volumes.add_arguments(actions)
    for action in list(parser.with_actions())[1:]:
        group = action.add_argument_group("output")
        # Without a default, so that the same options before the action are not overwritten.
        for names, text in ((("-v", "--verbose"), "print more on stderr"), (("-q", "--quiet"), "print less")):
            group.add_argument(*names, action="count", default=argparse.SUPPRESS, help=text)


def _rows(options: argparse.Namespace) -> RowKind | None:
    """What the action lists."""
    from stratuslab.output.local_cloud_columns import CLOUD_STATUS, IMAGES, VOLUMES

    return {"status": CLOUD_STATUS, "images": IMAGES, "volumes": VOLUMES}.get(options.action)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536):
        raise argparse.ArgumentTypeError(f'"{text[:40]}" is not a port: expected a number from 0 to 65535')
    return int(text)


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        # The value may be a password, so it is not repeated.
        raise argparse.ArgumentTypeError("expected NAME:PASSWORD")
    return name, password


def _run(session: Session) -> Iterator[Result]:
    return _ACTIONS[session.options.action](session)


def _directory(session: Session) -> Path:
    from stratuslab.local import state_directory

    return state_directory(session.environment.environ)


def _engine(session: Session) -> Engine:
    from stratuslab.local.engine.engine import Engine

    return Engine(_directory(session), clock=session.environment.clock, environ=session.settings.local_environ)


def _serve(session: Session) -> Iterator[Result]:
    from stratuslab.local.api.http_server import serving
    from stratuslab.local.api.server_profiles import SERVER_PROFILES

    options = session.options
    given = [*options.user, *_users(session)]
    users = dict(given)
    if len(users) < len(given):
        raise UsageError("the same user is given twice", "see --user and --users")
    profile = SERVER_PROFILES[options.flavour]
    environ = session.settings.local_environ
    with serving(_directory(session), options.host, options.port, users, environ, profile, names=options.name) as server:
        if not server.urls.is_loopback:
            session.messages.warning("other computers can connect, and the traffic, passwords included, is not encrypted")
        if server.administrator is not None:
            session.messages.note(f"user and password are in {server.administrator}")
        session.messages.hint(f"to see the images in a browser, open {server.urls.marketplace}/")
        yield TextLine(str(server.urls))
        server.wait()


def _users(session: Session) -> list[tuple[str, str]]:
    """The users in the file that --users names."""
    named: str | None = session.options.users
    if named is None:
        return []
    path = session.environment.expand(named)
    try:
        if named == "-":
            text = session.environment.stdin.read(_LARGEST_USERS) if session.environment.stdin is not None else ""
        else:
            require_own(path, or_root=True)
            with path.open(encoding="utf-8") as file:
                text = file.read(_LARGEST_USERS)
                if os.fstat(file.fileno()).st_mode & 0o044:
                    session.messages.warning(f"other users can read the passwords in {named}: chmod 600 {named}")
    except (OSError, ValueError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"cannot read the users in {named}: {reason}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    if not lines:
        raise UsageError(f"{named} has no users", "write a line NAME:PASSWORD for each")
    for number, line in lines:
        if not all(line.partition(":")):
            raise UsageError(f"{named}, line {number}: expected NAME:PASSWORD")
    return [(name, password) for name, _, password in (line.partition(":") for _, line in lines)]


def _status(session: Session) -> Iterator[Result]:
    from stratuslab.local.engine.status_and_reset import status

    with closing(_engine(session)) as engine:
        now = status(engine, session.settings.hypervisor)
    yield Listing([now])


def _reset(session: Session) -> Iterator[Result]:
    from stratuslab.local.engine.status_and_reset import reset

    with closing(_engine(session)) as engine:
        if not session.options.yes:
            what = f"all machines of the embedded cloud in {engine.store.directory} and delete its users and images"
            require_yes(session.environment, f"Kill {what} (volumes stay)?")
        killed = reset(engine)
    session.messages.step(f"Killed {killed} machine{'' if killed == 1 else 's'}")
    yield from ()


def _add_entry(session: Session) -> Iterator[Result]:
    from stratuslab.local.images.embedded_marketplace import add_entries

    with local_cloud_images.embedded_store(session) as store:
        entries = add_entries(store, session.environment.clock(), session.environment.expand(session.options.file))
    yield from (TextLine(identifier) for identifier in dict.fromkeys(entry.metadata.identifier for entry in entries))


_ACTIONS = {
    "serve": _serve,
    "status": _status,
    "reset": _reset,
    "add-entry": _add_entry,
    "build-image": local_cloud_images.build_image,
    "add-image": local_cloud_images.add_image,
    "remove-image": local_cloud_images.remove_image,
    "images": local_cloud_images.images,
    "volumes": local_cloud_volumes.volumes,
}

_SERVE = """Serve the embedded cloud over HTTP to other programs, until Ctrl-C. When it is ready it prints three URLs on one line:
OpenNebula's XML-RPC, StratusLab's (with HTTP Basic), and the Marketplace, which a browser can show, too."""
_RESET = """Kill all machines, and delete them, the users, and the images and entries that were added to the Marketplace.
Volumes stay."""
_ADD_ENTRY = """Add an entry, or all entries of a collection, to the embedded Marketplace, and print the images' identifiers. They
need no signature."""

COMMAND = Command(
    "stratus-local-cloud",
    "Serve, show and reset the cloud embedded in this package, and manage its images and volumes.",
    _add_arguments,
    _run,
    related=("stratus-run-instance",),
    epilog="""examples:
  stratus-local-cloud status                  show its status
  stratus-local-cloud serve --port 2700       serve other programs over HTTP
  stratus-local-cloud build-image tiny        build an image for real machines
  stratus-local-cloud volumes create 2        create a volume of 2 GB
  stratus-local-cloud images --format json    list the images for a program
  stratus-local-cloud reset                   kill all machines and start over
""",
    rows=_rows,
    is_on_cloud=False,
)
