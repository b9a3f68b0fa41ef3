"""The commands that act on instances: they select them, ask for confirmation, act, wait if asked to, and report on each."""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.commands.command_declaration import Command, add_wait_timeout
from stratuslab.commands.session import Session
from stratuslab.commands.shared.instance_argument import select
from stratuslab.commands.shared.instance_rows import by_id, listed, rows_of
from stratuslab.commands.shared.parallel import all_of, in_order, report
from stratuslab.commands.shared.terminal_questions import confirmed, require_yes
from stratuslab.errors import StratusLabError, UsageError
from stratuslab.output.result_columns import INSTANCES
from stratuslab.results import InstanceChanged, InstanceRow, Listing, Result

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud


class ActionCommand(NamedTuple):
    """A command that acts on instances: its verb, the message on success, and the call, which gets the options.

    ``goal`` is the state that the instances will be in (empty: the one they are in), ``goal_word`` what people call it, and
    ``wait_seconds`` how long to wait for it, 0 if it comes immediately. ``add_options`` gets the ``add_argument`` for the
    command's own options, and ``check_options`` raises UsageError if they make no sense.
    """

    prog: str
    summary: str
    verb: str
    done_message: str
    act: Callable[["Cloud", int, argparse.Namespace], None]
    examples: str
    related: Sequence[str] = ()
    goal: str = ""
    goal_word: str = ""
    wait_seconds: float = 0.0
    add_options: Callable[[Callable[..., object]], object] = lambda add: None
    check_options: Callable[[argparse.Namespace], object] = lambda options: None

    @property
    def command(self) -> Command:
        usage = "%(prog)s [options] ID or NAME ..."
        own = Command(self.prog, self.summary, self._add_arguments, self._run, self.related, self.examples, usage)
        return own._replace(rows=lambda options: INSTANCES, filters_choose=True, waits=self._waits)

    def _add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("instances", nargs="*", metavar="ID or NAME", help=f"machines to {self.verb}")
        add = parser.add_argument_group("machines").add_argument
        add("-i", "--input", action="append", metavar="FILE", help='file with an id or name on each line; "-" for standard input')
        add("--all", action="store_true", help="all of your machines, or those that match --filter")
        add("--yes", action="store_true", help="do not ask (required for --all without a terminal)")
        add("--interactive", action="store_true", help="ask before each machine")
        add("--dry-run", action="store_true", help="show the machines that it would act on, and exit")
        own = parser.add_argument_group("action")
        self.add_options(own.add_argument)
        if self.wait_seconds:
            own.add_argument("--no-wait", action="store_true", help=f"do not wait until they are {self.goal_word}")
            add_wait_timeout(own, self.wait_seconds)

    def _run(self, session: Session) -> Iterator[Result]:
        options = session.options
        self.check_options(options)
        seconds = session.settings.wait_timeout(self.wait_seconds) if self._waits(options) else None
        words = [*options.instances, *_listed(session)]
        if options.all and words:
            raise UsageError("--all cannot be combined with ids, names or --input")
        if not (options.all or words):
            raise UsageError("no machine given", f"see {self.prog} --help")
        numbers, errors = ([], []) if options.all else select(session.cloud, words)
        if options.all or options.dry_run or options.interactive or session.output.filters:
            rows = _rows(session, numbers, errors)
            if options.dry_run:
                yield Listing(rows)
                report(session.messages, errors, len(rows), "machines")
                return
            numbers = [row.id for row in rows if not options.interactive or self._wanted(session, row)]
            if options.all and rows and not (options.yes or options.interactive):
                which = f"{len(numbers)} of your machines ({', '.join(map(str, numbers))})"
                require_yes(session.environment, f"{self.verb.title()} {which}?")
        yield from self._acted(session, numbers, errors, seconds)

    def _waits(self, options: argparse.Namespace) -> bool:
        return bool(self.wait_seconds) and not options.no_wait

    def _wanted(self, session: Session, row: InstanceRow) -> bool:
        where = f", {', '.join(row.places)}" if row.places else ""
        question = f"{self.verb.title()} {row.id} ({row.name}, {row.state}{where})?"
        return confirmed(session.environment, question, "omit --interactive")

    def _acted(
        self, session: Session, numbers: Sequence[int], errors: list[StratusLabError], seconds: float | None
    ) -> Iterator[Result]:
        """Act on the instances and yield each, with ``seconds`` to wait when it has reached the goal; report the errors."""
        done = []
        for outcome in in_order(lambda number: self._changed(session, number, seconds is not None), numbers):
            if outcome.value is None:
                errors += [outcome.error] if outcome.error else []
                continue
            done.append(outcome.item)
            session.messages.step(f"{self.done_message} machine {outcome.item}")
            if seconds is None:
                yield InstanceChanged(outcome.value)
        if seconds is not None:
            from stratuslab.commands.shared.waiting import wait

            waited = wait(session, done, self.goal, seconds, asked_for=True)
            done = waited.reached
            for number in done:
                yield InstanceChanged(InstanceRow.of(waited.latest[number], session.environment.clock()))
            errors += waited.errors.values()
        if self.goal == "Done" and (seconds is not None or not self.wait_seconds):
            _forget_host_keys(session, done)
        report(session.messages, errors, len(done), "machines")

    def _changed(self, session: Session, number: int, is_waited_for: bool) -> InstanceRow:
        self.act(session.cloud, number, session.options)
        if is_waited_for or session.output.is_default or session.output.format == "ids":
            return InstanceRow(number)  # only the id is shown
        try:
            return InstanceRow.of(session.cloud.instance(number), session.environment.clock())
        except StratusLabError:
            return InstanceRow(number)


def _rows(session: Session, numbers: Sequence[int], errors: list[StratusLabError]) -> list[InstanceRow]:
    """The rows of the selected instances (all of the user's with ``--all``) that match ``--filter``."""
    if session.options.all:
        rows = sorted(rows_of(session, listed(session, session.cloud, shown=session.options.dry_run)), key=by_id)
    else:
        found, failed = all_of(session.cloud.instance, numbers)
        errors += failed.values()
        rows = list(rows_of(session, found.values()))
    return session.output.selected(rows)


def _forget_host_keys(session: Session, numbers: list[int]) -> None:
    """Of instances that will never come back."""
    home = session.environment.home
    path = home / ".stratuslab" / "known_hosts" if home else None
    if path is None or not path.exists():
        return
    from stratuslab.ssh.known_hosts import KnownHosts, host_key_alias

    try:
        KnownHosts(path).forget(*(host_key_alias(session.cloud.address, number) for number in numbers))
    except StratusLabError as error:
        session.messages.step(str(error))


def _listed(session: Session) -> list[str]:
    """The ids and names in the files of ``--input``; ``#`` starts a comment, blank lines are ignored."""
    from stratuslab.context_input import user_text

    words: list[str] = []
    for line in "\n".join(user_text(session.environment, name, "--input") for name in session.options.input).splitlines():
        text = re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip()  # a name may contain a #
        ids = text.split()
        # A name may contain blanks; several ids on a line are several ids.
        words += ids if all(word.isdigit() for word in ids) else [text]
    return words
