"""stratus-kill-instance: stop instances immediately and release their resources."""

from __future__ import annotations

from stratuslab.commands.shared.action_command import ActionCommand

COMMAND = ActionCommand(
    prog="stratus-kill-instance",
    summary="End machines immediately, like pulling the power cord, and release their resources.",
    verb="kill",
    done_message="Killed",
    act=lambda cloud, number, options: cloud.kill(number),
    goal="Done",
    related=("stratus-shutdown-instance", "stratus-stop-instance"),
    examples="""examples:
  stratus-kill-instance 165 166                    two machines by their ids
  stratus-kill-instance --input ids                those in the file "ids"
  stratus-kill-instance --all --filter label=test --dry-run
                                                   what that would kill
""",
).command
