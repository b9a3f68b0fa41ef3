"""What runs a guest's instructions: the processor itself by KVM, where that is proven to work, else QEMU's translator TCG.

That /dev/kvm opens proves nothing: in virtual machines and containers it may be there without a processor behind it.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from stratuslab.files import why

KVM, TCG = "kvm", "tcg"

_DEVICE = Path("/dev/kvm")
_PROCESSORS = Path("/proc/cpuinfo")
_GET_API_VERSION, _CREATE_VM = 0xAE00, 0xAE01  # linux/kvm.h: _IO(0xAE, 0) and _IO(0xAE, 1)
_API_VERSION = 12


@dataclass(frozen=True)
class Accelerator:
    """``name`` is QEMU's word for it; ``reason`` says why it is not KVM, and is empty where it is."""

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name.upper()}: {self.reason}" if self.reason else self.name.upper()


def choose() -> Accelerator:
    """KVM where it is proven to work, else TCG and why."""
    problem = _kvm_problem()
    return Accelerator(TCG, problem) if problem else Accelerator(KVM)


def _kvm_problem() -> str:
    """Why KVM cannot be used; empty where it can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "KVM needs Linux on x86_64"
    try:
        has_extensions = re.search(r"^flags\s*:.*\b(vmx|svm)\b", _PROCESSORS.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError as error:
        return f"{_PROCESSORS} cannot be read: {why(error)}"
    if not has_extensions:
        return "the processor has no vmx or svm"
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{_DEVICE} cannot be opened: {why(error)}"
    try:
        return _trial(device)
    finally:
        os.close(device)


def _trial(device: int) -> str:
    """Make a virtual machine, without anything in it, and let it go. Why that does not work; empty where it does."""
    from fcntl import ioctl

    try:
        version = ioctl(device, _GET_API_VERSION, 0)
        if version != _API_VERSION:
            return f"{_DEVICE} speaks version {version}, not {_API_VERSION}"
        os.close(ioctl(device, _CREATE_VM, 0))
    except OSError as error:
        return f"{_DEVICE} makes no machine: {why(error)}"
    return ""
