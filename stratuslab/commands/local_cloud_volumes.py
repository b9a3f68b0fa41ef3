"""stratus-local-cloud volumes: the embedded cloud's volumes, listed, created and deleted."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from stratuslab.commands.base import Parser, Session
from stratuslab.commands.shared.confirmation import confirmed
from stratuslab.commands.shared.output_arguments import add_output_options
from stratuslab.errors import NotFound, StratusLabError
from stratuslab.output.safe_text import one_line
from stratuslab.results import Listing, Result, TextLine

if TYPE_CHECKING:
    from stratuslab.local.store.database import Store

_MIB = {"M": 1, "G": 1024, "T": 1024**2}
_LARGEST_MIB = 2**24  # beyond 16 TiB file systems refuse
_DESCRIPTION = """List the volumes, the disks that outlive instances: attach one with stratus-run-instance --persistent-disk. With
"create" make one and print its UUID, with "delete" remove some and all that is on them."""


def add_arguments(actions: argparse._SubParsersAction[Parser]) -> list[Parser]:
    """The action ``volumes`` and what can be done with them; the parsers that were made."""
    volumes = actions.add_parser("volumes", help="list, create and delete disks that outlive instances", description=_DESCRIPTION)
    verbs = volumes.add_subparsers(title="with volumes", dest="verb", metavar="VERB", parser_class=type(volumes))
    listing = verbs.add_parser("list", help="list them (what is done without a verb)", description="List the volumes.")
    add_output_options(volumes)
    add_output_options(listing)
    for option in listing._actions:
        option.default = argparse.SUPPRESS  # so that the same options before the verb keep what they say
    create = verbs.add_parser("create", help="make one", description="Make an empty volume and print its UUID.")
    create.add_argument("size", metavar="SIZE", type=_size, help="its size: a number of GB, or with a unit, such as 500M or 2T")
    create.add_argument("--name", default="", metavar="TEXT", help="a name to tell it by")
    delete = verbs.add_parser("delete", help="remove some", description="Remove volumes and all that is on them.")
    delete.add_argument("uuids", nargs="+", metavar="UUID", help="the volumes")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    return [volumes, listing, create, delete]


def _size(text: str) -> int:
    """MiB."""
    match = re.fullmatch(r"([0-9]{1,8})([MGT]?)(?:i?B)?", text.upper().replace("IB", "B"), re.ASCII)
    mib = int(match[1]) * _MIB[match[2] or "G"] if match else 0
    if not 0 < mib <= _LARGEST_MIB:
        raise argparse.ArgumentTypeError(f'"{text}" is no size, which is a number of GB, or one with a unit such as 500M or 2T')
    return mib


def volumes(session: Session) -> Iterator[Result]:
    """Do what was asked for with the volumes."""
    from stratuslab.local import state_directory
    from stratuslab.local.images.bootstrap import open_store

    with closing(open_store(state_directory(session.environment.environ), session.environment.clock())) as store:
        yield from _VERBS[session.options.verb or "list"](session, store)


def _list(session: Session, store: Store) -> Iterator[Result]:
    from stratuslab.local.store.volumes import Volumes

    yield Listing(Volumes(store).all())


def _create(session: Session, store: Store) -> Iterator[Result]:
    from stratuslab.local.store.volumes import Volumes

    created = Volumes(store).create(session.options.size, session.options.name, int(session.environment.clock()))
    yield TextLine(created.uuid)


def _delete(session: Session, store: Store) -> Iterator[Result]:
    from stratuslab.local.store.volumes import Volumes

    kept = Volumes(store)
    # All that can be said against it is said before the first is gone.
    doomed = [kept.deletable(uuid) for uuid in dict.fromkeys(session.options.uuids)]
    named = ", ".join(f"{volume.uuid} ({one_line(volume.name)})" if volume.name else volume.uuid for volume in doomed)
    question = f"Delete the volume{'s' if len(doomed) > 1 else ''} {named} with all data?"
    if not (session.options.yes or confirmed(session.environment, question, "give --yes")):
        raise StratusLabError("nothing was deleted, as it was not confirmed")
    for volume in doomed:
        try:
            kept.delete(volume.uuid)
        except NotFound:
            continue  # somebody else was faster
    yield from ()


_VERBS = {"list": _list, "create": _create, "delete": _delete}
