"""stratus-describe-instance: the state of all of the user's instances, or of some."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from stratuslab.answers import Answer, InstanceRow, InstanceTable
from stratuslab.commands.base import Command, Session, add_cloud_options
from stratuslab.commands.host_names import host_names
from stratuslab.commands.selection import select
from stratuslab.commands.side_by_side import in_order, report
from stratuslab.opennebula.instance import Instance


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", nargs="*", metavar="ID or NAME", help="instances to show (default: all that are not done)")
    group = parser.add_argument_group("table")
    group.add_argument("-n", "--no-dns", action="store_true", help="show addresses, do not look up host names")
    add_cloud_options(parser)


def _run(session: Session) -> Iterator[Answer]:
    if not session.options.instances:
        yield InstanceTable(_rows(session, sorted(session.cloud.instances(), key=lambda instance: instance.id)))
        return
    numbers, errors = select(session.cloud, session.options.instances)
    outcomes = list(in_order(session.cloud.instance, numbers))
    found = [outcome.value for outcome in outcomes if outcome.value is not None]
    if found:
        yield InstanceTable(_rows(session, found))
    report(session.talk, [*errors, *(outcome.error for outcome in outcomes if outcome.error)], len(found), "instances")


def _rows(session: Session, instances: Sequence[Instance]) -> list[InstanceRow]:
    addresses = {address for instance in instances for address in instance.addresses}
    names = {} if session.options.no_dns else host_names(addresses, session.context.reverse_lookup)
    return [_row(instance, names) for instance in instances]


def _row(instance: Instance, names: Mapping[str, str]) -> InstanceRow:
    return InstanceRow(
        id=instance.id,
        state=instance.state_label,
        vcpu=instance.vcpu,
        memory_kib=instance.memory_kib,
        cpu_percent=instance.cpu_percent,
        places=[names.get(address, address) for address in instance.addresses],
        name=instance.name,
        note=instance.message,
    )


COMMAND = Command(
    "stratus-describe-instance",
    "Show the state of all of your instances, or of some.",
    _add_arguments,
    _run,
    usage="%(prog)s [options] [ID or NAME ...]",
)
