"""The power button of a real machine: asks the guest to shut down, for good or to reboot.

To reboot, QEMU pauses the machine when the guest has shut down, then resets and continues it, as libvirt does.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from stratuslab.local.machines.qemu.qemu_process import QemuProcess
from stratuslab.local.machines.qemu.qmp_client import QmpError

PRESS_SECONDS = 4.0
"""Between two presses, as a guest that is still booting ignores the first."""

SHUTDOWN_SECONDS = 60.0
"""How long a guest may take to shut down before a reboot resets it."""

_RESET_SECONDS = 10.0


class PowerButton:
    """The button of one machine. ``qemu`` returns its QEMU, ``log`` writes a line to the console, and ``over`` is set when the
    machine has ended."""

    def __init__(self, qemu: Callable[[], QemuProcess | None], log: Callable[[str], None], over: threading.Event) -> None:
        self._qemu = qemu
        self._log = log
        self._over = over
        self._halting = threading.Event()
        self._rebooting = threading.Lock()
        self._off = threading.Event()
        self._news = threading.Event()

    def halt(self) -> None:
        """Press the button until the guest shuts down. Returns at once."""
        if not self._halting.is_set():
            self._halting.set()
            self._news.set()
            threading.Thread(target=self._halt, daemon=True, name="power button").start()

    def reboot(self) -> None:
        """Have the guest shut down, and start it again. Returns at once."""
        if not self._halting.is_set() and self._rebooting.acquire(blocking=False):
            threading.Thread(target=self._reboot, daemon=True, name="power button").start()

    def guest_shut_down(self) -> None:
        """Called on QEMU's event that the guest has shut down, before the next event is read."""
        if self._rebooting.locked():
            self._off.set()
            self._news.set()

    @property
    def is_paused(self) -> bool:
        """Whether QEMU has paused the machine to start it again."""
        return self._off.is_set()

    def _halt(self) -> None:
        self._log("the power button is pressed")
        while not self._over.is_set():
            qemu = self._qemu()
            if qemu is not None:
                with contextlib.suppress(QmpError):
                    qemu.execute("system_powerdown")
            self._over.wait(PRESS_SECONDS)

    def _reboot(self) -> None:
        qemu = self._qemu()
        try:
            if qemu is not None:
                self._start_again(qemu)
        except QmpError as error:
            if qemu is not None and not qemu.ended.is_set():
                self._log(f"cannot start the guest again: {error}")
                if self.is_paused:
                    qemu.kill()
        finally:
            self._off.clear()
            self._rebooting.release()

    def _start_again(self, qemu: QemuProcess) -> None:
        self._log("the power button is pressed to reboot")
        self._news.clear()
        # Older QEMUs than 6.0 refuse this; the guest is then left running.
        qemu.execute("set-action", {"shutdown": "pause"})
        self._wait_until_off(qemu)
        # From now on a shutdown ends the machine; events of an earlier one have been read by now.
        qemu.execute("set-action", {"shutdown": "poweroff"})
        if not self._halting.is_set():
            if not self.is_paused:
                self._log(f"the guest has not shut down in {SHUTDOWN_SECONDS:.0f} seconds: resetting it")
            qemu.execute("system_reset")
            if self.is_paused:
                _continue(qemu)
                self._log("the guest is started again")
        elif self.is_paused:
            qemu.execute("quit")

    def _wait_until_off(self, qemu: QemuProcess) -> None:
        end = time.monotonic() + SHUTDOWN_SECONDS
        while not self.is_paused and not self._halting.is_set() and time.monotonic() < end:
            qemu.execute("system_powerdown")
            self._news.wait(PRESS_SECONDS)


def _continue(qemu: QemuProcess) -> None:
    # QEMU resets shortly after its reply, and cannot continue before.
    end = time.monotonic() + _RESET_SECONDS
    while True:
        try:
            qemu.execute("cont")
            return
        except QmpError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
