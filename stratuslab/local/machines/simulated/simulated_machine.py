"""The driver of simulated machines: no disk boots, but each instance has a real SSH server on its address.

The machine runs in the supervisor's process and knows nothing of this computer. It reports all of the instance's RAM as used,
as libvirt does for a domain.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from stratuslab.key_format import new_private_key
from stratuslab.local.machines.console_log_writer import ConsoleLog
from stratuslab.local.machines.driver import MachineError, MachineSpec
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.private_files import replace, why

if TYPE_CHECKING:
    from stratuslab.local.machines.simulated.guest import Guest
    from stratuslab.local.machines.simulated.ssh_server import SshServer

GRACE_SECONDS = 0.5
"""From the command that halts the guest to its end, as services need time to stop. The shell shows its prompt meanwhile."""

REBOOT_SECONDS = 1.0


class SimulatedMachine:
    """One simulated machine, see :class:`stratuslab.local.machines.driver.Machine`.

    If the SSH server cannot bind ``port`` of the instance's address, it listens on a free port of 127.0.0.1.
    """

    def __init__(self, spec: MachineSpec, port: int = SSH_PORT) -> None:
        self.end_reason = ""
        self._spec = spec
        self._port = port
        self._key_file = spec.directory / "ssh_host_ed25519_key"
        self._log = ConsoleLog(spec.directory / "console.log").log
        self._guest: Guest
        self._pressed, self._reboots = threading.Event(), False
        self._ended = threading.Event()
        self._listener: socket.socket | None = None
        self._server: SshServer | None = None

    def prepare(self) -> None:
        try:
            # A restarted machine keeps its host key.
            if not self._key_file.exists():
                replace(self._key_file, new_private_key())
        except OSError as error:
            raise MachineError(f"cannot create the host key {self._key_file}: {error.strerror}") from error

    def boot(self) -> tuple[str, int]:
        self._listener = _listening(self._spec.main_address, self._port)
        address, port = self._listener.getsockname()
        self._log(f"simulated machine {self._spec.host_name}, image {self._spec.image}: no disk boots")
        self._log(f"{self._spec.vcpu} CPU, {self._spec.memory_mib} MiB RAM, {self._spec.swap_mib} MiB swap")
        # Imported late, so that the instance shows progress before a library as large as paramiko is loaded.
        from stratuslab.local.machines.simulated.guest import Guest

        self._guest = Guest(self._spec, self._press)
        self._serve(self._listener)
        self._log(f"SSH server on {address} port {port}")
        self._log("login ready")
        threading.Thread(target=self._run, daemon=True).start()
        return address, port

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    def usage(self) -> tuple[float, int]:
        return time.process_time(), self._spec.memory_mib * 1024

    def halt(self) -> None:
        self._press(False)

    def reboot(self) -> None:
        self._press(True)

    def kill(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._ended.set()

    def _serve(self, listener: socket.socket) -> None:
        import paramiko

        from stratuslab.local.machines.simulated.ssh_server import SshServer, authorized

        try:
            host_key = paramiko.Ed25519Key.from_private_key_file(str(self._key_file))
        except (OSError, paramiko.SSHException, ValueError) as error:
            raise MachineError(f"cannot read the host key {self._key_file}") from error
        keys = authorized(self._spec.authorized_keys)
        self._log(f"host key {host_key.fingerprint} (ED25519)")
        if not keys:
            self._log("no public key given: nobody can log in")
        self._server = SshServer(listener, self._guest, host_key, keys)

    def _press(self, reboot: bool) -> None:
        """Halt or reboot the guest after the grace period; a halt takes precedence."""
        self._reboots = reboot and (self._reboots or not self._pressed.is_set())
        self._pressed.set()

    def _run(self) -> None:
        """Wait for the power button, again after each reboot."""
        while self._pressed.wait():
            time.sleep(GRACE_SECONDS)
            reboot = self._reboots
            self._pressed.clear()
            self._log("the guest reboots" if reboot else "the guest halts")
            if self._server is not None:
                self._server.stop()
            # The machine keeps its listening socket, so clients wait in the kernel's queue meanwhile.
            if self._listener is None or not reboot or not self._boot_again(self._listener):
                break
        self._log("halted")
        self.kill()

    def _boot_again(self, listener: socket.socket) -> bool:
        time.sleep(REBOOT_SECONDS)
        self._guest.booted = time.monotonic()
        try:
            self._serve(listener)
        except MachineError as error:
            self._log(f"the guest does not boot: {error}")
            return False
        self._log("login ready")
        return True


def _listening(address: str, port: int) -> socket.socket:
    """A socket that listens at the address, or else on a free port of 127.0.0.1. Raises MachineError."""
    try:
        return socket.create_server((address, port), backlog=128)
    except OSError:
        try:
            return socket.create_server(("127.0.0.1", 0), backlog=128)
        except OSError as error:
            raise MachineError(f"no free port for the SSH server: {why(error)}") from error
