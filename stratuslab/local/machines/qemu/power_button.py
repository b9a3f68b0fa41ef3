"""The power button of a real machine: the guest is asked to switch itself off, for good or to be started again.

A guest that is to start again is kept by QEMU when it is off, then reset and let go, as libvirt does it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from stratuslab.local.machines.qemu.qemu_process import QemuProcess
from stratuslab.local.machines.qemu.qmp_client import QmpError

PRESS_SECONDS = 4.0
"""From one press to the next: a guest that is still booting does not hear the first."""

PATIENCE_SECONDS = 60.0
"""A guest that is to start again and is not off by then is reset."""

_RESET_SECONDS = 10.0


class PowerButton:
    """The button of one machine. ``qemu`` gives the QEMU that it is connected to, ``log`` takes lines for the console; ``over``
    is set when the machine has ended."""

    def __init__(self, qemu: Callable[[], QemuProcess | None], log: Callable[[str], None], over: threading.Event) -> None:
        self._qemu = qemu
        self._log = log
        self._over = over
        self._halting = threading.Event()
        self._rebooting = threading.Lock()
        self._off = threading.Event()
        self._news = threading.Event()

    def halt(self) -> None:
        """Have the guest switch itself off, however often it must be asked; returns at once."""
        if not self._halting.is_set():
            self._halting.set()
            self._news.set()
            threading.Thread(target=self._halt, daemon=True, name="power button").start()

    def reboot(self) -> None:
        """Have the guest switch itself off and start it again; returns at once."""
        if not self._halting.is_set() and self._rebooting.acquire(blocking=False):
            threading.Thread(target=self._reboot, daemon=True, name="power button").start()

    def guest_switched_off(self) -> None:
        """The guest did so: to be called with QEMU's event, before the next is heard."""
        if self._rebooting.locked():
            self._off.set()
            self._news.set()

    @property
    def keeps(self) -> bool:
        """Whether the guest is off and QEMU has stopped for it, to start it again."""
        return self._off.is_set()

    def _halt(self) -> None:
        self._log("the power button is pressed")
        while not self._over.is_set():
            qemu = self._qemu()
            if qemu is not None:
                with contextlib.suppress(QmpError):
                    qemu.ask("system_powerdown")
            self._over.wait(PRESS_SECONDS)

    def _reboot(self) -> None:
        qemu = self._qemu()
        try:
            if qemu is not None:
                self._start_again(qemu)
        except QmpError as error:
            if qemu is not None and not qemu.ended.is_set():
                self._log(f"the guest cannot be started again: {error}")
                if self.keeps:
                    qemu.kill()
        finally:
            self._off.clear()
            self._rebooting.release()

    def _start_again(self, qemu: QemuProcess) -> None:
        self._log("the power button is pressed, to start again")
        self._news.clear()
        # Since QEMU 6.0; an older one refuses, and then the guest is left alone rather than switched off.
        qemu.ask("set-action", {"shutdown": "pause"})
        self._wait_until_off(qemu)
        # What the guest does after this answer ends the machine, and what it did before is known by now.
        qemu.ask("set-action", {"shutdown": "poweroff"})
        if not self._halting.is_set():
            if not self.keeps:
                self._log(f"the guest does not switch itself off in {PATIENCE_SECONDS:.0f} seconds: it is reset")
            qemu.ask("system_reset")
            if self.keeps:
                _continue(qemu)
                self._log("the guest is started again")
        elif self.keeps:
            qemu.ask("quit")

    def _wait_until_off(self, qemu: QemuProcess) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.keeps and not self._halting.is_set() and time.monotonic() < end:
            qemu.ask("system_powerdown")
            self._news.wait(PRESS_SECONDS)


def _continue(qemu: QemuProcess) -> None:
    # The reset comes a moment after its answer, and QEMU does not go on before.
    end = time.monotonic() + _RESET_SECONDS
    while True:
        try:
            qemu.ask("cont")
            return
        except QmpError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
