"""stratus-reboot-instance: reboot instances."""

from __future__ import annotations

from stratuslab.commands.shared.action_command import ActionCommand

COMMAND = ActionCommand(
    prog="stratus-reboot-instance",
    summary="Ask the operating systems of machines to reboot.",
    verb="reboot",
    done_message="Rebooting",
    act=lambda cloud, number, options: cloud.reboot(number, hard=options.hard),
    add_options=lambda add: add("--hard", action="store_true", help="do not ask the guest: like the reset button"),
    related=("stratus-stop-instance", "stratus-connect-instance"),
    examples="""examples:
  stratus-reboot-instance 165 web1                 by id and by name
  stratus-reboot-instance --hard 165               one that does not react
""",
).command
