"""KVM where it is proven to work, TCG and the reason elsewhere."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stratuslab.local.engine.driver_choice import new_machine
from stratuslab.local.machines.driver import MachineError
from stratuslab.local.machines.qemu import qemu_program
from stratuslab.local.machines.qemu.qemu_program import describe_qemu, find_qemu, kvm_problem
from tests.fakes.fake_qemu import FakeQemu, specified


class Computer:
    """A computer with KVM, until something is taken away."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.device, self.processors = directory / "kvm", directory / "cpuinfo"
        self.device.write_bytes(b"")
        self.processors.write_text("processor\t: 0\nflags\t\t: fpu vme vmx ssse3\n")
        for name, path in (("_DEVICE", self.device), ("_PROCESSORS", self.processors)):
            monkeypatch.setattr(qemu_program, name, path)
        monkeypatch.setattr(sys, "platform", "linux")
        self.machine("x86_64")
        self.answers(12)

    def machine(self, name: str) -> None:
        class Names:
            machine = name

        self._patch.setattr(os, "uname", lambda: Names)

    def answers(self, version: int, refusal: int = 0) -> None:
        def ioctl(device: int, request: int, argument: int = 0) -> int:
            if request == 0xAE00:
                return version
            if refusal:
                raise OSError(refusal, os.strerror(refusal))
            return os.open(os.devnull, os.O_RDONLY)

        self._patch.setattr(fcntl, "ioctl", ioctl)


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    (tmp_path / "computer").mkdir()
    return Computer(tmp_path / "computer", monkeypatch)


def test_kvm_where_it_makes_a_machine(computer: Computer):
    assert kvm_problem() == ""


def test_a_processor_without_virtualisation(computer: Computer):
    computer.processors.write_text("flags\t\t: fpu vmxish\nmodel name: svm\n")
    assert kvm_problem() == "the processor has no vmx or svm"


def test_amd_has_its_own_word(computer: Computer):
    computer.processors.write_text("flags\t\t: fpu svm\n")
    assert kvm_problem() == ""


def test_no_device(computer: Computer):
    computer.device.unlink()
    assert kvm_problem() == f"cannot open {computer.device}: no such file or directory"


@pytest.mark.skipif(os.getuid() == 0, reason="root may open everything")
def test_a_device_of_others(computer: Computer):
    computer.device.chmod(0)
    assert kvm_problem() == f"cannot open {computer.device}: permission denied"


def test_a_device_that_is_none(computer: Computer):
    computer.answers(11)
    assert kvm_problem() == f"{computer.device} has version 11, not 12"


def test_a_device_that_makes_no_machine(computer: Computer):
    computer.answers(12, errno.EBUSY)
    assert kvm_problem() == f"{computer.device} cannot create a machine: device or resource busy"


def test_other_systems_and_processors(computer: Computer, monkeypatch: pytest.MonkeyPatch):
    computer.machine("aarch64")
    assert kvm_problem() == "KVM needs Linux on x86_64"
    computer.machine("x86_64")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kvm_problem() == "KVM needs Linux on x86_64"


def test_qemu_is_found_on_the_path_and_described(computer: Computer, tmp_path: Path):
    qemu = FakeQemu(tmp_path / "bin")
    installed = find_qemu(qemu.environ)
    assert installed is not None
    assert installed == qemu.program
    assert describe_qemu(installed) == "QEMU 9.9.9, KVM"
    computer.processors.write_text("")
    assert describe_qemu(installed) == "QEMU 9.9.9, TCG: the processor has no vmx or svm"


def test_a_computer_without_qemu(tmp_path: Path):
    nowhere = {"PATH": str(tmp_path)}
    assert find_qemu(nowhere) is None
    with pytest.raises(MachineError, match=r"qemu-system-x86_64 is not installed on this computer: install QEMU, or"):
        new_machine(replace(specified(tmp_path), hypervisor="qemu"), nowhere)


def test_a_qemu_that_does_not_start(computer: Computer, tmp_path: Path):
    qemu = FakeQemu(tmp_path / "bin")
    qemu.program.write_text("#!/nonexistent\n")
    assert describe_qemu(qemu.program) == "QEMU (does not start), KVM"
    qemu.program.write_text("#!/bin/sh\necho hello\n")
    assert describe_qemu(qemu.program) == "QEMU (unknown version), KVM"
