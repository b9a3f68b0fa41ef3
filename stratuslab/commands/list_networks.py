"""stratus-list-networks: show the networks that machines can be in."""

from __future__ import annotations

from collections.abc import Iterator

from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.output.image_columns import NETWORKS
from stratuslab.results import Listing, Result


def _run(session: Session) -> Iterator[Result]:
    yield Listing(session.cloud.networks())


COMMAND = Command(
    "stratus-list-networks",
    "Show the networks that stratus-run-instance --network takes, and how many addresses are free.",
    lambda parser: None,
    _run,
    related=("stratus-run-instance",),
    epilog="""examples:
  stratus-list-networks                       what --network takes
  stratus-list-networks --filter 'free>0'     those with free addresses
""",
    rows=lambda options: NETWORKS,
)
