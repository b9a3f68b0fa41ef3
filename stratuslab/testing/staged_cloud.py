"""An embedded cloud whose machines are only acted: a test moves them by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stratuslab.local.engine.engine import Engine
from stratuslab.opennebula.states import Lcm


class Actors:
    """Machines that are only acted: each is where the test puts it, and has neither process nor SSH server."""

    def __init__(self) -> None:
        self.living: set[int] = set()
        self.halted: set[int] = set()  # those that were asked to shut down
        self.rebooted: set[int] = set()  # those that were asked to start again
        self.paused: set[int] = set()  # those that stand still

    def spawn(self, instance: int) -> None:
        self.living.add(instance)

    def alive(self, instance: int) -> bool:
        return instance in self.living

    def kill(self, instance: int) -> None:
        self.living.discard(instance)

    def halt(self, instance: int) -> None:
        self.halted.add(instance)
        self.living.discard(instance)

    def reboot(self, instance: int) -> None:
        self.rebooted.add(instance)

    def pause(self, instance: int) -> None:
        self.paused.add(instance)

    def resume(self, instance: int) -> None:
        self.paused.discard(instance)


class Stage:
    """An embedded cloud whose machines a test moves by hand, with the engine to do so."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time, environ: Mapping[str, str] | None = None) -> None:
        self.actors = Actors()
        # Without an environment this computer has no QEMU.
        self.engine = Engine(directory, self.actors, clock, environ or {"PATH": ""})

    def runs(self, instance: int) -> None:
        """The instance gets to RUNNING."""
        for step in (Lcm.PROLOG, Lcm.BOOT, Lcm.RUNNING):
            assert self.engine.machine_reached(instance, step)

    def polled(self, instance: int, cpu_percent: float, memory_kib: int) -> None:
        """The host reports what the instance uses."""
        self.engine.machine_used(instance, cpu_percent, memory_kib)

    def halts(self, instance: int) -> None:
        """The guest halts itself."""
        self.actors.living.discard(instance)
        self.engine.machine_ended(instance)
