"""stratus-start-instance: start instances that were stopped, suspended, or lost by their host."""

from __future__ import annotations

from stratuslab.commands.shared.action_command import ActionCommand

COMMAND = ActionCommand(
    prog="stratus-start-instance",
    summary="Start machines again that were stopped or suspended, or that their host no longer sees (Unknown).",
    verb="start",
    done_message="Starting",
    act=lambda cloud, number, options: cloud.start(number),
    goal="Running",
    goal_word="running",
    wait_seconds=120.0,
    related=("stratus-stop-instance", "stratus-connect-instance"),
    examples="""examples:
  stratus-start-instance 165 web1                  by id and by name
  stratus-start-instance --all --filter state=poweroff
                                                   all that are powered off
""",
).command
