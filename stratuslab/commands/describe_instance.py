"""stratus-describe-instance: the state of the user's instances."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from stratuslab.commands.command_declaration import WAIT_TIMEOUT, Command, add_wait_timeout
from stratuslab.commands.session import Session
from stratuslab.commands.shared.instance_argument import select
from stratuslab.commands.shared.instance_rows import all_details, by_id, listed, rows_of, shows_details
from stratuslab.commands.shared.option_values import any_state, interval, whole_number
from stratuslab.commands.shared.parallel import all_of, report
from stratuslab.environment import is_terminal
from stratuslab.errors import NotFound, StratusLabError, Unreachable, UsageError
from stratuslab.opennebula.numeric_constants import LARGEST_ID, Owner, PoolState
from stratuslab.output.redaction import masked_text
from stratuslab.output.result_columns import INSTANCES
from stratuslab.output.safe_text import harmless
from stratuslab.results import InstanceRow, Listing, Result, TextLine, WatchedInstances

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud

_REQUEST_AGE = 7 * 24 * 3600.0  # seconds; older instances are not searched for --request


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", nargs="*", metavar="ID or NAME", help="machines to show (default: all that are not Done)")
    add = parser.add_argument_group("table").add_argument
    add("-n", "--no-dns", action="store_true", help="show addresses instead of host names")
    add(
        "--watch",
        nargs="?",
        type=interval,
        const=2.0,
        metavar="S",
        help="repeat every S seconds (default 2) until nothing can change",
    )
    which = parser.add_argument_group("machines")
    which.add_argument("--all-states", action="store_true", help="include those that are Done")
    add = which.add_mutually_exclusive_group().add_argument
    add("-a", "--all-users", action="store_true", help="include other users' machines that you may see")
    add("--user-id", type=whole_number(0, LARGEST_ID), metavar="ID", help="machines of the user with this id")
    add = which.add_argument
    add("--request", metavar="TOKEN", help="machines that stratus-run-instance may have started, by its token")
    add("-m", "--all-sections", action="store_true", help="machines on all clouds in the configuration")
    waits = parser.add_argument_group("waiting")
    waits.add_argument("--wait-for", type=any_state, metavar="STATE", help='wait for this state, or for "ssh"')
    add_wait_timeout(waits)
    console = parser.add_argument_group("console")
    console.add_argument("--console", metavar="ID", help="show the console of a machine of the embedded cloud")


def _run(session: Session) -> Iterator[Result]:
    options = session.options
    has_console = options.console is not None
    if options.all_sections and (options.instances or options.wait_for):
        raise UsageError("--all-sections cannot be combined with ids, names or --wait-for")
    if options.all_sections and options.endpoint:
        raise UsageError("--all-sections cannot be combined with --endpoint")
    if has_console and (options.all_sections or options.instances):
        raise UsageError("--console cannot be combined with other machines or --all-sections")
    if has_console + bool(options.wait_for) + bool(options.watch) > 1:
        raise UsageError("--console, --wait-for and --watch cannot be combined")
    if options.request and (has_console or options.all_sections or options.instances or options.wait_for or options.watch):
        raise UsageError("--request cannot be combined with other machines, --all-sections, --console, --wait-for or --watch")
    if has_console:
        yield from _console(session)
    elif options.wait_for:
        yield from _awaited(session)
    elif options.request:
        yield from _requested(session)
    elif options.watch:
        yield from _watched(session)
    else:
        found, errors, read = _found(session)
        if read:
            yield from _shown(session, found)
        report(session.messages, errors, read, "clouds" if options.all_sections else "machines")


def _found(session: Session) -> tuple[list[InstanceRow], list[StratusLabError], int]:
    """The instances that the options name, the errors of instances or clouds that cannot be read, and how many could be."""
    if session.options.all_sections:
        sections = session.settings.cloud_sections
        clouds, unread = all_of(lambda section: _all(session, session.cloud_of(section), section), sections)
        errors = [error.replaced(f"[{section}] {error.message}") for section, error in unread.items()]
        return list(chain.from_iterable(clouds.values())), errors, len(clouds)
    if session.options.instances:
        numbers, errors = select(session.cloud, session.options.instances, _owner(session))
        instances, lost = all_of(session.cloud.instance, numbers)
        return list(rows_of(session, instances.values())), [*errors, *lost.values()], len(instances)
    return _all(session, session.cloud), [], 1


def _all(session: Session, cloud: Cloud, name: str = "") -> list[InstanceRow]:
    """The rows of all of the owner's instances on a cloud, which is named where several are shown."""
    return sorted(rows_of(session, listed(session, cloud, _owner(session), _states(session)), name), key=by_id)


def _states(session: Session) -> int:
    """Those that are Done are listed if they are asked for, by the option or by a filter."""
    filters = session.output.filters
    done = any(one.column.name == "state" and one.operator == "=" and one.operand.lower() == "done" for one in filters)
    return PoolState.ANY if session.options.all_states or done else PoolState.NOT_DONE


def _shown(session: Session, found: Sequence[InstanceRow]) -> Iterator[Result]:
    """The table, and with -vv a block for each instance."""
    rows = _with_names(session, found, {})
    for row in rows if session.messages.level < 1 else ():
        if row.instance is not None and row.instance.damage:
            session.messages.note(f"cannot show machine {row.id}: the cloud's description of it is not well-formed")
    yield Listing(rows, detailed=shows_details(session))
    yield from all_details(session, session.output.selected(rows))


def _requested(session: Session) -> Iterator[Result]:
    """The instances of a request, of which the answer may have been lost."""
    found = session.cloud.of_request(session.options.request, _REQUEST_AGE)
    if not found:
        raise NotFound(f'no machine was started by the request "{session.options.request}"')
    yield from _shown(session, sorted(rows_of(session, found), key=by_id))


def _awaited(session: Session) -> Iterator[Result]:
    """The instances once all have reached the state, or cannot reach it any more."""
    from stratuslab.commands.shared import waiting

    wait_timeout = session.settings.wait_timeout(WAIT_TIMEOUT)
    begin = time.monotonic()
    numbers, errors = waiting.patiently(session, lambda: _selected(session), wait_timeout)
    left = max(begin + wait_timeout - time.monotonic(), 0.0)
    waited = waiting.wait(session, numbers, session.options.wait_for, left)
    found = waited.seen(numbers)
    if found or not numbers:
        yield from _shown(session, list(rows_of(session, found)))
    report(session.messages, [*errors, *waited.errors.values()], len(waited.reached), "machines")


def _selected(session: Session) -> tuple[list[int], list[StratusLabError]]:
    """The ids of the requested instances (default: all), and an error for each word without one."""
    if session.options.instances:
        return select(session.cloud, session.options.instances, _owner(session))
    return sorted(instance.id for instance in session.cloud.instances(_owner(session))), []


def _watched(session: Session) -> Iterator[Result]:
    """The table again and again, where nobody sees a terminal only if it differs, until none of the instances can change by
    itself: all are done, failed, or put aside.

    Each time the cloud may be unreachable for as long as commands wait. One of several clouds that cannot be read is named, and
    the others are shown; its error is raised at the end.
    """
    from stratuslab.commands.shared.waiting import patiently
    from stratuslab.opennebula.states import Phase

    if session.output.format != "table":
        raise UsageError(f"--watch cannot be combined with --format {session.output.format}", "it shows tables")
    last: list[tuple[object, ...]] | None = None
    names: dict[str, str] = {}
    live = is_terminal(session.environment.stdout)
    seconds = session.settings.wait_timeout(WAIT_TIMEOUT)
    complete = time.monotonic()
    while True:
        found, errors = patiently(session, lambda: _now(session), seconds, known=last is not None)
        rows = session.output.selected(_with_names(session, found, names))
        for error in errors:
            session.messages.note(str(error))
        away = any(isinstance(error, Unreachable) for error in errors)
        if not away:
            complete = time.monotonic()
        seen = [_seen(row) for row in rows]
        if live or seen != last:
            yield WatchedInstances(rows)
        last = seen
        settled = all(row.instance is not None and row.instance.phase == Phase.AWAY for row in rows)
        if settled and (not away or time.monotonic() - complete > seconds):
            return report(session.messages, errors, 1, "clouds")
        time.sleep(session.options.watch)


def _now(session: Session) -> tuple[list[InstanceRow], list[StratusLabError]]:
    """The instances as they are now, and the errors of clouds that cannot be read while others can. Raises the first of any other
    errors, also where only one of several instances cannot be read."""
    found, errors, read = _found(session)
    if errors and not (session.options.all_sections and read):
        raise errors[0]
    return found, errors


def _seen(row: InstanceRow) -> tuple[object, ...]:
    """What the table shows of a row, without what only time changes."""
    cpu = None if row.cpu_percent is None else f"{row.cpu_percent:.0f}"
    return (row.cloud, row.id, row.state, row.vcpu, row.memory_kib, cpu, *row.places, row.name, row.note)


def _console(session: Session) -> Iterator[Result]:
    from stratuslab.connections import console

    numbers, errors = select(session.cloud, [session.options.console], _owner(session))
    if errors:
        raise errors[0]
    for line in console(session.settings, session.environment, numbers[0]):
        yield TextLine(harmless(masked_text(line)))


def _owner(session: Session) -> int:
    user: int | None = session.options.user_id
    if user is not None:
        return user
    return Owner.ALL if session.options.all_users else Owner.MINE


def _with_names(session: Session, rows: Sequence[InstanceRow], known: dict[str, str]) -> Sequence[InstanceRow]:
    """The rows with host names instead of addresses; ``known`` has those looked up so far, and gets the new ones."""
    if session.options.no_dns:
        return rows
    from stratuslab.commands.shared.reverse_dns import host_names

    new = {address for row in rows for address in row.places} - known.keys()
    names = host_names(new, session.environment.reverse_lookup)
    known.update((address, names.get(address, address)) for address in new)
    return [row._replace(places=[known[address] for address in row.places]) for row in rows]


COMMAND = Command(
    "stratus-describe-instance",
    "Show the state of your machines.",
    _add_arguments,
    _run,
    related=("stratus-connect-instance", "stratus-run-instance"),
    epilog="""examples:
  stratus-describe-instance                           all of yours
  stratus-describe-instance -v 165                    why did 165 fail?
  stratus-describe-instance --filter label=test --format ids
                                                      ids, for a script
""",
    rows=lambda options: INSTANCES,
    waits=lambda options: bool(options.wait_for),
)
