"""stratus-search-image: find images to start machines from."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.commands.shared.image_search import FoundImage, search, uses_marketplace
from stratuslab.commands.shared.option_values import date
from stratuslab.environment import is_terminal
from stratuslab.errors import NotFound
from stratuslab.marketplace.image_query import STATUSES, ImageQuery
from stratuslab.output.image_columns import CATALOGUE
from stratuslab.output.safe_text import word
from stratuslab.results import Listing, Result

_PORTION = 1000  # rows of a table that are lined up with each other
_FIRST_PORTION = 250  # so that somebody who waits sees them soon
_CRITERIA = ("os", "os_version", "arch", "endorser", "kind", "image_format", "tag")  # in the order of ImageQuery


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="words that must all be in the title, description, system or endorser"
    )
    add = parser.add_argument_group("search").add_argument
    add("--os", default="", metavar="NAME", help="operating system, such as ubuntu")
    add("--os-version", default="", metavar="V", help="its version; 12 also finds 12.5")
    add("--arch", default="", metavar="NAME", help="processor architecture, such as x86_64")
    add("-e", "--endorser", default="", metavar="EMAIL", help="endorser: the email or a part of it")
    add("--kind", default="", metavar="KIND", help="machine, or disk for data")
    add("--image-format", default="", metavar="FORMAT", help="format of the disk, such as qcow2")
    add("--tag", default="", help="the endorser's tag for the newest image of a kind")
    add("--since", type=date, metavar="DATE", help="only images endorsed on this day (2026-11-22) or later")
    add("--status", choices=STATUSES, default=STATUSES[0], help="valid (default), expired, deprecated or all")
    add("--marketplace-endpoint", metavar="URL", help="Marketplace to search")
    add("--no-cache", action="store_const", const="yes", help="neither use nor keep a catalogue on this computer")


def _run(session: Session) -> Iterator[Result]:
    options = session.options
    hits = search(session, ImageQuery(*(getattr(options, name) for name in ("words", *_CRITERIA, "since", "status"))))
    # What needs no order is printed as it arrives.
    portion = _PORTION if session.output.is_default else 1 if options.format != "table" and not options.sort else None
    rows = list(islice(hits, portion and min(portion, _FIRST_PORTION)))
    if not rows and options.format != "json":
        raise NotFound("no image matches", _loosen(session))
    yield Listing(rows)
    first_to_run = _first_to_run(rows)
    while portion and (rows := list(islice(hits, portion))):
        yield Listing(rows, continues=True)
        first_to_run = first_to_run or _first_to_run(rows)
    if first_to_run and is_terminal(session.environment.stdout):
        session.messages.note(f"start the first one with: stratus-run-instance {word(first_to_run)}")


def _first_to_run(rows: Sequence[FoundImage]) -> str:
    return next((hit.word for hit in rows if hit.word), "")


def _loosen(session: Session) -> str:
    """What to leave out."""
    options = session.options
    given = [f"--{name.replace('_', '-')}" for name in _CRITERIA if getattr(options, name)]
    given += ["--since"] if options.since else []
    where = session.marketplace.endpoint if uses_marketplace(session) else session.cloud.name
    if len(options.words) + len(given) > 1:
        return f"searched {where}; leave out {', '.join(given) or 'some words'}, or see --status all"
    tag = f"--tag {word(options.words[0])}, " if options.words else ""
    return f"searched {where}; try a shorter word, {tag}or --status all"


COMMAND = Command(
    "stratus-search-image",
    "Find images that machines can be started from.",
    _add_arguments,
    _run,
    related=("stratus-show-image", "stratus-run-instance"),
    epilog="""examples:
  stratus-search-image ttylinux                   by a word of the title
  stratus-search-image --os ubuntu --arch x86_64  by the system
  stratus-search-image --format ids --tag base    only what run-instance takes
""",
    rows=lambda options: CATALOGUE,
)
