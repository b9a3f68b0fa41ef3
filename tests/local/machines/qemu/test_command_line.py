"""QEMU's command line, as a function of the machine."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stratuslab.local.machines.qemu.command_line import QCOW2, RAW, Drive, Hardware, Kernel, command

DRIVES = (
    Drive("image", Path("image.qcow2"), QCOW2, base=Drive("", Path("/store/images/x/image"), RAW, read_only=True)),
    Drive("swap", Path("swap.raw")),
    Drive("readonly", Path("/store/images/y/image"), QCOW2, read_only=True),
)


def line(kvm: bool = False, sandbox: bool = True, **changes: Any) -> list[str]:
    values = {"id": 7, "vcpu": 2, "memory_mib": 1500, "mac": "02:00:7f:65:00:07", "drives": DRIVES, **changes}
    return command(Path("/usr/bin/qemu"), Hardware(**values), kvm, 9, "console.log", sandbox)


def values(arguments: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(arguments) if name == option]


def nodes(arguments: list[str]) -> dict[str, dict[str, Any]]:
    return {node["node-name"]: node for node in map(json.loads, values(arguments, "-blockdev"))}


def test_the_size_that_was_asked_for():
    arguments = line()
    assert (values(arguments, "-smp"), values(arguments, "-m")) == (["2"], ["1500"])


@pytest.mark.parametrize(
    ("kvm", "processor"),
    [(False, ["-accel", "tcg,thread=multi,tb-size=32", "-cpu", "max"]), (True, ["-accel", "kvm", "-cpu", "host"])],
)
def test_the_processor(kvm: bool, processor: list[str]):
    arguments = line(kvm)
    start = arguments.index("-accel")
    assert arguments[start : start + 4] == processor


def test_nothing_but_what_is_named():
    arguments = line()
    assert {"-nodefaults", "-no-user-config"} <= set(arguments)
    assert values(arguments, "-display") == ["none"]


def test_the_sandbox_can_be_left_out():
    assert values(line(), "-sandbox") == ["on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]
    assert "-sandbox" not in line(sandbox=False)


def test_monitor_and_console():
    assert values(line(), "-chardev") == [
        "socket,id=monitor,fd=9",
        "socket,id=console,path=console.sock,server=on,wait=off,logfile=console.log,logappend=on",
    ]


def test_disks_are_seen_in_their_order_and_known_by_their_serials():
    disks = [device for device in values(line(), "-device") if device.startswith("virtio-blk")]
    assert disks == [
        "virtio-blk-pci,drive=image,serial=image,werror=report,rerror=report,bootindex=0",
        "virtio-blk-pci,drive=swap,serial=swap,werror=report,rerror=report",
        "virtio-blk-pci,drive=readonly,serial=readonly,werror=report,rerror=report",
    ]


def test_every_layer_has_its_format():
    assert nodes(line())["image"] == {
        "driver": "qcow2",
        "node-name": "image",
        "read-only": False,
        "file": {"driver": "file", "filename": "image.qcow2", "locking": "on"},
        "backing": {
            "driver": "raw",
            "read-only": True,
            "file": {"driver": "file", "filename": "/store/images/x/image", "locking": "auto"},
        },
        "discard": "unmap",
        "detect-zeroes": "unmap",
    }


def test_no_file_that_a_disk_names_is_opened():
    read_only = nodes(line())["readonly"]
    assert (read_only["read-only"], read_only["backing"]) == (True, None)
    over = Drive("image", Path("image.qcow2"), QCOW2, base=Drive("", Path("/x"), QCOW2, read_only=True))
    assert nodes(line(drives=(over,)))["image"]["backing"]["backing"] is None
    alone = Drive("image", Path("image.qcow2"), QCOW2)
    assert nodes(line(drives=(alone,)))["image"]["backing"] is None


@pytest.mark.parametrize("name", ["/a,b=c/image", '/a "b"/image', "/a/{b}: c", "/ä/image"])
def test_any_file_name_is_taken_as_it_is(name: str):
    assert nodes(line(drives=(Drive("image", Path(name)),)))["image"]["file"]["filename"] == name


def test_a_kernel_is_booted_directly():
    kernel = Kernel(Path("/b/vmlinuz"), Path("/b/initrd"), "console=ttyS0 quiet")
    arguments = line(kernel=kernel)
    assert arguments[-6:] == ["-kernel", "/b/vmlinuz", "-initrd", "/b/initrd", "-append", "console=ttyS0 quiet"]
    assert "bootindex" not in " ".join(arguments)
