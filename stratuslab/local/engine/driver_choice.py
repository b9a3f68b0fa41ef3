"""Chooses the driver of an instance: QEMU if it is installed and the image can boot, else the simulated one.

A template can request one by ``HYPERVISOR = "qemu"`` in its SCHED_REQUIREMENTS, as in OpenNebula.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stratuslab.local.store.instance_record import QEMU, SIMULATED

if TYPE_CHECKING:
    from stratuslab.local.engine.disk_allocation import DiskAllocation
    from stratuslab.local.machines.driver import Driver

VARIABLE = "STRATUSLAB_HYPERVISOR"
"""The default for templates that request none."""

_REQUESTED = re.compile(r"\bHYPERVISOR\s*=+\s*[\"']?(\w+)", re.IGNORECASE)
# OpenNebula's hosts with QEMU are named kvm, or qemu if they emulate.
_NAMES = {"qemu": QEMU, "kvm": QEMU, "simulated": SIMULATED}


def driver(name: str, environ: Mapping[str, str]) -> Driver:
    """The driver of that name."""
    if name == QEMU:
        from stratuslab.local.machines.qemu.qemu_driver import QemuDriver

        return QemuDriver(environ)
    from stratuslab.local.machines.simulated.simulated_driver import SimulatedDriver

    return SimulatedDriver()


class DriverChoice:
    """Chooses among the drivers; ``environ`` has the PATH and the default choice."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def choose(self, requirements: str, disks: DiskAllocation) -> tuple[str, str]:
        """The hypervisor for an instance, and why its prolog must fail; empty if it need not."""
        match = _REQUESTED.search(requirements)
        requested = _NAMES.get((match[1] if match else self._environ.get(VARIABLE, "")).lower(), "")
        if (requested or (QEMU if disks.boots else SIMULATED)) == SIMULATED:
            return SIMULATED, disks.missing
        missing = self.missing()
        if missing and not requested:
            return SIMULATED, disks.missing
        lacking = "" if disks.fetchable else disks.missing
        return QEMU, missing or lacking or ("" if disks.boots else _empty(disks))

    def missing(self) -> str:
        """Why this computer cannot run real machines; empty if it can."""
        from stratuslab.local.machines.qemu.qemu_driver import PROGRAM, find_qemu

        return "" if find_qemu(self._environ) else f"{PROGRAM} is not installed on this computer"

    def described(self, requested: str = "") -> str:
        """The hypervisor and the reason for it, in words; ``requested`` is what requests ask for, if anything."""
        missing = self.missing()
        name = _NAMES.get((requested or self._environ.get(VARIABLE, "")).lower(), "")
        if missing and name == QEMU:
            return f"qemu, as requested, but {missing}"
        if missing or name == SIMULATED:
            return f"simulated ({missing or 'as requested'})"
        from stratuslab.local.machines.qemu.qemu_driver import described

        which = "as requested" if name else "simulated for images that cannot boot"
        return f"qemu ({described(self._environ)}), {which}"


def _empty(disks: DiskAllocation) -> str:
    what = f"image {disks.image}" if disks.image else "first disk"
    return f"the {what} has no known content, so a real machine cannot boot from it"
