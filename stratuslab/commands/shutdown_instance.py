"""stratus-shutdown-instance: shut instances down cleanly, and then release their resources."""

from __future__ import annotations

from stratuslab.commands.shared.action_command import ActionCommand

COMMAND = ActionCommand(
    prog="stratus-shutdown-instance",
    summary="Shut machines down cleanly, like pressing the power button, and then release their resources.",
    verb="shut down",
    done_message="Shutting down",
    act=lambda cloud, number, options: cloud.shut_down(number),
    goal="Done",
    goal_word="gone",
    wait_seconds=120.0,
    related=("stratus-kill-instance", "stratus-stop-instance"),
    examples="""examples:
  stratus-shutdown-instance 165 166                two machines by their ids
  stratus-shutdown-instance --input ids            those in the file "ids"
  stratus-shutdown-instance --all --interactive    asks for each one
""",
).command
