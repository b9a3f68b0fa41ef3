"""QEMUs for tests: one that only speaks QMP, and a guest of one sector for real ones."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

from stratuslab.local.machines.driver import DiskKind, DiskSpec, MachineSpec

IMAGE = "BN1EEkPiBx87_uLj2-sdybSI-Xb"
"""An image's identifier."""


def specified(cloud: Path, **changes: object) -> MachineSpec:
    """The description of machine 7 of the cloud in a directory, with changes. Its directories are made."""
    directory = cloud / "instances" / str(changes.get("id", 7))
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    values: dict[str, object] = {
        "id": 7,
        "name": "one-7",
        "vcpu": 1,
        "memory_mib": 96,
        "addresses": ("127.101.0.7",),
        "authorized_keys": "",
        "context": {},
        "image": IMAGE,
        "directory": directory,
        "disks": (DiskSpec(DiskKind.IMAGE, image=IMAGE),),
    }
    return MachineSpec(**{**values, **changes})  # type: ignore[arg-type]


def put_image(cloud: Path, content: bytes) -> Path:
    """Make this the content of the image IMAGE, as the store of images has it."""
    path = cloud / "images" / IMAGE / "image"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class FakeQemu:
    """A program in place of QEMU, which does as it is told in advance.

    ``does`` says for each accelerator what it does once it is started: ``run`` (the guest says something), ``silence``, ``die``,
    ``stop`` (as at an internal error), ``abort`` after the guest has spoken; ``deaf`` is how many presses of the power button
    the guest does not hear, ``disobeys`` are commands that QEMU answers and does nothing about.
    """

    def __init__(self, directory: Path, kvm: str = "run", tcg: str = "run", **told: object) -> None:
        directory.mkdir(parents=True)
        self.program = directory / "qemu-system-x86_64"
        self._starts = directory / "starts"
        (directory / "told").write_text(json.dumps({"kvm": kvm, "tcg": tcg, **told}))
        self.program.write_text(f"#!{sys.executable} -S\n{_PROGRAM}")
        self.program.chmod(0o755)

    @property
    def starts(self) -> list[list[str]]:
        """The command lines that it was started with."""
        if not self._starts.exists():
            return []
        return [json.loads(line) for line in self._starts.read_text().splitlines()]

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": str(self.program.parent)}


_PROGRAM = textwrap.dedent(
    r"""
    import json, os, re, socket, sys, threading, time
    from pathlib import Path

    if "--version" in sys.argv:
        print("QEMU emulator version 9.9.9 (Fake 1:9.9)")
        sys.exit()
    here = Path(__file__).parent
    told = json.loads((here / "told").read_text())
    line = " ".join(sys.argv)
    with (here / "starts").open("a") as starts:
        starts.write(json.dumps(sys.argv) + "\n")
    (here / "process").write_text(str(os.getpid()))
    if told.get("no_sandbox") and "-sandbox" in sys.argv:
        sys.exit("qemu-system-x86_64: -sandbox on: sandbox support is disabled")
    does = told["kvm" if "-accel kvm" in line else "tcg"]
    if does == "die":
        sys.stderr.write("a warning\nqemu-system-x86_64: failed to initialize:\nno such luck\n")
        sys.exit(1)
    monitor = socket.socket(fileno=int(re.search(r"socket,id=monitor,fd=(\d+)", line)[1]))
    speech = monitor.makefile("rwb")

    def say(message):
        speech.write(json.dumps(message).encode() + b"\n")
        speech.flush()

    def off():
        say({"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}})
        os._exit(0)

    def console(text):
        with open("console.log", "a") as log:
            log.write(text)

    console("SeaBIOS (version fake)\nBooting from Hard Disk...\n")
    say({"QMP": {"version": {}, "capabilities": []}})
    if does == "nonsense":
        speech.write(b"[" * 100000 + b"\n")
        speech.flush()
    listeners = []
    presses = 0
    for request in map(json.loads, speech):
        name, answer = request["execute"], {}
        if name == "human-monitor-command":
            address, port = re.search(r"tcp:([\d.]+):(\d+)-:22", request["arguments"]["command-line"]).groups()
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address, int(port)))
                listener.listen()
                listeners.append(listener)
                answer = ""
            except OSError:
                answer = "could not set up host forwarding rule\r\n"
        elif name == "query-status":
            answer = {"status": "internal-error"}
        elif name == "query-blockstats":
            answer = [{"stats": {"rd_bytes": told.get("reads", 512)}}]
        say({"return": answer, "id": request["id"]})
        if name in told.get("disobeys", []):
            continue
        if name == "quit":
            os._exit(0)
        if name == "system_powerdown":
            presses += bool(listeners)  # before, the guest is not there yet
            if presses > told.get("deaf", 0):
                off()
        if name == "human-monitor-command" and not answer:
            if does in ("run", "abort"):
                console("Linux version 6.1 is booting\n")
            if does == "abort":
                os.abort()
            if does == "stop":
                say({"event": "STOP"})
            for event in told.get("events", []):
                say(event)
            if does == "off":
                off()
    time.sleep(1000)
    """
)

# mov dx,0x3f8; mov si,text; say: lodsb; test al,al; jz on; out dx,al; jmp say
# on: mov dx,0x602; mov ax,0x100; out dx,ax                           the power button of ACPI is heard, on QEMU's q35
# sti; wait: hlt; mov dx,0x600; in ax,dx; test ah,1; jz wait          and waited for
# mov dx,0x604; mov ax,0x2000; out dx,ax; off: hlt; jmp off           switched off
_CODE = bytes.fromhex("fc31c08ed8baf803be2f7cac84c07403eeebf8ba0206b80001effbf4ba0006edf6c40174f6ba0406b80020eff4ebfd")


def bootable(text: bytes, size: int = 2 << 20) -> bytes:
    """A disk with a guest that says the text on its serial port and halts at the power button."""
    return (_CODE + text + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa" + bytes(size - 512)
