"""The driver of simulated machines: no disk boots, but each instance has a real SSH server on its address.

The machine runs in the supervisor's process and knows nothing of this computer. It reports all of the instance's RAM as used,
as libvirt does for a domain.
"""

from __future__ import annotations

import socket
import threading
import time

import paramiko

from stratuslab.local.machines.driver import DiskKind, MachineError, MachineSpec
from stratuslab.local.machines.machine_output import MachineLog
from stratuslab.local.machines.simulated.guest import Guest
from stratuslab.local.machines.simulated.ssh_server import SshServer, authorized
from stratuslab.opennebula.numeric_constants import SSH_PORT
from stratuslab.openssh_keys import new_private_key
from stratuslab.private_files import replace, why

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
        self._log = MachineLog(spec.directory / "console.log").log
        # Each press of the power button is a byte.
        self._presses, self._button = socket.socketpair()
        self._listener: socket.socket | None = None
        self._guest: Guest
        self._ended = threading.Event()

    def prepare(self) -> None:
        try:
            # A restarted machine keeps its host key.
            if not self._key_file.exists():
                replace(self._key_file, new_private_key())
        except OSError as error:
            raise MachineError(f"cannot create the host key {self._key_file}: {error.strerror}") from error

    def boot(self) -> tuple[str, int]:
        spec = self._spec
        try:
            host_key = paramiko.Ed25519Key.from_private_key_file(str(self._key_file))
        except (OSError, paramiko.SSHException, ValueError) as error:
            raise MachineError(f"cannot read the host key {self._key_file}") from error
        keys = authorized(spec.authorized_keys)
        self._listener = _listening(spec.main_address, self._port)
        address, port = self._listener.getsockname()
        self._log(f"simulated machine {spec.host_name}, image {spec.image}: no disk boots")
        self._log(f"{spec.vcpu} CPU, {spec.memory_mib} MiB RAM, {spec.size_mib(DiskKind.SWAP)} MiB swap")
        self._log(f"host key {host_key.fingerprint} (ED25519)")
        if not keys:
            self._log("no public key given: nobody can log in")
        self._log(f"SSH server on {address} port {port}")
        self._log("login ready")
        self._guest = Guest(spec, self._press)
        server = SshServer(self._listener, self._guest, host_key, keys)
        threading.Thread(target=self._run, args=(server,), daemon=True).start()
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

    def _press(self, reboot: bool) -> None:
        self._button.send(b"r" if reboot else b"h")

    def _run(self, server: SshServer) -> None:
        """Serve until the power button halts the guest; a halt takes precedence over a reboot."""
        reboots = True
        while reboots:
            server.serve(self._presses)
            time.sleep(GRACE_SECONDS)
            reboots = b"h" not in self._presses.recv(4096)
            self._log("the guest reboots" if reboots else "the guest halts")
            server.hang_up()
            if reboots:
                # The machine keeps its listening socket, so clients wait in the kernel's queue meanwhile.
                time.sleep(REBOOT_SECONDS)
                self._guest.booted = time.monotonic()
                self._log("login ready")
        self._log("halted")
        self.kill()


def _listening(address: str, port: int) -> socket.socket:
    """A socket that listens at the address, or else on a free port of 127.0.0.1. Raises MachineError."""
    try:
        return socket.create_server((address, port), backlog=128)
    except OSError:
        try:
            return socket.create_server(("127.0.0.1", 0), backlog=128)
        except OSError as error:
            raise MachineError(f"no free port for the SSH server: {why(error)}") from error
