"""What this computer has to run real machines: QEMU, and KVM if it works. Without KVM, TCG emulates the processor."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from stratuslab.private_files import why

PROGRAM = "qemu-system-x86_64"

_DEVICE = Path("/dev/kvm")
_PROCESSORS = Path("/proc/cpuinfo")
_GET_API_VERSION, _CREATE_VM = 0xAE00, 0xAE01  # linux/kvm.h: _IO(0xAE, 0) and _IO(0xAE, 1)
_API_VERSION = 12


def find_qemu(environ: Mapping[str, str]) -> Path | None:
    """The QEMU on this environment's PATH, None if there is none. It is not started."""
    from shutil import which

    found = which(PROGRAM, path=environ.get("PATH", os.defpath))
    return Path(found).absolute() if found else None


def describe_qemu(program: Path) -> str:
    """QEMU's version, and the accelerator with the reason for it: ``QEMU 7.2.22, TCG: the processor has no vmx or svm``."""
    import subprocess

    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, errors="replace", timeout=10, check=False)
        match = re.search(r"version (\d[\w.]*)", said.stdout)
        version = match[1] if match else "(unknown version)"
    except (OSError, subprocess.TimeoutExpired):
        version = "(does not start)"
    return f"QEMU {version}, {accelerator(kvm_problem())}"


def accelerator(problem: str) -> str:
    """The accelerator in words, given :func:`kvm_problem`."""
    return f"TCG: {problem}" if problem else "KVM"


def kvm_problem() -> str:
    """Why KVM cannot be used; empty if it can.

    It is not enough that /dev/kvm opens: in virtual machines and containers it may exist without working.
    """
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "KVM needs Linux on x86_64"
    try:
        has_extensions = re.search(r"^flags\s*:.*\b(vmx|svm)\b", _PROCESSORS.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError as error:
        return f"cannot read {_PROCESSORS}: {why(error)}"
    if not has_extensions:
        return "the processor has no vmx or svm"
    try:
        with _DEVICE.open("r+b", buffering=0) as device:
            return _trial(device.fileno())
    except OSError as error:
        return f"cannot open {_DEVICE}: {why(error)}"


def _trial(device: int) -> str:
    """Create an empty virtual machine. Returns why that fails; empty if it works."""
    from fcntl import ioctl

    try:
        version = ioctl(device, _GET_API_VERSION, 0)
        if version != _API_VERSION:
            return f"{_DEVICE} has version {version}, not {_API_VERSION}"
        os.close(ioctl(device, _CREATE_VM, 0))
    except OSError as error:
        return f"{_DEVICE} cannot create a machine: {why(error)}"
    return ""
