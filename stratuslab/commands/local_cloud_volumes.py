"""stratus-local-cloud volumes: lists, creates and deletes the embedded cloud's volumes."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from stratuslab.commands.command_declaration import Parser
from stratuslab.commands.local_cloud_images import embedded_store
from stratuslab.commands.session import Session
from stratuslab.commands.shared.option_values import size_in_mib
from stratuslab.commands.shared.output_arguments import add_output_options
from stratuslab.commands.shared.terminal_questions import require_yes
from stratuslab.errors import NotFound
from stratuslab.output.safe_text import one_line
from stratuslab.results import Listing, Result, TextLine

if TYPE_CHECKING:
    from stratuslab.local.store.volumes import Volumes

_LARGEST_MIB = 2**24  # 16 TiB, the limit of common file systems
_DESCRIPTION = """List, create or delete volumes, the disks that outlive machines. Attach one with stratus-run-instance
--persistent-disk."""


def add_arguments(actions: argparse._SubParsersAction[Parser]) -> None:
    """Add the action ``volumes`` and its verbs."""
    volumes = actions.add_parser("volumes", help="list, create and delete disks that outlive machines", description=_DESCRIPTION)
    verbs = volumes.add_subparsers(title="verbs", dest="verb", metavar="VERB")
    listing = verbs.add_parser("list", help="list them (the default)", description="List the volumes.")
    add_output_options(volumes)
    add_output_options(listing)
    for option in listing._actions:
        option.default = argparse.SUPPRESS  # so that the same options before the verb are not overwritten
    create = verbs.add_parser("create", help="create one", description="Create an empty volume and print its UUID.")
    create.add_argument(
        "size", metavar="SIZE", type=size_in_mib("G", 1, _LARGEST_MIB), help="its size in GB, or as in 500M or 2T"
    )
    create.add_argument("--name", default="", metavar="TEXT", help="its name")
    delete = verbs.add_parser(
        "delete",
        help="delete some",
        description="Delete volumes and their data.",
        usage="stratus-local-cloud volumes delete [options] UUID or NAME ...",
    )
    delete.add_argument("uuids", nargs="+", metavar="UUID or NAME", help="volumes to delete")
    delete.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def volumes(session: Session) -> Iterator[Result]:
    """Run the verb."""
    from stratuslab.local.store.volumes import Volumes

    with embedded_store(session) as store:
        yield from _VERBS[session.options.verb or "list"](session, Volumes(store))


def _list(session: Session, kept: Volumes) -> Iterator[Result]:
    yield Listing(kept.all())


def _create(session: Session, kept: Volumes) -> Iterator[Result]:
    created = kept.create(session.options.size, session.options.name, int(session.environment.clock()))
    yield TextLine(created.uuid)


def _delete(session: Session, kept: Volumes) -> Iterator[Result]:
    # Check all of them before the first is deleted.
    chosen = [kept.deletable(uuid) for uuid in dict.fromkeys(session.options.uuids)]
    named = ", ".join(f"{volume.uuid} ({one_line(volume.name)})" if volume.name else volume.uuid for volume in chosen)
    if not session.options.yes:
        require_yes(session.environment, f"Delete the volume{'s' if len(chosen) > 1 else ''} {named} with all data?")
    for volume in chosen:
        with suppress(NotFound):  # deleted by another command meanwhile
            kept.delete(volume.uuid)
    yield from ()


_VERBS = {"list": _list, "create": _create, "delete": _delete}
