"""Finds QEMU's program, and describes it for people."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

PROGRAM = "qemu-system-x86_64"


def find_qemu(environ: Mapping[str, str]) -> Path | None:
    """The QEMU on this environment's PATH, None if there is none. It is not started."""
    from shutil import which

    found = which(PROGRAM, path=environ.get("PATH", os.defpath))
    return Path(found).absolute() if found else None


def describe_qemu(program: Path) -> str:
    """QEMU's version, and the accelerator with the reason for it: ``QEMU 7.2.22, TCG: the processor has no vmx or svm``."""
    import subprocess

    from stratuslab.local.machines.qemu.accelerator import describe, kvm_problem

    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", timeout=10, check=False)
        match = re.search(r"version (\d[\w.]*)", said.stdout)
        version = match[1] if match else "(unknown version)"
    except (OSError, subprocess.TimeoutExpired):
        version = "(does not start)"
    return f"QEMU {version}, {describe(kvm_problem())}"
