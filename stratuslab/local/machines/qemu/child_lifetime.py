"""Child processes that end with this one, and what they use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, linux/prctl.h


def ends_with_us() -> Callable[[], None] | None:
    """What a child does before it becomes another program, so that it is killed with the thread that starts it.

    None where the system cannot: there such a child lives on when this process alone is killed.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    # All that can be done before the fork is: after it another thread's locks may be held for ever.
    prctl = ctypes.CDLL(None).prctl
    parent, kill = os.getpid(), int(signal.SIGKILL)

    def before_exec() -> None:
        prctl(_SET_PARENT_DEATH_SIGNAL, kill, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def used(process: int) -> tuple[float, int]:
    """Seconds of CPU that a process has used, and the KiB of memory that it has now; zeros when it has ended."""
    try:
        return _from_proc(process) if Path("/proc/self/stat").exists() else _from_ps(process)
    except (OSError, ValueError, IndexError):
        return 0.0, 0


def _from_proc(process: int) -> tuple[float, int]:
    place = Path("/proc", str(process))
    # proc(5): the name, in brackets, may hold anything; utime and stime are the 14th and 15th field.
    fields = (place / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
    pages = int((place / "statm").read_text("ascii").split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages * (os.sysconf("SC_PAGE_SIZE") // 1024)


def _from_ps(process: int) -> tuple[float, int]:
    said = subprocess.run(["ps", "-o", "time=,rss=", "-p", str(process)], capture_output=True, text=True, check=False)
    clock, memory = said.stdout.split()
    days, _, rest = clock.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = seconds * 60 + float(part)
    return int(days or 0) * 86400 + seconds, int(memory)
