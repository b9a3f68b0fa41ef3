"""stratus-stop-instance: power instances off; they keep their disks and addresses."""

from __future__ import annotations

from stratuslab.commands.shared.action_command import ActionCommand

COMMAND = ActionCommand(
    prog="stratus-stop-instance",
    summary="Power machines off. They keep their disks and addresses, and stratus-start-instance starts them again.",
    verb="stop",
    done_message="Stopping",
    act=lambda cloud, number, options: cloud.stop(number, hard=options.hard),
    goal="Poweroff",
    goal_word="off",
    wait_seconds=120.0,
    add_options=lambda add: add("--hard", action="store_true", help="do not ask the guest: like pulling the power cord"),
    related=("stratus-start-instance", "stratus-shutdown-instance"),
    examples="""examples:
  stratus-stop-instance 165 web1                   by id and by name
  stratus-stop-instance --hard 165                 one that does not react
  stratus-stop-instance --all --filter label=night --yes
                                                   all with a label
""",
).command
