"""stratus-describe-instance: the state of all of the user's instances, or of some."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from stratuslab.answers import Answer, InstanceRow, InstanceTable
from stratuslab.cloud.client import Cloud
from stratuslab.commands.base import Command, Session, add_cloud_options
from stratuslab.commands.host_names import host_names
from stratuslab.commands.selection import LARGEST_ID, select
from stratuslab.commands.side_by_side import in_order, report
from stratuslab.commands.validate import whole_number
from stratuslab.errors import UsageError
from stratuslab.opennebula.instance import Instance
from stratuslab.opennebula.numbers import Owner
from stratuslab.output.columns import INSTANCES


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", nargs="*", metavar="ID or NAME", help="instances to show (default: all that are not done)")
    group = parser.add_argument_group("table")
    group.add_argument("-n", "--no-dns", action="store_true", help="show addresses, do not look up host names")
    which = parser.add_argument_group("instances")
    which.add_argument("-a", "--all-users", action="store_true", help="those of other users too, as far as you may see them")
    which.add_argument("--user-id", type=whole_number(0, LARGEST_ID), metavar="ID", help="those of the user with this number")
    which.add_argument("-m", "--all-sections", action="store_true", help="those on all clouds in the configuration's sections")
    add_cloud_options(parser)


def _run(session: Session) -> Iterator[Answer]:
    options = session.options
    if options.all_sections:
        if options.instances:
            raise UsageError("--all-sections shows all instances of all clouds, and takes no ids or names")
        yield from _on_all_clouds(session)
    elif options.instances:
        yield from _some(session)
    else:
        instances = _listed(session.cloud, _owner(session))
        yield InstanceTable(_rows(session, {"": instances}))


def _some(session: Session) -> Iterator[Answer]:
    """The instances that were asked for, in their order; what could not be read is reported at the end."""
    numbers, errors = select(session.cloud, session.options.instances, _owner(session))
    outcomes = list(in_order(session.cloud.instance, numbers))
    found = [outcome.value for outcome in outcomes if outcome.value is not None]
    if found:
        yield InstanceTable(_rows(session, {"": found}))
    report(session.talk, [*errors, *(outcome.error for outcome in outcomes if outcome.error)], len(found), "instances")


def _on_all_clouds(session: Session) -> Iterator[Answer]:
    """The instances on the cloud of each section; one that is down hides no other."""
    owner = _owner(session)
    found: dict[str, list[Instance]] = {}
    errors = []
    for outcome in in_order(lambda section: _listed(session.cloud_of(section), owner), session.settings.cloud_sections):
        if outcome.value is not None:
            found[outcome.item] = outcome.value
        elif outcome.error is not None:
            outcome.error.message = f"[{outcome.item}] {outcome.error.message}"
            errors.append(outcome.error)
    if found:
        yield InstanceTable(_rows(session, found))
    report(session.talk, errors, len(found), "clouds")


def _owner(session: Session) -> int:
    user: int | None = session.options.user_id
    if user is not None:
        return user
    return Owner.ALL if session.options.all_users else Owner.MINE


def _listed(cloud: Cloud, owner: int) -> list[Instance]:
    return sorted(cloud.instances(owner), key=lambda instance: instance.id)


def _rows(session: Session, found: Mapping[str, Sequence[Instance]]) -> list[InstanceRow]:
    """The rows of the instances on each cloud (without a name where only one is asked)."""
    addresses = {address for instances in found.values() for instance in instances for address in instance.addresses}
    names = {} if session.options.no_dns else host_names(addresses, session.context.reverse_lookup)
    return [InstanceRow.of(instance, names, cloud) for cloud, instances in found.items() for instance in instances]


COMMAND = Command(
    "stratus-describe-instance",
    "Show the state of all of your instances, or of some.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] [ID or NAME ...]",
    epilog="""examples:
  stratus-describe-instance                           all of yours
  stratus-describe-instance -v 165                    why did 165 fail?
  stratus-describe-instance --filter label=test --format ids
                                                      ids, for a script
""",
    rows=lambda options: INSTANCES,
)
