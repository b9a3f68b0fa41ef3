"""What the embedded cloud sees of QEMU: whether it is there, how it would run machines, and the machines that it makes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stratuslab.local.machines.driver import MachineSpec
    from stratuslab.local.machines.qemu.qemu_machine import QemuMachine

PROGRAM = "qemu-system-x86_64"


def find_qemu(environ: Mapping[str, str]) -> Path | None:
    """The QEMU on this environment's PATH. It is not started, so that every command can ask."""
    from shutil import which

    found = which(PROGRAM, path=environ.get("PATH", os.defpath))
    return Path(found).absolute() if found else None


def described(environ: Mapping[str, str]) -> str:
    """QEMU's version and what its machines run on, with the reason: ``QEMU 7.2.22, TCG: the processor has no vmx or svm``."""
    from stratuslab.local.machines.qemu.accelerator import choose

    installed = find_qemu(environ)
    if installed is None:
        return f"{PROGRAM} is not installed on this computer"
    return f"QEMU {_version(installed)}, {choose()}"


def _version(program: Path) -> str:
    import subprocess

    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "that does not start"
    match = re.search(r"version (\d[\w.]*)", said.stdout)
    return match[1] if match else "of unknown version"


class QemuDriver:
    """Makes real machines, see :class:`stratuslab.local.machines.driver.Driver`."""

    name = "qemu"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def make(self, spec: MachineSpec) -> QemuMachine:
        """The machine of an instance. Raises MachineError where QEMU is not on this computer (any more)."""
        from stratuslab.local.machines.driver import MachineError
        from stratuslab.local.machines.qemu.qemu_machine import QemuMachine

        installed = find_qemu(self._environ)
        if installed is None:
            raise MachineError(f"{PROGRAM} is not installed on this computer: install QEMU, or use simulated machines")
        return QemuMachine(spec, installed, self._environ)
