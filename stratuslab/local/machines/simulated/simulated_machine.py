"""The driver of simulated machines: no disk boots, but each instance has a real SSH server on its address.

The machine runs in the supervisor's process and knows nothing of this computer. It reports all of the instance's RAM as used,
as libvirt does for a domain.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from typing import TYPE_CHECKING

from stratuslab.key_format import new_private_key
from stratuslab.local.machines.console_log_writer import ConsoleLog
from stratuslab.local.machines.driver import MachineError, MachineSpec
from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.private_files import replace

if TYPE_CHECKING:
    from stratuslab.local.machines.simulated.ssh_server import SshServer

GRACE_SECONDS = 0.5
"""From the command that halts the guest to its end, as services need time to stop. The shell shows its prompt meanwhile."""

REBOOT_SECONDS = 1.0


class SimulatedMachine:
    """One simulated machine, see :class:`stratuslab.local.machines.driver.Machine`.

    If the SSH server cannot bind ``port`` of the instance's address, it listens on a free port of 127.0.0.1.
    """

    def __init__(self, spec: MachineSpec, port: int = SSH_PORT) -> None:
        self._spec = spec
        self._port = port
        self._key_file = spec.directory / "ssh_host_ed25519_key"
        self._log = ConsoleLog(spec.directory / "console.log").log
        self._guest = Guest(spec, self._plan)
        self._planned: threading.Timer | None = None
        self._planning = threading.Lock()
        self._ended = threading.Event()
        self._going_down = threading.Lock()
        self._listener: socket.socket | None = None
        self._server: SshServer | None = None
        self._polled = (time.monotonic(), time.process_time())

    def prepare(self) -> None:
        try:
            # A restarted machine keeps its host key.
            if not self._key_file.exists():
                replace(self._key_file, new_private_key())
        except OSError as error:
            raise MachineError(f"cannot create the host key {self._key_file}: {error.strerror}") from error

    def boot(self) -> tuple[str, int]:
        self._listener = _listening(self._spec.addresses[0] if self._spec.addresses else "127.0.0.1", self._port)
        address, port = self._listener.getsockname()
        self._log(f"simulated machine {self._guest.host_name}, image {self._spec.image}: no disk boots")
        self._log(f"{self._spec.vcpu} CPU, {self._spec.memory_mib} MiB RAM, {self._spec.swap_mib} MiB swap")
        self._serve(self._listener)
        self._log(f"SSH server on {address} port {port}")
        self._log("login ready")
        return address, port

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    def usage(self) -> tuple[float, int]:
        then, used_then = self._polled
        now, used_now = self._polled = (time.monotonic(), time.process_time())
        return 100 * (used_now - used_then) / max(now - then, 1e-6), self._guest.memory_kib

    def halt(self) -> None:
        self._plan(False)

    def reboot(self) -> None:
        self._plan(True)

    def kill(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._ended.set()

    def _serve(self, listener: socket.socket) -> None:
        # Imported late, so that the instance shows progress before such a large library is loaded.
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

    def _plan(self, reboot: bool) -> None:
        """Halt or reboot the guest after the grace period, in place of what was planned before."""
        with self._planning:
            if self._planned is not None:
                self._planned.cancel()
            self._planned = threading.Timer(GRACE_SECONDS, self._go_down, (reboot,))
            self._planned.daemon = True
            self._planned.start()

    def _go_down(self, reboot: bool) -> None:
        with self._going_down:
            if self._ended.is_set():
                return
            self._log("the guest reboots" if reboot else "the guest halts")
            if self._server is not None:
                self._server.stop()
            if reboot and self._listener is not None and self._boot_again(self._listener):
                return
            if self._listener is not None:
                self._listener.close()
            self._log("halted")
            self._ended.set()

    def _boot_again(self, listener: socket.socket) -> bool:
        """Boot again with the same socket, so that the machine keeps its address and clients wait in the kernel's queue."""
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
    failure: OSError | None = None
    for place in ((address, port), ("127.0.0.1", 0)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(128)
            return listener
        except OSError as error:
            listener.close()
            failure = error
    reason = os.strerror(failure.errno or errno.EIO) if failure else ""
    raise MachineError(f"no free port for the SSH server: {reason}")
