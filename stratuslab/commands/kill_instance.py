"""stratus-kill-instance: stop instances at once and release all that they have."""

from __future__ import annotations

from stratuslab.commands.shared.terminate import Ending

COMMAND = Ending(
    prog="stratus-kill-instance",
    summary="Stop instances at once, like pulling the power cord, and release all that they have.",
    verb="kill",
    told="Killed",
    act=lambda cloud, number: cloud.kill(number),
    patience=0.0,
    examples="""examples:
  stratus-kill-instance 165 166                    two instances by their ids
  stratus-kill-instance --input ids                those that run --output wrote
  stratus-kill-instance --all --filter label=test --dry-run
                                                   what that would kill
""",
).command
