"""stratus-shutdown-instance: let instances stop cleanly, and release all that they have once they did."""

from __future__ import annotations

from stratuslab.commands.shared.terminate import Ending

COMMAND = Ending(
    prog="stratus-shutdown-instance",
    summary="Let instances stop cleanly, as their power button does, and release all that they have once they did.",
    verb="shut down",
    told="Asked to shut down:",
    act=lambda cloud, number: cloud.shut_down(number),
    patience=120.0,
    examples="""examples:
  stratus-shutdown-instance 165 166                two instances by their ids
  stratus-shutdown-instance --input ids            those that run --output wrote
  stratus-shutdown-instance --all --interactive    asks for each one
""",
).command
