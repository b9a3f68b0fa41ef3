"""stratus-update-instance: change the name and the labels of instances."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from stratuslab.commands.shared.action_command import ActionCommand
from stratuslab.commands.shared.option_values import label, machine_name
from stratuslab.errors import UsageError

if TYPE_CHECKING:
    from stratuslab.cloud.client import Cloud


def _add_options(add: Callable[..., object]) -> None:
    add("--name", type=machine_name, metavar="NAME", help="give the machine this name")
    add("--label", action="append", type=label, metavar="KEY", help="add a label")
    add("--remove-label", action="append", metavar="KEY", help="remove a label")


def _check_options(options: argparse.Namespace) -> None:
    if options.name is None and not options.label and not options.remove_label:
        raise UsageError("nothing to change", "use --name, --label or --remove-label")
    if options.name is not None and (options.all or len(options.instances) > 1):
        raise UsageError("--name is for one machine: several would have the same name")


def _update(cloud: Cloud, number: int, options: argparse.Namespace) -> None:
    if options.name is not None:
        cloud.rename(number, options.name)  # first: the cloud may refuse the name
    if options.label or options.remove_label:
        before = cloud.instance(number).labels
        after = [one for one in dict.fromkeys([*before, *options.label]) if one not in options.remove_label]
        if after != list(before):
            cloud.set_labels(number, after)


COMMAND = ActionCommand(
    prog="stratus-update-instance",
    summary="Change the name and the labels of machines.",
    verb="update",
    done_message="Updated",
    act=_update,
    add_options=_add_options,
    check_options=_check_options,
    related=("stratus-describe-instance",),
    examples="""examples:
  stratus-update-instance 165 --name web1          a name instead of "one-165"
  stratus-update-instance 165 166 --label night --remove-label test
                                                   labels of several
""",
).command
