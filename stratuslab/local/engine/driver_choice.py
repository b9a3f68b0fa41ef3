"""Chooses the driver of an instance: QEMU if it is installed and the image can boot, else the simulated one.

A template can request one by ``HYPERVISOR = "qemu"`` in its SCHED_REQUIREMENTS, as in OpenNebula.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.local.store.stored_records import QEMU, SIMULATED

if TYPE_CHECKING:
    from stratuslab.local.engine.disk_allocation import DiskAllocation
    from stratuslab.local.machines.driver import Machine, MachineSpec

VARIABLE = "STRATUSLAB_HYPERVISOR"
"""The default for templates that request none."""

_REQUESTED = re.compile(r"\bHYPERVISOR\s*=+\s*[\"']?(\w+)", re.IGNORECASE)
# OpenNebula's hosts with QEMU are named kvm, or qemu if they emulate.
_NAMES = {"qemu": QEMU, "kvm": QEMU, "simulated": SIMULATED}


def new_machine(spec: MachineSpec, environ: Mapping[str, str]) -> Machine:
    """The machine of an instance, not started yet. Raises MachineError if QEMU is needed and not installed (any more)."""
    if spec.hypervisor != QEMU:
        from stratuslab.local.machines.simulated.simulated_machine import SimulatedMachine

        return SimulatedMachine(spec)
    from stratuslab.local.machines.driver import MachineError
    from stratuslab.local.machines.qemu.qemu_machine import QemuMachine
    from stratuslab.local.machines.qemu.qemu_program import PROGRAM, find_qemu

    program = find_qemu(environ)
    if program is None:
        raise MachineError(f"{PROGRAM} is not installed on this computer: install QEMU, or use simulated machines")
    return QemuMachine(spec, program, environ)


class Choice(NamedTuple):
    """A hypervisor; why the prolog must fail, and why it is simulated although its image can boot (both may be empty)."""

    hypervisor: str
    prolog_error: str
    simulated_because: str = ""


class DriverChoice:
    """Chooses among the drivers; ``environ`` has the PATH and the default choice."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def choose(self, requirements: str, disks: DiskAllocation) -> Choice:
        match = _REQUESTED.search(requirements)
        requested = _NAMES.get((match[1] if match else self._environ.get(VARIABLE, "")).lower(), "")
        if (requested or (QEMU if disks.boots else SIMULATED)) == SIMULATED:
            return Choice(SIMULATED, disks.missing)
        missing = self.missing()
        if missing and not requested:
            return Choice(SIMULATED, disks.missing, missing)
        lacking = "" if disks.fetchable else disks.missing
        what = f"image {disks.image}" if disks.image else "first disk"
        empty = "" if disks.boots else f"the {what} has no known content, so a real machine cannot boot from it"
        return Choice(QEMU, missing or lacking or empty)

    def missing(self) -> str:
        """Why this computer cannot run real machines; empty if it can."""
        from stratuslab.local.machines.qemu.qemu_program import PROGRAM, find_qemu

        return "" if find_qemu(self._environ) else f"{PROGRAM} is not installed on this computer"

    def described(self, requested: str = "") -> str:
        """The hypervisor and the reason for it, in words; ``requested`` is what requests ask for, if anything."""
        from stratuslab.local.machines.qemu.qemu_program import describe_qemu, find_qemu

        name = _NAMES.get((requested or self._environ.get(VARIABLE, "")).lower(), "")
        program = find_qemu(self._environ)
        if program is None and name == QEMU:
            return f"qemu, as requested, but {self.missing()}"
        if program is None or name == SIMULATED:
            return f"simulated ({'as requested' if program else self.missing()})"
        which = "as requested" if name else "simulated for images that cannot boot"
        return f"qemu ({describe_qemu(program)}), {which}"
