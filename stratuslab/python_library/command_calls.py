"""Runs commands on behalf of a program: keyword arguments become the command's options, and its results come back."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from stratuslab.cloud.client import Cloud
from stratuslab.commands.command_declaration import Command
from stratuslab.commands.session import Session
from stratuslab.commands.shared import parallel
from stratuslab.commands.shared.option_values import any_state
from stratuslab.commands.shared.waiting import Waited, wait
from stratuslab.environment import Environment
from stratuslab.errors import UsageError
from stratuslab.python_library.log_messages import LogMessages
from stratuslab.python_library.python_hints import ARGUMENTS
from stratuslab.results import Result


class CommandSessions:
    """The sessions of one program with one cloud. ``given`` are the settings that the program gave, by their key; the others
    come from the environment and the configuration, as for the commands."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {key: value for key, value in given.items() if value}
        self._messages = LogMessages()

    @cached_property
    def base(self) -> Session:
        """A session without options of a command."""
        return self._opened(argparse.Namespace())

    @property
    def cloud(self) -> Cloud:
        """The client of the cloud, which all sessions share."""
        return self.base.cloud

    def close(self) -> None:
        """Let connections go; whatever is asked next opens them again."""
        self.__dict__.pop("base", None)

    def session(self, command: Command, arguments: Mapping[str, object], words: Sequence[str] = ()) -> Session:
        """A session of the command. Raises UsageError for a value that the command does not take."""
        parsed = command.parser().parse_args([*_options(arguments), "--", *words], argparse.Namespace(command=[]))
        session = self._opened(parsed)
        session.cloud = self.cloud
        return session

    def results(self, command: Command, arguments: Mapping[str, object], words: Sequence[str] = ()) -> list[Result]:
        """Run the command to its end; its results."""
        return list(results(command, self.session(command, arguments, words)))

    def wait(self, numbers: Sequence[int], state: str, timeout: float, *, asked_for: bool = False) -> Waited:
        """Wait for machines; what became of each. ``asked_for`` says that the cloud was asked for the state just now. Raises
        UsageError."""
        try:
            goal = any_state(state)
        except argparse.ArgumentTypeError as error:
            raise UsageError(str(error)) from None
        with parallel.signals_left_alone():
            return wait(self.base, numbers, goal, timeout, asked_for=asked_for)

    def _opened(self, options: argparse.Namespace) -> Session:
        for key, value in self._given.items():
            setattr(options, key, value)
        # Without streams: a program is never asked for a password.
        return Session(options, Environment(None, None, None, os.environ), self._messages)


def results(command: Command, session: Session) -> Iterator[Result]:
    """Run the command in a session; its results. Signals are the program's own."""
    with parallel.signals_left_alone():
        yield from command.run(session)


def _options(arguments: Mapping[str, object]) -> Iterator[str]:
    for name, value in arguments.items():
        option = f"--{ARGUMENTS.get(name, name).replace('_', '-')}"
        if value is True:
            yield option
        elif value is False and name == "verify_image":  # it can be a setting, too
            yield "--no-verify-image"
        elif isinstance(value, Mapping):
            yield from (f"{option}={key}={text}" for key, text in value.items())
        elif isinstance(value, (list, tuple)):
            yield from (f"{option}={one}" for one in value)
        elif value is not None and value is not False and value != "":
            yield f"{option}={value}"
