"""``python -m stratuslab``: lists the commands; ``python -m stratuslab run-instance IMAGE`` runs one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from stratuslab.commands import run
from stratuslab.commands.completion_scripts import MODULES, commands
from stratuslab.suggestion import did_you_mean

_PREFIX = "stratus-"


def main(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names, or list all; exit with its status."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print("usage: python3 -m stratuslab COMMAND [options]\n")
        for command in commands():
            print(f"  {command.prog.removeprefix(_PREFIX):19} {command.summary}")
        print("\nEach is also installed as a script of its own, such as stratus-run-instance, and has --help.")
        return
    name, *rest = arguments
    module = name.removeprefix(_PREFIX).replace("-", "_")
    if module not in MODULES:
        known = [known.replace("_", "-") for known in MODULES]
        suggestion = did_you_mean(name.removeprefix(_PREFIX), known) or "python3 -m stratuslab lists the commands"
        print(f'stratuslab: unknown command "{name}" ({suggestion})', file=sys.stderr)
        sys.exit(2)
    sys.argv[1:] = rest
    run(module)


if __name__ == "__main__":
    main(sys.argv[1:])
