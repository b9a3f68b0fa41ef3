"""Copy-on-write disks: what a machine writes is in a qcow2 file of its own, over an image that all share.

The file names no base, QEMU's command line does (:mod:`stratuslab.local.qemu.arguments`). qemu-img makes such files; where it is
not installed (Debian has it in another package than QEMU itself), a QEMU without a machine does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stratuslab.local.machine import MachineError
from stratuslab.local.qemu.emulator import Emulator
from stratuslab.local.qemu.monitor import MonitorError

_SECONDS = 60.0
_JOB = "make"


def make_overlay(path: Path, size: int, program: Path, environ: Mapping[str, str]) -> None:
    """Make the file, which is there and empty, an empty qcow2 of ``size`` bytes. Raises MachineError.

    ``program`` is QEMU; qemu-img is taken from where it is, or from the PATH of ``environ``.
    """
    beside = os.pathsep.join((str(program.parent), environ.get("PATH", os.defpath)))
    image_tool = shutil.which("qemu-img", path=beside)
    if image_tool is None:
        _by_qemu(path, size, program)
        return
    command = [image_tool, "create", "-q", "-f", "qcow2", path.name, str(size)]
    made = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, errors="replace", check=False)
    if made.returncode:
        raise MachineError(f"the disk {path.name} cannot be made: {' '.join(made.stderr.split()) or 'qemu-img failed'}")


def _by_qemu(path: Path, size: int, program: Path) -> None:
    concluded = threading.Event()

    def tell(event: str, data: Mapping[str, Any]) -> None:
        if event == "JOB_STATUS_CHANGE" and data.get("status") == "concluded":
            concluded.set()

    def command(monitor: int) -> list[str]:
        bare = ("-M", "none", "-no-user-config", "-nodefaults", "-display", "none")
        return [str(program), *bare, "-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"]

    qemu = Emulator(command, path.parent, path.parent / "qemu.log", tell)
    try:
        qemu.start()
        qemu.ask("blockdev-add", {"driver": "file", "node-name": "file", "filename": path.name})
        qemu.ask("blockdev-create", {"job-id": _JOB, "options": {"driver": "qcow2", "file": "file", "size": size}})
        concluded.wait(_SECONDS)
        error = next((job.get("error") for job in qemu.ask("query-jobs") if job.get("id") == _JOB), "QEMU did not end it")
    except (MonitorError, MachineError) as failure:
        error = str(failure)
    finally:
        qemu.kill()
    if error:
        raise MachineError(f"the disk {path.name} cannot be made: {error}")
