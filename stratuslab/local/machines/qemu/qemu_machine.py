"""A real machine: QEMU with its disks, its SSH port forwarding and its console."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stratuslab.errors import StratusLabError
from stratuslab.local.machines.driver import MachineError, MachineSpec
from stratuslab.local.machines.machine_output import MachineLog
from stratuslab.local.machines.qemu.command_line import NETWORK, Hardware, command
from stratuslab.local.machines.qemu.machine_disks import MachineDisks
from stratuslab.local.machines.qemu.qemu_process import QemuProcess
from stratuslab.local.machines.qemu.qemu_program import accelerator, kvm_problem
from stratuslab.local.machines.qemu.qmp_client import QmpError
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.private_files import why

TRIAL_SECONDS = 30.0
"""A machine that fails with KVM within this time is restarted without: KVM inside other virtual machines may not work."""

SHUTDOWN_SECONDS = 60.0
"""How long a guest may take to shut down before a reboot cuts its power."""

_PORTS, _ATTEMPTS = range(20000, 60000), 20
"""Where the SSH server may listen if its own port is taken, and how many of them are tried."""


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
        choose: Callable[[], str] = kvm_problem,
        port: int = SSH_PORT,
    ) -> None:
        self._spec = spec
        self._program = program
        self._environ = environ
        self._choose = choose
        self._wanted = (spec.main_address, port)
        self._console = MachineLog(spec.directory / "console.log")
        self._hardware: Hardware
        self._without_kvm = ""
        self._sandbox = True
        self._forward: tuple[str, int] | None = None
        self._qemu: QemuProcess | None = None
        self._trial_ends = 0.0
        self._stopped = self._over = False
        # Each press of the power button is a byte.
        self._presses, self._button = socket.socketpair()
        self._pressed = self._reboots = False
        self._power_cut = 0.0
        self._failed_disks: set[str] = set()
        self.end_reason = ""

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
        self._without_kvm = self._choose()
        spec, chosen = self._spec, accelerator(self._without_kvm)
        self._console.log(f"machine {spec.id} starts: {spec.vcpu} CPU, {spec.memory_mib} MiB RAM, {chosen}")
        return self._start()

    def _start(self) -> tuple[str, int]:
        """Start QEMU and its port forwarding, without its sandbox or KVM if it fails with them. Raises MachineError."""
        self._stopped = False
        hardware, console = self._hardware, self._console.path.name
        try:
            self._qemu = QemuProcess(
                lambda monitor: command(self._program, hardware, not self._without_kvm, monitor, console, self._sandbox),
                self._spec.directory,
                self._handle_event,
                self._spec.lock,
            )
            self._trial_ends = time.monotonic() + TRIAL_SECONDS
            self._forward = self._forwarded(self._qemu)
            return self._forward
        except MachineError as error:
            if self._sandbox and re.search("sandbox|seccomp", str(error)):
                # QEMU was built without seccomp, or the container does not allow it.
                self._sandbox = False
            elif not self._without_kvm:
                self._give_up_kvm(str(error))
            else:
                raise
            return self._start()

    def _give_up_kvm(self, failure: str) -> None:
        self._console.log(f"the machine fails with KVM ({failure}): starting it without")
        self._without_kvm = failure

    def _forwarded(self, qemu: QemuProcess) -> tuple[str, int]:
        """Forward an address and port of this computer to the guest's SSH server. QEMU binds it, so nobody else can first."""
        try:
            refused = ""
            for address, port in self._places():
                line = f"hostfwd_add {NETWORK} tcp:{address}:{port}-:22"
                refused = qemu.monitor.execute("human-monitor-command", {"command-line": line})
                if not refused:
                    return address, port
            failure = f"no free port for the SSH server: {' '.join(str(refused).split())}"
        except QmpError as error:
            failure = str(error)
        qemu.kill()
        raise MachineError(qemu.last_error() or failure)

    def _places(self) -> Iterator[tuple[str, int]]:
        yield self._forward or self._wanted
        # When the machine is started again its address is already published.
        for port in random.sample(_PORTS, 0 if self._forward else _ATTEMPTS):
            yield "127.0.0.1", port

    # RUNNING

    def wait(self, seconds: float) -> bool:
        qemu = self._qemu
        if self._over or qemu is None:
            return True
        qemu.watch(seconds, self._presses)
        self._console.shorten()
        qemu.log.shorten()
        self._take_presses()
        failure = self._failure(qemu)
        if failure and not self._without_kvm and time.monotonic() < self._trial_ends:
            self._give_up_kvm(failure)
            self._start_again()
        elif qemu.status is None:
            self._press(qemu)
        elif self._reboots:
            self._console.log("the guest is started again")
            self._pressed = self._reboots = False
            self._start_again()
        else:
            self._console.log(_end_reason(qemu))
            self.end_reason, self._over = failure or (_end_reason(qemu) if qemu.status else ""), True
        return self._over

    def _start_again(self) -> None:
        try:
            self._start()
        except MachineError as error:
            self._console.log(f"cannot start the machine again: {error}")
            self.end_reason, self._over = str(error), True

    def _failure(self, qemu: QemuProcess) -> str:
        """How QEMU has failed; empty if it runs, or was switched off or killed. One that has stopped the machine is killed."""
        if qemu.status is not None:
            return "" if qemu.status in (0, -signal.SIGKILL, -signal.SIGTERM) else _end_reason(qemu)
        if not self._stopped:
            return ""
        try:
            state = str(qemu.monitor.execute("query-status")["status"])[:40]
        except (QmpError, LookupError, TypeError):
            state = "unknown state"
        self._console.log(f"QEMU has stopped the machine ({state}): killing it")
        qemu.kill()
        return f"QEMU has stopped it: {state}"

    def usage(self) -> tuple[float, int]:
        return self._qemu.used() if self._qemu is not None else (0.0, 0)

    def kill(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()
        self._over = True

    # The power button

    def halt(self) -> None:
        self._ask(b"h")

    def reboot(self) -> None:
        self._ask(b"r")

    def _ask(self, press: bytes) -> None:
        # The thread that takes the presses calls this, too, in its signal handlers: it must not wait for itself.
        with contextlib.suppress(BlockingIOError):
            self._button.send(press, socket.MSG_DONTWAIT)

    def _take_presses(self) -> None:
        with contextlib.suppress(BlockingIOError):
            presses = self._presses.recv(4096, socket.MSG_DONTWAIT)
            self._reboots = b"h" not in presses and (self._reboots or not self._pressed)
            if not self._pressed:
                self._console.log("the power button is pressed to reboot" if self._reboots else "the power button is pressed")
                self._power_cut = time.monotonic() + SHUTDOWN_SECONDS
            self._pressed = True

    def _press(self, qemu: QemuProcess) -> None:
        """Press the button if the guest is to end, each time anew: one that is still booting ignores it."""
        if self._pressed:
            with contextlib.suppress(QmpError):
                qemu.monitor.execute("system_powerdown")
        if self._reboots and time.monotonic() > self._power_cut:
            self._console.log(f"the guest has not shut down in {SHUTDOWN_SECONDS:.0f} seconds: cutting its power")
            qemu.kill()

    # Events

    def _handle_event(self, name: str, data: Mapping[str, Any]) -> None:
        if name == "STOP":
            # Nobody pauses a machine, so QEMU has stopped it because of an error.
            self._stopped = True
        elif name == "SHUTDOWN" and data.get("guest") is True:
            self._console.log("the guest shuts down")
        elif name == "BLOCK_IO_ERROR":
            self._log_io_error(data)

    def _log_io_error(self, data: Mapping[str, Any]) -> None:
        device, operation = (str(data.get(key, ""))[:40] for key in ("node-name", "operation"))
        reason = "no space left on this computer's disk" if data.get("nospace") is True else str(data.get("reason", ""))[:200]
        if device not in self._failed_disks and len(self._failed_disks) < 100:
            self._failed_disks.add(device)
            self._console.log(f"the disk {device} had an I/O error ({operation}): {reason}; further ones are not logged")


def _end_reason(qemu: QemuProcess) -> str:
    status = qemu.status or 0
    if status < 0:
        return f"QEMU was killed by signal {-status}"
    return f"QEMU ended with status {status}: {qemu.last_error()}" if status else "the machine is off"
