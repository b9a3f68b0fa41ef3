"""Machines that a test puts into states: they run by themselves until then, or are only acted."""

from __future__ import annotations

from stratuslab.local.machines.driver import SupervisorControl


class SteeredMachines:
    """Implements SupervisorControl on another one. A ``held`` machine has no process, and counts as alive until it is ended."""

    def __init__(self, machines: SupervisorControl) -> None:
        self._machines = machines
        self.held: set[int] = set()

    def spawn(self, instance: int) -> None:
        self.held.discard(instance)
        self._machines.spawn(instance)

    def alive(self, instance: int) -> bool:
        return instance in self.held or self._machines.alive(instance)

    def kill(self, instance: int) -> None:
        self.held.discard(instance)
        self._machines.kill(instance)

    def halt(self, instance: int) -> None:
        self.held.discard(instance)
        self._machines.halt(instance)

    def reboot(self, instance: int) -> None:
        if instance not in self.held:
            self._machines.reboot(instance)

    def pause(self, instance: int) -> None:
        if instance not in self.held:
            self._machines.pause(instance)

    def resume(self, instance: int) -> None:
        if instance not in self.held:
            self._machines.resume(instance)


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
