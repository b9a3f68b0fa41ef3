"""Chooses QEMU's accelerator: KVM if it works, else TCG, which emulates the processor.

It is not enough that /dev/kvm opens: in virtual machines and containers it may exist without working.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from stratuslab.private_files import why

_DEVICE = Path("/dev/kvm")
_PROCESSORS = Path("/proc/cpuinfo")
_GET_API_VERSION, _CREATE_VM = 0xAE00, 0xAE01  # linux/kvm.h: _IO(0xAE, 0) and _IO(0xAE, 1)
_API_VERSION = 12


def describe(problem: str) -> str:
    """The accelerator in words, given :func:`kvm_problem`."""
    return f"TCG: {problem}" if problem else "KVM"


def kvm_problem() -> str:
    """Why KVM cannot be used; empty if it can."""
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
