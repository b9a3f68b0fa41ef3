"""A real machine: QEMU with its disks, its SSH port forwarding and its console."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stratuslab.errors import StratusLabError
from stratuslab.local.machines.console_log_writer import ConsoleLog
from stratuslab.local.machines.driver import MachineError, MachineSpec
from stratuslab.local.machines.qemu import accelerator
from stratuslab.local.machines.qemu.accelerator import KVM, TCG, Accelerator
from stratuslab.local.machines.qemu.command_line import NETWORK, Hardware, command
from stratuslab.local.machines.qemu.machine_disks import MachineDisks
from stratuslab.local.machines.qemu.power_button import PowerButton
from stratuslab.local.machines.qemu.qemu_process import QemuProcess
from stratuslab.local.machines.qemu.qmp_client import QmpError
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.private_files import why

TRIAL_SECONDS = 30.0
"""A machine that fails with KVM within this time is restarted without: KVM inside other virtual machines may not work."""

REBOOT_SECONDS = 1.0
"""Less than any guest takes between two reboots."""

_ATTEMPTS = 20


class QemuMachine:
    """One real machine, see :class:`stratuslab.local.machines.driver.Machine`.

    ``program`` is QEMU; ``environ`` has the PATH for other programs. Methods other than :meth:`halt` and :meth:`reboot` must be
    called in the main thread, because QEMU is killed when the thread that started it ends.
    """

    def __init__(
        self,
        spec: MachineSpec,
        program: Path,
        environ: Mapping[str, str],
        *,
        choose: Callable[[], Accelerator] = accelerator.choose,
        port: int = SSH_PORT,
    ) -> None:
        self._spec = spec
        self._program = program
        self._environ = environ
        self._choose = choose
        self._wanted = (spec.addresses[0] if spec.addresses else "127.0.0.1", port)
        self._console = ConsoleLog(spec.directory / "console.log")
        self._hardware: Hardware | None = None
        self._accelerator = Accelerator(TCG)
        self._sandbox = True
        self._forward: tuple[str, int] | None = None
        self._news = threading.Event()
        self._stopped = threading.Event()
        self._failed_disks: set[str] = set()
        self._over = threading.Event()
        self._button = PowerButton(lambda: self._qemu, self._console.log, self._over)
        self._trial_ends = 0.0
        self._polled = (time.monotonic(), 0.0)
        self._rebooted = -REBOOT_SECONDS
        self._qemu: QemuProcess | None = None

    # PROLOG

    def prepare(self) -> None:
        try:
            self._hardware = MachineDisks(self._spec, self._environ).prepare()
        except StratusLabError as error:
            raise MachineError(error.message) from error
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            raise MachineError(f"cannot create the machine's disks: {what}{why(error)}") from error

    # BOOT

    def boot(self) -> tuple[str, int]:
        self._accelerator = self._choose()
        spec = self._spec
        self._console.log(f"machine {spec.id} starts: {spec.vcpu} CPU, {spec.memory_mib} MiB RAM, {self._accelerator}")
        try:
            self._start()
        except MachineError as error:
            if self._accelerator.name != KVM:
                raise
            self._start_without_kvm(str(error))
        if self._forward is None:
            raise MachineError("no free port for the SSH server")
        return self._forward

    def _start(self) -> None:
        """Start QEMU and its port forwarding. Raises MachineError."""
        self._polled = (time.monotonic(), 0.0)
        self._stopped.clear()
        self._qemu = self._emulator()
        try:
            self._qemu.start()
        except MachineError as error:
            # QEMU was built without seccomp, or the container does not allow it.
            if not (self._sandbox and any(word in str(error) for word in ("sandbox", "seccomp"))):
                raise
            self._sandbox = False
            self._qemu = self._emulator()
            self._qemu.start()
        self._trial_ends = time.monotonic() + TRIAL_SECONDS
        try:
            self._forward = self._forwarded(self._qemu)
        except (QmpError, MachineError) as error:
            self._qemu.kill()
            raise MachineError(self._qemu.last_error() or str(error)) from error

    def _emulator(self) -> QemuProcess:
        if self._hardware is None:
            raise MachineError("the machine has no disks yet")
        hardware, kind, sandbox, log = self._hardware, self._accelerator.name, self._sandbox, self._console.path.name
        return QemuProcess(
            lambda monitor: command(self._program, hardware, kind, monitor, log, sandbox),
            self._spec.directory,
            self._spec.directory / "qemu.log",
            self._handle_event,
            self._news,
            self._spec.lock,
        )

    def _forwarded(self, qemu: QemuProcess) -> tuple[str, int]:
        """Forward an address and port of this computer to the guest's SSH server. QEMU binds it, so nobody else can first."""
        refused = ""
        for address, port in self._places():
            refused = qemu.execute("human-monitor-command", {"command-line": f"hostfwd_add {NETWORK} tcp:{address}:{port}-:22"})
            if not refused:
                return address, port
        raise MachineError(f"no free port for the SSH server: {' '.join(str(refused).split())}")

    def _places(self) -> Iterator[tuple[str, int]]:
        if self._forward:
            # After a restart without KVM the address is already published.
            yield self._forward
            return
        yield self._wanted
        for _ in range(_ATTEMPTS):
            yield "127.0.0.1", _free_port()

    def _start_without_kvm(self, what: str) -> None:
        """Raises MachineError if it fails without KVM, too."""
        self._console.log(f"the machine fails with KVM ({what}): starting it without")
        self._accelerator = Accelerator(TCG, what)
        self._start()

    # RUNNING

    def wait(self, seconds: float) -> bool:
        if self._over.is_set() or self._qemu is None:
            return True
        if self._news.wait(seconds):
            self._news.clear()
        self._console.shorten()
        self._qemu.shorten_log()
        failure = self._failure_of_kvm(self._qemu)
        if failure:
            self._qemu.kill()
            self._start_again(lambda: self._start_without_kvm(failure))
        elif self._stopped.is_set() and not self._qemu.ended.is_set():
            self._console.log(f"QEMU has stopped the machine ({self._status(self._qemu)}): killing it")
            self._qemu.kill()
        if self._qemu.ended.is_set() and self._button.starts_again():
            self._console.log("the guest is started again")
            self._start_again(self._start)
        if self._qemu.ended.is_set():
            self._console.log(_end_reason(self._qemu))
            self._over.set()
        return self._over.is_set()

    def _start_again(self, start: Callable[[], None]) -> None:
        try:
            start()
        except MachineError as error:
            self._console.log(f"cannot start the machine again: {error}")

    def _failure_of_kvm(self, qemu: QemuProcess) -> str:
        """How QEMU has failed within the trial of KVM; empty if it has not, or was switched off or killed."""
        if self._accelerator.name != KVM or time.monotonic() > self._trial_ends:
            return ""
        if qemu.ended.is_set():
            return "" if qemu.status in (0, -signal.SIGKILL, -signal.SIGTERM) else _end_reason(qemu)
        return f"QEMU has stopped it: {self._status(qemu)}" if self._stopped.is_set() else ""

    def _status(self, qemu: QemuProcess) -> str:
        try:
            return str(qemu.execute("query-status")["status"])[:40]
        except (QmpError, LookupError, TypeError):
            return "unknown state"

    @property
    def end_reason(self) -> str:
        return _end_reason(self._qemu) if self._qemu is not None and self._qemu.status else ""

    def usage(self) -> tuple[float, int]:
        seconds, memory = self._qemu.used() if self._qemu is not None else (0.0, 0)
        then, before = self._polled
        now = time.monotonic()
        self._polled = (now, seconds)
        return max(0.0, 100 * (seconds - before) / max(now - then, 1e-6)), memory

    def halt(self) -> None:
        self._button.press(reboot=False)

    def reboot(self) -> None:
        self._button.press(reboot=True)

    def kill(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()
        self._over.set()

    def _handle_event(self, name: str, data: Mapping[str, Any]) -> None:
        """Handle an event of QEMU, in the monitor's thread."""
        if name == "STOP":
            # Nobody pauses a machine, so QEMU has stopped it because of an error.
            self._stopped.set()
            self._news.set()
        elif name == "RESET":
            self._log_reboot(data.get("guest") is True)
        elif name == "SHUTDOWN" and data.get("guest") is True:
            self._console.log("the guest shuts down")
        elif name == "GUEST_PANICKED":
            self._console.log("the guest's kernel has panicked")
        elif name == "BLOCK_IO_ERROR":
            self._log_io_error(data)

    def _log_reboot(self, by_guest: bool) -> None:
        """Log a reboot once: guests and firmware try several ways to reset, each of which is an event."""
        now = time.monotonic()
        if by_guest and now - self._rebooted > REBOOT_SECONDS:
            self._console.log("the guest reboots")
        self._rebooted = now

    def _log_io_error(self, data: Mapping[str, Any]) -> None:
        device, operation = (str(data.get(key, ""))[:40] for key in ("node-name", "operation"))
        reason = "no space left on this computer's disk" if data.get("nospace") is True else str(data.get("reason", ""))[:200]
        if device not in self._failed_disks and len(self._failed_disks) < 100:
            self._failed_disks.add(device)
            self._console.log(f"the disk {device} had an I/O error ({operation}): {reason}; further ones are not logged")


def _end_reason(qemu: QemuProcess) -> str:
    if qemu.status < 0:
        return f"QEMU was killed by signal {-qemu.status}"
    if qemu.status > 0:
        return f"QEMU ended with status {qemu.status}: {qemu.last_error()}"
    return "the machine is off"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
