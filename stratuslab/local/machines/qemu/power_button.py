"""The power button of a real machine: asks the guest to shut down, for good or to be started again."""

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
"""How long a guest may take to shut down before a reboot cuts its power."""


class _Press:
    """One request, which ends when the machine is off."""

    def __init__(self, reboot: bool) -> None:
        self.reboot = reboot


class PowerButton:
    """The button of one machine. ``qemu`` returns its QEMU, ``log`` writes a line to the console, and ``over`` is set when the
    machine has ended."""

    def __init__(self, qemu: Callable[[], QemuProcess | None], log: Callable[[str], None], over: threading.Event) -> None:
        self._qemu = qemu
        self._log = log
        self._over = over
        self._press: _Press | None = None
        self._lock = threading.Lock()

    def press(self, reboot: bool) -> None:
        """Press the button until the guest shuts down. Returns at once. A halt takes precedence over a reboot."""
        with self._lock:
            if self._press is None:
                self._press = _Press(reboot)
                threading.Thread(target=self._keep_pressing, args=(self._press,), daemon=True, name="power button").start()
            elif not reboot:
                self._press.reboot = False

    def starts_again(self) -> bool:
        """Whether the machine, which is off now, is to be started again. The button can be pressed anew then."""
        with self._lock:
            again = self._press is not None and self._press.reboot
            self._press = None if again else self._press
            return again

    def _keep_pressing(self, press: _Press) -> None:
        self._log("the power button is pressed to reboot" if press.reboot else "the power button is pressed")
        end = time.monotonic() + SHUTDOWN_SECONDS
        while self._press is press and not self._over.is_set():
            qemu = self._qemu()
            if qemu is not None:
                with contextlib.suppress(QmpError):
                    qemu.execute("system_powerdown")
                if press.reboot and time.monotonic() > end:
                    self._log(f"the guest has not shut down in {SHUTDOWN_SECONDS:.0f} seconds: cutting its power")
                    qemu.kill()
            self._over.wait(PRESS_SECONDS)
