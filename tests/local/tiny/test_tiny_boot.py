"""The tiny image, made of real packages and booted by QEMU: what its guest does, seen through SSH, the console and QMP."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from stratuslab.local.tiny.build_tiny import TinyImage

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(240)]

BOOT_SECONDS = 90.0


class TinyMachine:
    """A machine of the image: one QEMU process with the disks of an instance."""

    def __init__(self, directory: Path, image: TinyImage) -> None:
        self.directory = directory
        with tarfile.open(image.path) as archive:
            archive.extractall(directory, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(directory)
        directory.joinpath("image").symlink_to(image.path)
        for name, size in (("swap", 64 << 20), ("volatile", 64 << 20), ("persistent", 16 << 20), ("state", 64 << 10)):
            with directory.joinpath(name).open("wb") as stream:
                stream.truncate(size)
        self.key = directory / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.context(SSH_PUBLIC_KEY=self.key.with_suffix(".pub").read_text().strip(), SET_HOSTNAME="one-165")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def context(self, **variables: str) -> None:
        import pycdlib

        network = {
            "ETH0_IP": "10.0.2.15",
            "ETH0_MASK": "255.255.255.0",
            "ETH0_GATEWAY": "10.0.2.2",
            "ETH0_DNS": "10.0.2.3",
        }
        text = "".join(f"{name}='{value}'\n" for name, value in {**network, **variables}.items()).encode()
        medium = pycdlib.PyCdlib()
        medium.new(vol_ident="CONTEXT", rock_ridge="1.09")
        medium.add_fp(io.BytesIO(text), len(text), "/CONTEXT.SH;1", rr_name="context.sh")
        medium.write(str(self.directory / "context"))
        medium.close()

    def start(self, memory: int = 128, cpus: int = 2, without: tuple[str, ...] = ()) -> None:
        command = [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
            *("-M", "q35,usb=off,smbus=off,sata=off,vmport=off,graphics=off", "-accel", "tcg,tb-size=32", "-cpu", "max"),
            *("-smp", str(cpus), "-m", str(memory), "-kernel", "vmlinuz", "-initrd", "initrd"),
            *("-append", self.directory.joinpath("cmdline").read_text().strip()),
            *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-chardev", "socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log"),
            *("-serial", "chardev:console", "-qmp", "unix:qmp.sock,server=on,wait=off"),
        ]
        for name in ("image", "swap", "volatile", "persistent", "context", "state"):
            if name not in without:
                readonly = "on" if name in ("image", "context") else "off"
                command += ["-drive", f"if=none,id={name},file={name},format=raw,readonly={readonly}"]
                command += ["-device", f"virtio-blk-pci,drive={name},serial={name}"]
        self.process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL)

    def wait_for_banner(self) -> None:
        def banner() -> bool:
            assert self.process is not None and self.process.poll() is None, self.console
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                    connection.settimeout(0.5)
                    return connection.recv(4) == b"SSH-"
            except OSError:
                return False

        self.wait_until(banner)

    def wait_until(self, condition: Callable[[], bool], seconds: float = BOOT_SECONDS) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.console
            time.sleep(0.05)

    @property
    def console(self) -> str:
        return (self.directory / "console.log").read_text("utf-8", "replace")

    def options(self) -> list[str]:
        known = f"UserKnownHostsFile={self.directory}/known_hosts"
        return ["-F", "none", "-o", known, "-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-i", str(self.key)]

    def ssh(self, command: str) -> str:
        ran = subprocess.run(
            ["ssh", *self.options(), "-o", "LogLevel=ERROR", "-p", str(self.port), "root@127.0.0.1", command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), (command, ran)
        return ran.stdout

    def session(self) -> pexpect.spawn[str]:
        child = pexpect.spawn(
            "ssh", [*self.options(), "-tt", "-p", str(self.port), "root@127.0.0.1"], timeout=30, encoding="utf-8"
        )
        child.expect_exact("# ")
        return child

    def connection(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        # A socket's path has at most 107 bytes, and that of a test's directory may be longer.
        place = os.open(self.directory, os.O_RDONLY)
        try:
            connection.connect(f"/proc/self/fd/{place}/{name}")
        finally:
            os.close(place)
        return connection

    def monitor(self, command: str) -> None:
        with self.connection("qmp.sock") as connection:
            stream = connection.makefile("rw")
            for name in ("", "qmp_capabilities", command):
                if name:
                    stream.write(json.dumps({"execute": name}) + "\n")
                    stream.flush()
                stream.readline()

    def ended(self, seconds: float = 30) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def machine(tmp_path: Path, tiny: TinyImage) -> Iterator[TinyMachine]:
    booted = TinyMachine(tmp_path, tiny)
    try:
        yield booted
    finally:
        booted.kill()


def test_the_machine_is_as_it_was_asked_for(machine: TinyMachine, tmp_path: Path):
    machine.start(memory=128, cpus=2)
    machine.wait_for_banner()
    assert machine.ssh("nproc; hostname; whoami; echo $USER $HOME") == "2\none-165\nroot\nroot /root\n"
    memory, swap = (int(re.findall(r"\d+", line)[0]) for line in machine.ssh("free").splitlines()[1:3])
    assert 80 << 10 < memory < 128 << 10
    assert swap == (64 << 10) - 4
    assert "/dev/vdb" in machine.ssh("swapon -s")
    assert machine.ssh("uname -s; cat /etc/resolv.conf") == "Linux\nnameserver 10.0.2.3\n"
    links = machine.ssh("cd /dev/disk/by-id; for link in *; do echo $link $(readlink -f $link); done").splitlines()
    serials = ("context", "image", "persistent", "state", "swap", "volatile")
    devices = ("vde", "vda", "vdd", "vdf", "vdb", "vdc")
    assert links == [f"virtio-{serial} /dev/{device}" for serial, device in zip(serials, devices, strict=True)]
    assert machine.ssh("stat -c %a /root/.ssh/authorized_keys; which vi wget tar ps dmesg fdisk df | wc -l") == "600\n7\n"
    assert "login ready" in machine.console

    # A volatile disk that held nothing gets a file system, in its own time.
    machine.wait_until(lambda: "/dev/vdc on /mnt type ext4" in machine.ssh("mount"))
    machine.ssh("mkfs.ext4 -q /dev/disk/by-id/virtio-persistent && mount /dev/disk/by-id/virtio-persistent /media")
    assert 'TYPE="ext4"' in machine.ssh("echo kept >/media/file; blkid /dev/vdd")
    machine.ssh("(sleep 0.1 &) >/dev/null 2>&1")
    machine.wait_until(lambda: " Z " not in machine.ssh("cat /proc/[0-9]*/stat 2>/dev/null; sleep 0.2"))

    tmp_path.joinpath("sent").write_bytes(bytes(range(256)) * 999)
    batch = f"put {tmp_path}/sent /tmp/there\nget /tmp/there {tmp_path}/back\n"
    sent = ["sftp", "-q", "-b", "-", "-P", str(machine.port), *machine.options(), "root@127.0.0.1"]
    subprocess.run(sent, input=batch, text=True, check=True, capture_output=True, timeout=60)
    assert tmp_path.joinpath("back").read_bytes() == tmp_path.joinpath("sent").read_bytes()


def test_the_session_of_the_guide(machine: TinyMachine):
    machine.start(cpus=1)
    machine.wait_for_banner()
    session = machine.session()
    greeting = [line for line in str(session.before).splitlines() if line.strip() and "known hosts" not in line]
    assert greeting == []
    session.sendline("echo $USER")
    session.expect_exact("root\r\n")
    session.expect_exact("# ")
    session.sendline("shutdown -h")
    session.expect_exact("# ")
    session.expect_exact("closed by remote host.")
    assert machine.ended() == 0
    session.close()


def test_a_reboot_keeps_the_host_key_and_the_disks(machine: TinyMachine):
    machine.start(cpus=1)
    machine.wait_for_banner()
    machine.ssh(
        "mke2fs -q /dev/disk/by-id/virtio-persistent; mount /dev/disk/by-id/virtio-persistent /media; echo kept >/media/f"
    )
    known = (machine.directory / "known_hosts").read_text()
    booted = machine.ssh("cat /proc/sys/kernel/random/boot_id")
    machine.ssh("reboot")

    def rebooted() -> bool:
        machine.wait_for_banner()
        try:
            return machine.ssh("cat /proc/sys/kernel/random/boot_id") != booted
        except AssertionError:
            return False

    machine.wait_until(rebooted)
    assert machine.ssh("mount /dev/disk/by-id/virtio-persistent /media; cat /media/f; swapon -s | wc -l") == "kept\n2\n"
    # And another QEMU, too, with the same disks.
    machine.ssh("halt")
    assert machine.ended() == 0
    machine.start(cpus=1)
    machine.wait_for_banner()
    machine.ssh("true")
    assert (machine.directory / "known_hosts").read_text() == known


@pytest.mark.parametrize("command", ["poweroff", "shutdown -P now", "init 0"])
def test_commands_that_turn_it_off(machine: TinyMachine, command: str):
    machine.start(cpus=1)
    machine.wait_for_banner()
    machine.ssh(command)
    assert machine.ended() == 0


def test_a_planned_shutdown_is_taken_back(machine: TinyMachine):
    machine.start(cpus=1)
    machine.wait_for_banner()
    assert machine.ssh("shutdown -h +1; shutdown -c; shutdown -c 2>&1 || true; shutdown -h 22:00 2>&1 || true") == (
        "poweroff in 1 minutes; shutdown -c takes it back\n"
        "shutdown: no shutdown is planned\n"
        "shutdown: '22:00' is no time; give now or +MINUTES\n"
    )
    assert machine.ssh("ps | grep -c '[s]leep 60' || true") == "0\n"


def test_the_power_button_turns_it_off(machine: TinyMachine):
    machine.start(cpus=1)
    machine.wait_for_banner()
    machine.wait_until(lambda: "acpid" in machine.ssh("ps"))
    machine.monitor("system_powerdown")
    assert machine.ended() == 0


def test_keys_and_a_script_of_the_context(machine: TinyMachine):
    keys = base64.b64encode(machine.key.with_suffix(".pub").read_bytes()).decode()
    script = base64.b64encode(b'echo "it\'s $SET_HOSTNAME" >/run/said').decode()
    machine.context(
        PUBLIC_KEY="no key\nand another line",
        CLOUD_INIT_AUTHORIZED_KEYS=keys,
        SET_HOSTNAME="one-166",
        START_SCRIPT_BASE64=script,
        PATH="/nowhere",
        IFS="/",
    )
    machine.start(cpus=1)
    machine.wait_for_banner()
    machine.wait_until(lambda: machine.ssh("cat /run/said 2>/dev/null || true") == "it's one-166\n")


def test_little_memory_and_nothing_but_the_image(machine: TinyMachine):
    """96 MiB, no disk and no context: the network comes from DHCP, the console says that nobody can log in, and has a shell."""
    machine.start(memory=96, cpus=1, without=("swap", "volatile", "persistent", "context", "state"))
    machine.wait_for_banner()
    machine.wait_until(lambda: "Press Enter" in machine.console)
    assert "tiny: no public key was given: nobody can log in by SSH" in machine.console
    with machine.connection("console.sock") as connection:
        connection.settimeout(BOOT_SECONDS)
        seen = ""

        def see(text: str) -> None:
            # Read all the time: QEMU waits for who is connected to its console and does not read.
            nonlocal seen
            while text not in seen:
                seen += connection.recv(4096).decode("utf-8", "replace")

        connection.sendall(b"\n")
        see("# ")
        connection.sendall(b"ifconfig eth0; cat /etc/resolv.conf\n")
        see("inet addr:10.0.2.15")
        see("nameserver 10.0.2.3")
        connection.sendall(b"poweroff\n")
        see("Power down")
    assert machine.ended() == 0
