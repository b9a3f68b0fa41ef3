"""A real machine's life, mostly with a QEMU that only speaks QMP; with a real one where there is one."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stratuslab.errors import StratusLabError
from stratuslab.local.images.image_format import virtual_size
from stratuslab.local.machines import machine_output
from stratuslab.local.machines.driver import DiskKind, DiskSpec, MachineError
from stratuslab.local.machines.qemu import machine_disks, qemu_machine, qemu_process
from stratuslab.local.machines.qemu.overlay import make_overlay
from stratuslab.local.machines.qemu.qemu_machine import QemuMachine
from stratuslab.local.machines.qemu.qemu_program import PROGRAM
from tests.fakes.fake_qemu import IMAGE, FakeQemu, bootable, put_image, specified
from tests.harness import CHECKOUT, eventually, lives

REAL = shutil.which(PROGRAM)
real = [pytest.mark.qemu, pytest.mark.skipif(REAL is None, reason=f"there is no {PROGRAM} on this computer")]


class Machines:
    """A store's directory with an image and its machines, which are ended when the test is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        put_image(directory, bootable(b"HELLO FROM THE GUEST"))
        self.machines: list[QemuMachine] = []

    def machine(self, qemu: Path, environ: dict[str, str], kvm: bool = False, **changes: Any) -> QemuMachine:
        changes.setdefault("addresses", ("127.101.0.7",))
        made = QemuMachine(
            specified(self.directory, **changes),
            qemu,
            environ,
            choose=lambda: "" if kvm else "tested",
            port=free_port(),
        )
        self.machines.append(made)
        return made

    def started(self, fake: FakeQemu, kvm: bool = False, **changes: Any) -> QemuMachine:
        made = self.machine(fake.program, fake.environ, kvm, **changes)
        made.prepare()
        made.boot()
        return made

    def file(self, name: str) -> Path:
        return self.directory / "instances/7" / name

    @property
    def console(self) -> str:
        return self.file("console.log").read_text("utf-8", "replace")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ends(made: QemuMachine, seconds: float = 30.0) -> bool:
    """Whether the machine ends, as a supervisor looks after it."""
    eventually(lambda: made.wait(0.05), seconds)
    return True


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Machines]:
    umask = os.umask(0o077)
    cloud = Machines(tmp_path / "cloud")
    yield cloud
    os.umask(umask)
    for made in cloud.machines:
        made.kill()


# Start and end


def test_a_machine_starts_and_is_halted(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    made = cloud.machine(fake.program, fake.environ, addresses=("127.101.0.7",))
    made.prepare()
    address, port = made.boot()
    assert address == "127.101.0.7" if sys.platform == "linux" else address in ("127.101.0.7", "127.0.0.1")
    socket.create_connection((address, port), 5).close()
    assert not made.wait(0.01)
    assert made.usage()[1] > 1000
    made.halt()
    assert ends(made)
    assert made.wait(1000)
    assert made.usage() == (0.0, 0)
    told = [line.split(" ", 1)[1] for line in cloud.console.splitlines() if line.startswith("20")]
    assert told == [
        "machine 7 starts: 1 CPU, 96 MiB RAM, TCG: tested",
        "the power button is pressed",
        "the guest shuts down",
        "the machine is off",
    ]


def test_the_power_button_is_pressed_until_it_is_heard(cloud: Machines, tmp_path: Path):
    made = cloud.started(FakeQemu(tmp_path / "bin", deaf=3))
    made.halt()
    made.halt()
    assert ends(made)
    assert cloud.console.count("the power button is pressed") == 1


def test_halted_before_it_is_started(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    made = cloud.machine(fake.program, fake.environ)
    made.halt()
    made.prepare()
    made.boot()
    assert ends(made)


def test_no_number_of_presses_blocks(cloud: Machines, tmp_path: Path):
    made = cloud.started(FakeQemu(tmp_path / "bin"))
    for _ in range(5000):
        made.halt()
    assert ends(made)
    assert cloud.console.count("the power button is pressed") == 1


def started_again(made: QemuMachine, fake: FakeQemu, starts: int) -> None:
    """Wait as a supervisor does until QEMU was started so often."""
    eventually(lambda: not made.wait(0.01) and len(fake.starts) == starts)


def test_a_guest_that_is_to_start_again_is_asked_first(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin", deaf=3)
    made = cloud.started(fake)
    place = made._forward
    for starts in (2, 3):
        made.reboot()
        made.reboot()
        started_again(made, fake, starts)
        assert not made.wait(0.05)
    assert made._forward == place
    made.halt()
    assert ends(made)
    told = [line.split(" ", 1)[1] for line in cloud.console.splitlines() if line.startswith("20")]
    again = ["the power button is pressed to reboot", "the guest shuts down", "the guest is started again"]
    assert told[1:] == [*again, *again, "the power button is pressed", "the guest shuts down", "the machine is off"]
    assert len(fake.starts) == 3


def test_the_power_of_a_guest_that_does_not_listen_is_cut(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(qemu_machine, "SHUTDOWN_SECONDS", 0.2)
    fake = FakeQemu(tmp_path / "bin", deaf=1000)
    made = cloud.started(fake)
    made.reboot()
    started_again(made, fake, 2)
    assert "the guest has not shut down in 0 seconds: cutting its power\n" in cloud.console
    assert not made.wait(0.05)


def test_halted_while_it_is_to_start_again(cloud: Machines, tmp_path: Path):
    made = cloud.started(FakeQemu(tmp_path / "bin", deaf=5))
    made.reboot()
    made.halt()
    made.reboot()
    assert ends(made)
    assert "the guest is started again" not in cloud.console


def test_a_guest_that_cannot_be_started_again_has_ended(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    made = cloud.started(fake)
    fake.program.write_text("#!/bin/sh\nexit 1\n")
    made.reboot()
    assert ends(made)
    assert "cannot start the machine again: QEMU does not start" in cloud.console


def test_a_qemu_that_is_killed(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    made = cloud.started(fake)
    os.kill(int((tmp_path / "bin/process").read_text()), signal.SIGKILL)
    assert ends(made)
    assert cloud.console.endswith("QEMU was killed by signal 9\n")


def test_a_qemu_that_crashes(cloud: Machines, tmp_path: Path):
    made = cloud.started(FakeQemu(tmp_path / "bin", tcg="abort"))
    assert ends(made)
    assert f"QEMU was killed by signal {signal.SIGABRT:d}" in cloud.console


def test_a_qemu_that_cannot_start_says_why(cloud: Machines, tmp_path: Path):
    with pytest.raises(MachineError, match=r"^QEMU does not start: failed to initialize: no such luck$"):
        cloud.started(FakeQemu(tmp_path / "bin", tcg="die"))
    made = cloud.machines[0]
    assert made.wait(1000)


def test_a_program_that_is_none(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    fake.program.write_text("#!/nonexistent/program\n")
    with pytest.raises(MachineError, match=rf"^cannot start QEMU: {fake.program}: no such file or directory$"):
        cloud.started(fake)
    fake.program.write_text("")
    fake.program.chmod(0o600)
    with pytest.raises(MachineError, match=rf"^cannot start QEMU: {fake.program}: permission denied$"):
        cloud.started(fake)


def test_a_machine_that_qemu_has_stopped_is_ended(cloud: Machines, tmp_path: Path):
    made = cloud.started(FakeQemu(tmp_path / "bin", tcg="stop"))
    assert ends(made)
    assert "QEMU has stopped the machine (internal-error): killing it" in cloud.console


def test_a_qemu_without_its_sandbox(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin", no_sandbox=True)
    made = cloud.started(fake)
    assert not made.wait(0.01)
    assert ["-sandbox" in start for start in fake.starts] == [True, False]


def test_a_monitor_that_talks_nonsense(cloud: Machines, tmp_path: Path):
    with pytest.raises(MachineError, match="QEMU"):
        cloud.started(FakeQemu(tmp_path / "bin", tcg="nonsense"))
    assert not lives(int((tmp_path / "bin/process").read_text()))


def test_what_the_guest_does_is_on_the_console(cloud: Machines, tmp_path: Path):
    failure = {"node-name": "swap", "operation": "write", "nospace": True, "reason": "No space left on device"}
    events = [
        {"event": "RESET", "data": {"guest": True, "reason": "guest-reset"}},
        {"event": "BLOCK_IO_ERROR", "data": failure},
        {"event": "BLOCK_IO_ERROR", "data": failure},
        {"event": "STOP"},
    ]
    made = cloud.started(FakeQemu(tmp_path / "bin", events=events))
    assert ends(made)
    full = "the disk swap had an I/O error (write): no space left on this computer's disk; further ones are not logged\n"
    assert cloud.console.count(full) == 1


# The forward


def test_another_port_where_the_wanted_one_is_taken(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        made = QemuMachine(
            specified(cloud.directory, addresses=("127.0.0.1",)),
            fake.program,
            fake.environ,
            choose=lambda: "tested",
            port=taken.getsockname()[1],
        )
        cloud.machines.append(made)
        made.prepare()
        address, port = made.boot()
        assert (address, port != taken.getsockname()[1]) == ("127.0.0.1", True)
        socket.create_connection((address, port), 5).close()


# KVM that fails


@pytest.mark.parametrize(
    ("kvm", "why"),
    [
        ("die", "QEMU does not start: failed to initialize: no such luck"),
        ("stop", "QEMU has stopped it: internal-error"),
        ("abort", f"QEMU was killed by signal {signal.SIGABRT:d}"),
    ],
)
def test_a_machine_that_does_not_come_up_with_kvm(
    cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kvm: str, why: str
):
    monkeypatch.setattr(qemu_machine, "TRIAL_SECONDS", 1000.0)
    fake = FakeQemu(tmp_path / "bin", kvm=kvm)
    made = cloud.machine(fake.program, fake.environ, kvm=True)
    made.prepare()
    place = made.boot()

    def started_again() -> bool:
        assert not made.wait(0.05)
        return made._without_kvm != ""

    eventually(started_again)
    assert made._forward == place
    assert [("kvm" in " ".join(start)) for start in fake.starts] == [True, False]
    assert f"the machine fails with KVM ({why}): starting it without\n" in cloud.console
    socket.create_connection(made._forward or ("", 0), 5).close()
    assert not made.wait(0.05)
    made.halt()
    assert ends(made)


def test_a_machine_that_fails_long_after_it_came_up_with_kvm(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(qemu_machine, "TRIAL_SECONDS", 0.0)
    fake = FakeQemu(tmp_path / "bin", kvm="abort")
    made = cloud.started(fake, kvm=True)
    assert ends(made)
    assert (made._without_kvm, len(fake.starts)) == ("", 1)


@pytest.mark.parametrize("ending", ["killed", "off"])
def test_a_machine_that_was_ended_early_did_not_fail(cloud: Machines, tmp_path: Path, ending: str):
    fake = FakeQemu(tmp_path / "bin", kvm="off" if ending == "off" else "silence")
    made = cloud.started(fake, kvm=True)
    if ending == "killed":
        os.kill(int((tmp_path / "bin/process").read_text()), signal.SIGKILL)
    assert ends(made)
    assert len(fake.starts) == 1


def test_kvm_and_its_substitute_both_fail(cloud: Machines, tmp_path: Path):
    with pytest.raises(MachineError, match="QEMU does not start"):
        cloud.started(FakeQemu(tmp_path / "bin", kvm="die", tcg="die"), kvm=True)
    made = cloud.started(FakeQemu(tmp_path / "bin2", kvm="stop", tcg="die"), kvm=True)
    assert ends(made)
    assert "cannot start the machine again: QEMU does not start" in cloud.console


# What others may read and do


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system has no /proc to look at processes")
def test_what_qemu_is_given(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    leak, other = os.pipe()
    os.set_inheritable(leak, True)
    secrets = {"PUBLIC_KEY": "ssh-rsa secret", "PASSWORD": "secret"}
    cloud.started(fake, name="secret", context=secrets, authorized_keys="ssh-rsa secret")
    process = Path("/proc", (tmp_path / "bin/process").read_text())
    assert str(Path(f"/proc/self/fd/{leak}").readlink()) not in [
        str(link.readlink()) for link in process.joinpath("fd").iterdir()
    ]
    assert "secret" not in " ".join(fake.starts[0])
    assert fake.starts[0][1:3] == ["-name", "one-7"]
    assert process.joinpath("cwd").readlink() == cloud.directory / "instances/7"
    assert os.getpgid(int(process.name)) == os.getpgid(0)
    os.close(leak)
    os.close(other)


def test_files_are_the_owners_alone(cloud: Machines, tmp_path: Path):
    os.umask(0)
    disks = (DiskSpec(DiskKind.IMAGE, image=IMAGE), DiskSpec(DiskKind.SWAP, 1), DiskSpec(DiskKind.VOLATILE, 1))
    fake = FakeQemu(tmp_path / "bin")
    made = cloud.machine(fake.program, fake.environ, disks=disks)
    made.prepare()
    made.boot()
    files = {path.name: path.stat().st_mode & 0o777 for path in cloud.file(".").iterdir()}
    assert {"image.qcow2", "swap.raw", "volatile.raw", "context.raw", "qemu.log", "console.log"} <= files.keys()
    assert {name: mode for name, mode in files.items() if mode & 0o077} == {}


_SUPERVISOR = """
import sys, time
from pathlib import Path
from stratuslab.local.machines.qemu.qemu_machine import QemuMachine
from tests.fakes.fake_qemu import specified
made = QemuMachine(specified(Path(sys.argv[1]), addresses=()), Path(sys.argv[2]), {"PATH": ""},
                   choose=lambda: "tested", port=0)
made.prepare()
made.boot()
print("up", flush=True)
made.wait(1000)
"""


def wrapped(fake: FakeQemu, directory: Path) -> Path:
    """A program that runs QEMU as a child, as a script does that somebody has put in QEMU's place."""
    directory.mkdir()
    program = directory / fake.program.name
    program.write_text(f'#!/bin/sh\n"{fake.program}" "$@"\nexit $?\n')
    program.chmod(0o755)
    return program


def test_what_runs_the_machine_keeps_what_it_is_given(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    readable, writable = os.pipe()
    made = cloud.machine(wrapped(fake, tmp_path / "wrapped"), fake.environ, lock=writable)
    made.prepare()
    made.boot()
    os.close(writable)
    os.set_blocking(readable, False)
    with pytest.raises(BlockingIOError):
        os.read(readable, 1)
    os.kill(int((tmp_path / "bin/process").read_text()), signal.SIGKILL)
    assert ends(made)
    assert os.read(readable, 1) == b""
    os.close(readable)


def test_what_runs_the_machine_gets_no_proxies(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("https_proxy", "http://bob:hunter2@proxy.example.org")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    fake = FakeQemu(tmp_path / "bin")
    program = wrapped(fake, tmp_path / "wrapped")
    program.write_text(program.read_text().replace("\n", f"\nenv > {tmp_path}/environment\n", 1))
    made = cloud.machine(program, fake.environ)
    made.prepare()
    made.boot()
    given = (tmp_path / "environment").read_text()
    assert ("PATH=" in given, "hunter2" in given) == (True, False)


@pytest.mark.parametrize("obeys", [True, False])
def test_the_cord_of_a_machine_behind_a_script(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obeys: bool):
    monkeypatch.setattr(qemu_process, "END_SECONDS", 0.2)
    fake = FakeQemu(tmp_path / "bin", disobeys=[] if obeys else ["quit"])
    made = cloud.machine(wrapped(fake, tmp_path / "wrapped"), fake.environ)
    made.prepare()
    made.boot()
    qemu = int((tmp_path / "bin/process").read_text())
    made.kill()
    assert made.wait(1000)
    if obeys:
        eventually(lambda: not lives(qemu))
    else:
        os.kill(qemu, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with the one that started it")
def test_it_ends_with_its_supervisor(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    specified(cloud.directory)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *filter(None, sys.path)])}
    command = [sys.executable, "-c", _SUPERVISOR, str(cloud.directory), str(fake.program)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"up\n"
        qemu = int((tmp_path / "bin/process").read_text())
        assert lives(qemu)
        supervisor.kill()
    eventually(lambda: not lives(qemu))


# The console's log


def test_the_log_of_the_console_is_bounded(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine_output, "MOST_BYTES", 4000)
    monkeypatch.setattr(machine_output, "KEPT_BYTES", 1000)
    made = cloud.started(FakeQemu(tmp_path / "bin"))
    with cloud.file("console.log").open("a") as log:
        for number in range(1000):
            log.write(f"line {number}\n")
            log.flush()
            if number % 100 == 0:
                made.wait(0.001)
                assert cloud.file("console.log").stat().st_size <= 5000
    lines = cloud.console.splitlines()
    assert lines[-1] == "line 999"
    assert all(line.startswith("line ") for line in lines)


def test_a_line_of_ours_begins_a_line(tmp_path: Path):
    log = machine_output.MachineLog(tmp_path / "console.log")
    log.path.write_bytes(b"login: ")
    log.log("the machine is off")
    assert [line[-18:] for line in log.path.read_text().splitlines()] == ["login: ", "the machine is off"]


def test_a_log_that_cannot_be_written_does_no_harm(tmp_path: Path):
    log = machine_output.MachineLog(tmp_path / "nowhere" / "console.log")
    log.log("x")
    log.shorten()
    assert not log.path.exists()


# What a process uses


@pytest.mark.skipif(shutil.which("ps") is None, reason="the computer has no ps")
def test_what_a_process_uses():
    sum(range(10**6))
    for ask in (qemu_process.used, qemu_process._from_ps):
        seconds, memory = ask(os.getpid())
        assert 0 <= seconds < 36000
        assert 10_000 < memory < 10_000_000
    assert qemu_process.used(2**22 + 1) == (0.0, 0)


# Disks

ALL_DISKS = (
    DiskSpec(DiskKind.IMAGE, image=IMAGE),
    DiskSpec(DiskKind.SWAP, 64),
    DiskSpec(DiskKind.VOLATILE, 100),
    DiskSpec(DiskKind.VOLATILE, 1),
    DiskSpec(DiskKind.IMAGE, image=IMAGE, read_only=True),
)


def prepared(cloud: Machines, fake: FakeQemu, **changes: Any) -> QemuMachine:
    made = cloud.machine(fake.program, fake.environ, **changes)
    made.prepare()
    return made


def serials(made: QemuMachine) -> list[str]:
    assert made._hardware is not None
    return [drive.serial for drive in made._hardware.drives]


def test_disks_are_made_once_and_kept(cloud: Machines, tmp_path: Path):
    fake = FakeQemu(tmp_path / "bin")
    made = prepared(cloud, fake, disks=ALL_DISKS)
    assert serials(made) == ["image", "swap", "volatile", "volatile2", "readonly", "context"]
    assert cloud.file("swap.raw").stat().st_size == 64 << 20
    assert cloud.file("swap.raw").stat().st_blocks < 100
    cloud.file("swap.raw").write_bytes(b"written")
    first = cloud.file("context.raw").read_bytes()
    # Killed in the middle: one is half, another not begun.
    cloud.file("volatile.raw").unlink()
    cloud.file("volatile.raw.new").write_bytes(b"half")
    cloud.file("volatile2.raw").unlink()
    prepared(cloud, fake, disks=ALL_DISKS)
    assert cloud.file("swap.raw").read_bytes() == b"written"
    assert cloud.file("volatile.raw").stat().st_size == 100 << 20
    assert cloud.file("volatile2.raw").stat().st_size == 1 << 20
    assert not cloud.file("volatile.raw.new").exists()
    assert cloud.file("context.raw").read_bytes() == first


@pytest.mark.skipif(
    shutil.which("mke2fs", path="/sbin:/usr/sbin") is None or shutil.which("blkid", path="/sbin:/usr/sbin") is None,
    reason="the computer has no mke2fs and blkid",
)
def test_a_volatile_disk_has_a_file_system(cloud: Machines, tmp_path: Path):
    prepared(cloud, FakeQemu(tmp_path / "bin"), disks=(DiskSpec(DiskKind.VOLATILE, 10240),))
    disk = cloud.file("volatile.raw")
    blkid = shutil.which("blkid", path="/sbin:/usr/sbin") or ""
    said = subprocess.run([blkid, "-p", "-o", "export", disk], capture_output=True, text=True, check=True).stdout.splitlines()
    assert {"TYPE=ext4", "LABEL=volatile"} <= set(said)
    # Sparse: what has not been written does not take this computer's room.
    assert disk.stat().st_blocks * 512 < 8 << 20


def test_a_machine_may_have_no_image(cloud: Machines, tmp_path: Path):
    volume = tmp_path / "volume"
    volume.write_bytes(bytes(512))
    made = prepared(cloud, FakeQemu(tmp_path / "bin"), disks=(DiskSpec(DiskKind.VOLUME, 1, file=volume),))
    assert serials(made) == ["persistent", "context"]


def test_a_volume_that_is_gone(cloud: Machines, tmp_path: Path):
    with pytest.raises(MachineError, match=r"^the persistent disk 4f2a no longer exists$"):
        prepared(cloud, FakeQemu(tmp_path / "bin"), disks=(DiskSpec(DiskKind.VOLUME, 1, file=tmp_path / "4f2a"),))


def test_an_image_that_cannot_be_had(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> Path:
        raise StratusLabError("image IMAGE: SHA-1 is 1, the Marketplace says 2", "a hint")

    monkeypatch.setattr(machine_disks, "obtain", refuse)
    with pytest.raises(MachineError, match=r"^image IMAGE: SHA-1 is 1, the Marketplace says 2$"):
        prepared(cloud, FakeQemu(tmp_path / "bin"))


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_is_one_line(cloud: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool):
    def full(path: Path, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([str(path)] if named else []))

    monkeypatch.setattr(os, "truncate", full)
    what = f"{cloud.file('swap.raw.new')}: " if named else ""
    with pytest.raises(MachineError, match=rf"^cannot create the machine's disks: {what}no space left on device$"):
        prepared(cloud, FakeQemu(tmp_path / "bin"), disks=(DiskSpec(DiskKind.SWAP, 1),))
    assert not cloud.file("swap.raw").exists()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="the computer has no qemu-img")
@pytest.mark.parametrize("size", [512, (512 << 20) - 512, 512 << 20, (512 << 20) + 512, 8 << 40])
def test_an_empty_overlay_is_whole(tmp_path: Path, size: int):
    path = tmp_path / "image.qcow2"
    make_overlay(path, size)
    assert virtual_size(path) == size
    checked = subprocess.run(["qemu-img", "check", "--output=json", path], capture_output=True, text=True, check=True)
    told = json.loads(checked.stdout)
    assert (told["check-errors"], told["image-end-offset"], told.get("leaks")) == (0, path.stat().st_size, None)
    assert path.stat().st_blocks * 512 <= 64 << 10


# Kernel images


def archive(**members: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return written.getvalue()


@pytest.fixture
def kernels(cloud: Machines) -> Callable[[bytes], QemuMachine]:
    def put(content: bytes) -> QemuMachine:
        put_image(cloud.directory, content)
        made = cloud.machine(Path("/nowhere/qemu"), {"PATH": ""})
        made.prepare()
        return made

    return put


def test_a_kernel_is_unpacked_once(cloud: Machines, kernels: Callable[[bytes], QemuMachine]):
    made = kernels(archive(vmlinuz=b"K" * 5000, initrd=b"I", cmdline=b"console=ttyS0 quiet\n"))
    assert serials(made) == ["image", "context", "state"]
    assert made._hardware is not None
    kernel = made._hardware.kernel
    assert kernel is not None
    assert (kernel.file.read_bytes(), kernel.initrd.read_bytes()) == (b"K" * 5000, b"I")
    assert kernel.parameters == "console=ttyS0 quiet"
    assert made._hardware.drives[0].read_only
    assert cloud.file("state.raw").read_bytes() == bytes(65536)
    stamp = kernel.file.stat().st_mtime_ns
    made.prepare()
    assert kernel.file.stat().st_mtime_ns == stamp
    assert sorted(path.name for path in (cloud.directory / f"images/{IMAGE}").iterdir()) == ["boot", "image"]


def test_what_a_killed_process_has_left_of_a_kernel_goes_away(cloud: Machines, kernels: Callable[[bytes], QemuMachine]):
    left = cloud.directory / f"images/{IMAGE}/boot.new"
    left.mkdir()
    (left / "vmlinuz").write_bytes(b"half")
    (left / "other").write_bytes(b"x")
    left.with_name(".boot.lock").touch()
    kernels(archive(vmlinuz=b"K", initrd=b"I", cmdline=b""))
    assert sorted(path.name for path in left.parent.iterdir()) == ["boot", "image"]
    assert sorted(path.name for path in left.with_name("boot").iterdir()) == ["cmdline", "initrd", "vmlinuz"]


def sparse(size: int) -> bytes:
    """An archive that is small, and whose initrd was to be large."""
    content = bytearray(archive(vmlinuz=b"K", initrd=b"I" * 512, cmdline=b"quiet"))
    header = tarfile.TarInfo("initrd")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (size - 512, 512)
    block[483:495] = b"%011o\0" % size
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    content[1024:1536] = block
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        archive(vmlinuz=b"K", cmdline=b""),
        archive(vmlinuz=b"K", initrd=b"I", cmdline=b"a\nb"),
        archive(vmlinuz=b"K", initrd=b"I", cmdline=b"x" * 5000),
        archive(vmlinuz=b"K" * 5000, initrd=b"I", cmdline=b"")[:3000],
        archive(vmlinuz=b"K", initrd=b"I", cmdline=b"", other=b"x"),
        sparse(8 << 30),
    ],
    ids=["member missing", "two lines", "long line", "cut off", "one more", "sparse"],
)
def test_a_kernel_image_that_is_damaged(cloud: Machines, kernels: Callable[[bytes], QemuMachine], content: bytes):
    with pytest.raises(MachineError, match=rf"^(the )?image {IMAGE}(: the kernel image is invalid|: the kernel parameters)"):
        kernels(content)
    assert {path.name for path in (cloud.directory / f"images/{IMAGE}").iterdir()} <= {"boot", "image"}


def test_links_in_a_kernel_image_lead_nowhere(tmp_path: Path, kernels: Callable[[bytes], QemuMachine]):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("vmlinuz", "initrd", "cmdline"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, str(secret)
            tar.addfile(link)
    with pytest.raises(MachineError, match="vmlinuz is not a plain file"):
        kernels(written.getvalue())


# With a real QEMU: its guest is one sector


def has_said(cloud: Machines, text: str) -> Callable[[], bool]:
    return lambda: text in cloud.console


class TestReal:
    pytestmark = real

    def booted(self, cloud: Machines, environ: dict[str, str] | None = None, **changes: Any) -> QemuMachine:
        made = cloud.machine(Path(REAL or ""), environ or dict(os.environ), **changes)
        made.prepare()
        made.boot()
        return made

    def test_it_boots_hears_the_button_and_is_off(self, cloud: Machines):
        made = self.booted(cloud, {"PATH": "/nonexistent"}, disks=ALL_DISKS)
        eventually(has_said(cloud, "HELLO FROM THE GUEST"))
        assert made.usage()[1] > 10_000
        made.halt()
        assert ends(made)
        assert cloud.console.endswith("the machine is off\n")
        assert cloud.file("qemu.log").read_text() == ""

    def test_it_is_started_again(self, cloud: Machines):
        made = self.booted(cloud)
        eventually(has_said(cloud, "HELLO FROM THE GUEST"))
        made.reboot()
        eventually(lambda: not made.wait(0.05) and "the guest is started again" in cloud.console)
        eventually(lambda: cloud.console.count("HELLO FROM THE GUEST") == 2)
        assert not made.wait(0.05)
        assert made._forward is not None
        socket.create_connection(made._forward, 5).close()
        made.halt()
        assert ends(made)
        assert cloud.console.endswith("the machine is off\n")

    def test_where_kvm_cannot_be_had_the_guest_comes_up(self, cloud: Machines):
        made = cloud.machine(Path(REAL or ""), dict(os.environ), kvm=True)
        made.prepare()
        made.boot()
        eventually(lambda: not made.wait(0.05) and "HELLO FROM THE GUEST" in cloud.console)
        assert ("fails with KVM" in cloud.console) == (made._without_kvm != "")

    def test_its_image_is_not_changed_and_its_disk_is_kept(self, cloud: Machines):
        content = (cloud.directory / f"images/{IMAGE}/image").read_bytes()
        first = self.booted(cloud)
        eventually(has_said(cloud, "HELLO FROM THE GUEST"))
        assert first._qemu is not None
        first._qemu.kill()
        overlay = cloud.file("image.qcow2").stat().st_ino
        cloud.file("console.log").unlink()
        second = self.booted(cloud)
        eventually(has_said(cloud, "HELLO FROM THE GUEST"))
        assert second._qemu is not None
        assert cloud.file("image.qcow2").stat().st_ino == overlay
        assert (cloud.directory / f"images/{IMAGE}/image").read_bytes() == content

    def test_a_disk_is_as_large_as_was_asked_for(self, cloud: Machines):
        disk = DiskSpec(DiskKind.IMAGE, 64, image=IMAGE)
        self.booted(cloud, disks=(disk,))
        assert virtual_size(cloud.file("image.qcow2")) == 64 << 20
        eventually(has_said(cloud, "HELLO FROM THE GUEST"))

    def test_a_volume_is_booted(self, cloud: Machines, tmp_path: Path):
        volume = tmp_path / "volume"
        volume.write_bytes(bootable(b"FROM A VOLUME"))
        self.booted(cloud, disks=(DiskSpec(DiskKind.VOLUME, 2, file=volume),))
        eventually(has_said(cloud, "FROM A VOLUME"))

    def test_a_volume_has_one_writer(self, cloud: Machines, tmp_path: Path):
        volume = tmp_path / "volume"
        volume.write_bytes(bootable(b"FROM A VOLUME"))
        disks = (DiskSpec(DiskKind.VOLUME, 2, file=volume),)
        self.booted(cloud, disks=disks)
        with pytest.raises(MachineError, match=r'^QEMU does not start: Failed to get "write" lock Is another process using'):
            self.booted(cloud, id=8, disks=disks)

    def test_a_machine_with_more_memory_than_there_is(self, cloud: Machines):
        with pytest.raises(MachineError, match=r"^QEMU does not start: .*memory"):
            self.booted(cloud, memory_mib=1 << 40)

    def test_the_console_is_a_socket_too(self, cloud: Machines):
        self.booted(cloud)
        said: list[bytes] = []

        def read() -> None:
            with socket.socket(socket.AF_UNIX) as reader:
                # A name below the working directory of the reader: the whole may be longer than a socket's can be.
                place = os.open(cloud.file("."), os.O_RDONLY)
                reader.connect(f"/proc/self/fd/{place}/console.sock")
                os.close(place)
                reader.settimeout(30)
                while b"GUEST" not in b"".join(said):
                    said.append(reader.recv(4096))

        reading = threading.Thread(target=read)
        reading.start()
        reading.join(40)
        assert b"FROM THE GUEST" in b"".join(said)
        assert cloud.file("console.sock").stat().st_mode & 0o077 == 0


def test_a_kernel_image_needs_some_ram(cloud: Machines) -> None:
    put_image(cloud.directory, archive(vmlinuz=b"K", initrd=b"I", cmdline=b""))
    with pytest.raises(MachineError, match="does not boot with 64 MiB of RAM: it needs 96"):
        cloud.machine(Path("/nowhere/qemu"), {"PATH": ""}, memory_mib=64).prepare()
