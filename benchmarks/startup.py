"""How long commands take to start, as a ratio to Python itself in the same run (the machines are noisy, ratios are less so).

python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import requests": ["-c", "import requests"],
    "run-instance --help": [str(CHECKOUT / "bin/stratus-run-instance"), "--help"],
    "run-instance --list-types": [str(CHECKOUT / "bin/stratus-run-instance"), "--list-types"],
    "describe-instance (embedded cloud)": [str(CHECKOUT / "bin/stratus-describe-instance"), "-q"],
}


def seconds(arguments: list[str], environ: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environ, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as directory:
        environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "STRATUSLAB_LOCAL_DIR": directory, "HOME": directory}
        taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for _ in range(runs + 1):  # in turn, so that a slow moment hits all alike
            for name, arguments in COMMANDS.items():
                taken[name].append(seconds(arguments, environ))
    bare = statistics.median(taken["python -c pass"][1:])
    print(f"{'median of ' + str(runs):36} {'ms':>6}  ratio")
    for name, times in taken.items():
        median = statistics.median(times[1:])
        print(f"{name:36} {median * 1000:6.0f} {median / bare:6.1f}")


if __name__ == "__main__":
    main()
