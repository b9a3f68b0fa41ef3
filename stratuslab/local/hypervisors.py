"""The hypervisors that this computer can run instances with."""

from __future__ import annotations

from collections.abc import Mapping

from stratuslab.local.machine import Hypervisor
from stratuslab.local.simulated import Simulated

DEFAULT = "simulated"


def hypervisors() -> Mapping[str, Hypervisor]:
    """The hypervisors by name. To make one is cheap; what it needs is loaded when its first machine is prepared."""
    known: list[Hypervisor] = [Simulated()]
    return {hypervisor.name: hypervisor for hypervisor in known}
