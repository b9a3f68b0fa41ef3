"""What can be waited for: the values of --wait-for."""

from __future__ import annotations

import argparse

SSH = "Ssh"
"""The goal that is no state: a machine that answers by SSH."""

ON_THE_WAY = ("Pending", "Prolog", "Boot", "Running")
"""States that an instance passes by itself: who waits for one is content with those behind it."""

PATIENCE = 600.0
"""Seconds to wait where --wait-timeout says nothing else."""


def running_or_ssh(text: str) -> str:
    """``running`` or ``ssh``, the states in which a machine is ready; as a goal."""
    if text.lower() not in ("running", "ssh"):
        raise argparse.ArgumentTypeError(f'"{text}" is neither "running" nor "ssh"')
    return text.title()


def any_state(text: str) -> str:
    """``ssh``, or a state as the table shows it, in any case; as a goal."""
    from stratuslab.opennebula.states import Lcm, State

    label = text.replace("-", "_").title()
    known = {state.name.title() for state in (*State, *Lcm)} | {SSH}
    if label not in known:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no state, and not "ssh"; states are as the table shows them: Running, Done...'
        )
    return label
