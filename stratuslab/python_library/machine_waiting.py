"""Waits for the machines of a program, as the commands do."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Sequence

from stratuslab.commands.shared import parallel
from stratuslab.commands.shared.option_values import any_state
from stratuslab.commands.shared.waiting import Waited, wait
from stratuslab.errors import UsageError
from stratuslab.python_library.command_sessions import CommandSessions


def wait_for(sessions: CommandSessions, numbers: Sequence[int], state: str, timeout: float, *, asked_for: bool = False) -> Waited:
    """What became of each machine. ``asked_for`` says that the cloud was asked for the state just now. Raises UsageError."""
    try:
        goal = any_state(state)
    except ArgumentTypeError as error:
        raise UsageError(str(error)) from None
    with parallel.signals_left_alone():
        return wait(sessions.base, numbers, goal, timeout, asked_for=asked_for)
