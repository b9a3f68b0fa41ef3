"""What runs a guest's instructions: the processor itself by KVM, where that is proven to work, else QEMU's translator TCG.

That /dev/kvm opens proves nothing: in virtual machines and containers it may be there without a processor behind it. And
where all looks well a guest may still not come up; then the machine is started again with TCG, and that is remembered in the
store for as long as the computer is not rebooted.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from stratuslab.files import why

KVM, TCG = "kvm", "tcg"

_DEVICE = Path("/dev/kvm")
_PROCESSORS = Path("/proc/cpuinfo")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_GET_API_VERSION, _CREATE_VM = 0xAE00, 0xAE01  # linux/kvm.h: _IO(0xAE, 0) and _IO(0xAE, 1)
_API_VERSION = 12
_REMEMBERED = "kvm-failed"


@dataclass(frozen=True)
class Accelerator:
    """``name`` is QEMU's word for it; ``reason`` says why it is not KVM, and is empty where it is."""

    name: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name.upper()}: {self.reason}" if self.reason else self.name.upper()


def choose(cloud: Path | None = None) -> Accelerator:
    """KVM where it is proven to work and has not failed in this store since the computer started, else TCG and why."""
    obstacle = _obstacle() or (_failure(cloud) if cloud else "")
    return Accelerator(TCG, obstacle) if obstacle else Accelerator(KVM)


def remember_failure(cloud: Path, what: str) -> None:
    """Note that a machine did not come up with KVM, so that the next one does not lose the time."""
    with contextlib.suppress(OSError):
        descriptor = os.open(cloud / _REMEMBERED, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{_boot_id()}\n{what}\n")


def _failure(cloud: Path) -> str:
    try:
        boot, what, *_ = (cloud / _REMEMBERED).read_text("utf-8", "replace").splitlines()
    except (OSError, ValueError):
        return ""
    return f"a machine did not come up with KVM ({what})" if boot == _boot_id() else ""


def _boot_id() -> str:
    """What differs each time that this computer starts; empty where the system has no such thing."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _obstacle() -> str:
    """Why KVM cannot be used; empty where it can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return "KVM needs Linux on x86_64"
    try:
        has_extensions = re.search(r"^flags\s*:.*\b(vmx|svm)\b", _PROCESSORS.read_text("utf-8", "replace"), re.MULTILINE)
    except OSError as error:
        return f"{_PROCESSORS} cannot be read: {_words(error)}"
    if not has_extensions:
        return "the processor has no vmx or svm"
    try:
        device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{_DEVICE} cannot be opened: {_words(error)}"
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
        return f"{_DEVICE} makes no machine: {_words(error)}"
    return ""


def _words(error: OSError) -> str:
    return why(error)
