"""Simulated machines for tests: their description, and one that runs in this process."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import paramiko
import pexpect
import pytest

from stratuslab.local.machines.driver import DiskKind, DiskSpec, MachineSpec
from stratuslab.local.machines.simulated.simulated_machine import SimulatedMachine

needs_openssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="the system has no OpenSSH client")


def disks(swap: int = 0, volatile: int = 0) -> tuple[DiskSpec, ...]:
    """The disks of a machine with an image; sizes in MiB."""
    image = DiskSpec(DiskKind.IMAGE, image="BN1EEkPiBx87_uLj2-sdybSI-Xb")
    empty = (DiskSpec(DiskKind.SWAP, swap), DiskSpec(DiskKind.VOLATILE, volatile))
    return (image, *(disk for disk in empty if disk.size_mib))


def specified(directory: Path = Path("/nowhere"), **changes: object) -> MachineSpec:
    """The description of an instance of the guide's default type, with changes."""
    values: dict[str, object] = {
        "id": 165,
        "name": "one-165",
        "vcpu": 2,
        "memory_mib": 128,
        "disks": disks(swap=1024, volatile=2048),
        "addresses": ("127.101.0.1",),
        "authorized_keys": "",
        "context": {},
        "image": "BN1EEkPiBx87_uLj2-sdybSI-Xb",
        "directory": directory,
    }
    return MachineSpec(**{**values, **changes})  # type: ignore[arg-type]


class Booted:
    """A machine that runs in this process, and where it is."""

    def __init__(self, machine: SimulatedMachine, directory: Path, private_key: Path) -> None:
        self.machine = machine
        self.directory = directory
        self.private_key = private_key
        machine.prepare()
        self.address, self.port = machine.boot()

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    def command(self, *words: str, user: str = "root") -> list[str]:
        """The ssh command line that logs in to the machine and minds nothing of this computer's configuration."""
        options = {
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(self.known_hosts),
            "BatchMode": "yes",
            "LogLevel": "INFO",
            "ConnectTimeout": "10",
        }
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        target = ["-i", str(self.private_key), "-p", str(self.port), f"{user}@{self.address}", *words]
        return ["ssh", "-F", os.devnull, *flags, *target]

    def ssh(self, *words: str, given: bytes = b"", user: str = "root") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(*words, user=user), input=given, capture_output=True, timeout=30, check=False)

    def client(self, key: paramiko.PKey | None = None, user: str = "root") -> paramiko.SSHClient:
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(
            self.address,
            self.port,
            user,
            pkey=key or paramiko.Ed25519Key.from_private_key_file(str(self.private_key)),
            allow_agent=False,
            look_for_keys=False,
            timeout=10,
        )
        return client

    def terminal(self, *words: str) -> pexpect.spawn[str]:
        """The system's ssh on a terminal, at the guest's first prompt."""
        command = self.command(*words)
        child = pexpect.spawn(command[0], command[1:], encoding="utf-8", timeout=10, dimensions=(24, 80))
        # What ssh says of the new host key.
        child.expect_exact("# ")
        return child
