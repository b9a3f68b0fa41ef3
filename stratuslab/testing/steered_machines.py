"""Machines that run by themselves until a test puts one into a state."""

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
