"""The hypervisors that this computer can run instances with, and which of them an instance is for.

Machines are real where QEMU is there and their image can boot, and simulated elsewhere. A template may ask for one of both by
``HYPERVISOR = "qemu"`` in its SCHED_REQUIREMENTS, as OpenNebula has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stratuslab.local.store.instance_record import QEMU, SIMULATED

if TYPE_CHECKING:
    from stratuslab.local.engine.disk_allocation import DiskAllocation
    from stratuslab.local.machines.driver import Hypervisor

VARIABLE = "STRATUSLAB_HYPERVISOR"
"""What is asked for where a template says nothing."""

_ASKED = re.compile(r"\bHYPERVISOR\s*=+\s*[\"']?(\w+)", re.IGNORECASE)
# OpenNebula's hosts with QEMU call themselves kvm, or qemu where they emulate.
_NAMES = {"qemu": QEMU, "kvm": QEMU, "simulated": SIMULATED}


def hypervisor(name: str, environ: Mapping[str, str]) -> Hypervisor:
    """The hypervisor of that name. To make one is cheap; what it needs is loaded when its first machine is prepared."""
    if name == QEMU:
        from stratuslab.local.machines.qemu.qemu_driver import Qemu

        return Qemu(environ)
    from stratuslab.local.machines.simulated.simulated_driver import Simulated

    return Simulated()


class Hypervisors:
    """The choice among them. ``environ`` tells where programs are, and what is asked for where a template does not."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def choose(self, requirements: str, disks: DiskAllocation) -> tuple[str, str]:
        """The hypervisor for an instance, and why it cannot run there all the same; empty where it can."""
        match = _ASKED.search(requirements)
        asked = _NAMES.get((match[1] if match else self._environ.get(VARIABLE, "")).lower(), "")
        if (asked or (QEMU if disks.boots else SIMULATED)) == SIMULATED:
            return SIMULATED, disks.missing
        missing = self.missing()
        if missing and not asked:
            return SIMULATED, disks.missing
        lacking = "" if disks.fetchable else disks.missing
        return QEMU, missing or lacking or ("" if disks.boots else _empty(disks))

    def missing(self) -> str:
        """Why real machines cannot be had on this computer; empty where they can."""
        from stratuslab.local.machines.qemu.qemu_driver import PROGRAM, find

        return "" if find(self._environ) else f"there is no {PROGRAM} on this computer"

    def described(self, asked: str = "") -> str:
        """What runs machines, and why, in words; ``asked`` is what requests ask for, if anything."""
        missing = self.missing()
        name = _NAMES.get((asked or self._environ.get(VARIABLE, "")).lower(), "")
        if missing and name == QEMU:
            return f"qemu, as is asked for, but {missing}"
        if missing or name == SIMULATED:
            return f"simulated ({missing or 'as is asked for'})"
        from stratuslab.local.machines.qemu.qemu_driver import described

        which = "as is asked for" if name else "simulated for images that cannot boot"
        return f"qemu ({described(self._environ)}), {which}"


def _empty(disks: DiskAllocation) -> str:
    what = f"image {disks.image}" if disks.image else "first disk"
    return f"nothing is known to be on the {what}, so that a real machine cannot boot it"
