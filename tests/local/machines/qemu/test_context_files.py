"""What guests are told at their start: the texts, their quoting, and the medium that brings them."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import subprocess
from base64 import b64encode
from pathlib import Path

import pycdlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratuslab.local.machines.qemu.context_files import meta_data, quoted, shell_assignments, user_data, vendor_data
from stratuslab.local.machines.qemu.context_medium import context_medium
from tests.fakes.fake_qemu import specified

MAC = "02:00:7f:65:00:07"
KEYS = 'ssh-ed25519 AAAA one\nssh-rsa BBBB it\'s "two" ü'


def sourced(script: str, name: str) -> str:
    """The value that a shell has for a variable once it has read a script."""
    program = f'{script}\nprintf "%s." "${name}"'
    ran = subprocess.run(["sh", "-c", program], env={}, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert ran.stderr == b""
    return ran.stdout.decode("utf-8", "surrogateescape")[:-1]


# context.sh


@settings(max_examples=60, deadline=None)
@given(st.text() | st.text("'\"\\$`\n !#;&|\t", max_size=12))
def test_a_shell_reads_what_was_meant(value: str):
    assert sourced(f"X={quoted(value)}", "X") == value.replace("\0", "")


def test_a_nul_is_left_out():
    assert quoted("a\0b") == "'ab'"


def test_the_context_of_the_instance(tmp_path: Path):
    context = {"CUSTOM": "it's\n$HOME", "ETH0_IP": "127.101.0.7", "ETH1_MAC": "x", "NETWORK": "YES", "0DD": "x", "A B": "x"}
    script = shell_assignments(specified(tmp_path, context=context, authorized_keys=KEYS), MAC)
    assert sourced(script, "CUSTOM") == "it's\n$HOME"
    assert sourced(script, "SSH_PUBLIC_KEY") == KEYS
    assert sourced(script, "SET_HOSTNAME") == "one-7"
    network = {"IP": "10.0.2.15", "MASK": "255.255.255.0", "NETWORK": "10.0.2.0", "GATEWAY": "10.0.2.2", "DNS": "10.0.2.3"}
    assert {name: sourced(script, f"ETH0_{name}") for name in network} == network
    assert sourced(script, "ETH0_MAC") == MAC
    assert sourced(script, "NETWORK") == "YES"
    assert "ETH1" not in script
    assert "0DD" not in script
    assert "A B" not in script


def test_a_machine_without_keys_is_told_none(tmp_path: Path):
    assert "SSH_PUBLIC_KEY" not in shell_assignments(specified(tmp_path), MAC)


# The host name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one-7", "one-7"),
        ("My Machine", "my-machine"),
        ("web.example.org", "web"),
        ("Zürich", "zurich"),
        ("--x--", "x"),
        ("a_b", "a-b"),
        ("日本", "one-7"),
        ("", "one-7"),
        ("...", "one-7"),
        ("x" * 62 + "-yz", "x" * 62),
        ("$(reboot)", "reboot"),
    ],
)
def test_a_name_becomes_a_host_name(tmp_path: Path, name: str, expected: str):
    assert specified(tmp_path, name=name).host_name == expected


@settings(deadline=None)
@given(name=st.text(max_size=140))
def test_a_host_name_is_a_label(tmp_path_factory: pytest.TempPathFactory, name: str):
    made = specified(tmp_path_factory.getbasetemp() / "names", name=name).host_name
    assert 0 < len(made) < 64
    assert made.strip("-") == made
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_the_context_may_name_the_host(tmp_path: Path):
    assert specified(tmp_path, context={"HOSTNAME": "db"}).host_name == "db"
    assert specified(tmp_path, context={"HOSTNAME": "db", "SET_HOSTNAME": "web"}).host_name == "web"


# cloud-init


def test_meta_data(tmp_path: Path):
    said = json.loads(meta_data(specified(tmp_path, authorized_keys=KEYS), "an-id"))
    assert said == {"instance-id": "an-id", "local-hostname": "one-7", "public-keys": KEYS.splitlines()}


def test_documents_have_nothing_that_yaml_has_not(tmp_path: Path):
    text = meta_data(specified(tmp_path, authorized_keys="ssh-rsa A \x07\x7f\u009f\ud800\U0001f600 x"), "an-id")
    assert json.loads(text)["public-keys"][0].endswith(" x")
    assert all(character == "\n" or character.isprintable() for character in text)
    text.encode()


PACKED = gzip.compress(b"#!/bin/sh\n", mtime=0)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({}, b"#cloud-config\n{}\n"),
        ({"USER_DATA": "#!/bin/sh\n"}, b"#!/bin/sh\n"),
        ({"USERDATA": "ü"}, "ü".encode()),
        ({"USER_DATA": b64encode(PACKED).decode(), "USER_DATA_ENCODING": "base64"}, PACKED),
        ({"USER_DATA": b64encode(b"x").decode(), "USERDATA_ENCODING": "base64"}, b"x"),
        ({"USER_DATA": "a", "USERDATA_ENCODING": "base64"}, b"a"),
        ({"CLOUD_INIT_USER_DATA": b64encode(PACKED).decode()}, PACKED),
    ],
    ids=["none", "text", "not ASCII", "packed", "base64", "no base64", "StratusLab's"],
)
def test_user_data(context: dict[str, str], expected: bytes):
    assert user_data(context) == expected


def test_what_other_images_are_asked_to_do(tmp_path: Path):
    text = vendor_data(specified(tmp_path, authorized_keys=KEYS), ["image", "swap", "volatile", "volatile2"])
    first, _, rest = text.partition("\n")
    assert first == "#cloud-config"
    said = json.loads(rest)
    assert (said["disable_root"], said["ssh_authorized_keys"]) == (False, KEYS.splitlines())
    by_id = "/dev/disk/by-id/virtio-"
    assert said["mounts"] == [
        [f"{by_id}swap", "none", "swap", "sw,nofail", "0", "0"],
        [f"{by_id}volatile", "/mnt", "ext4", "defaults,nofail", "0", "0"],
    ]
    assert [(one["device"], one["filesystem"], one["overwrite"]) for one in said["fs_setup"]] == [
        (f"{by_id}swap", "swap", False),
        (f"{by_id}volatile", "ext4", False),
    ]
    assert "mounts" not in vendor_data(specified(tmp_path), ["image"])


# The medium

CONTEXT = {"context.sh": b"A='1'\n", "user-data": b"x" * 5000}
CIDATA = {"meta-data": b"{}\n", "user-data": b"", "vendor-data": b"#cloud-config\n"}


def files(image: bytes) -> dict[str, bytes]:
    """What is on an ISO image, by its names in Rock Ridge, after a look that those of Joliet are the same."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    found: dict[str, bytes] = {}
    for child in iso.list_children(rr_path="/"):
        if child is None or not child.is_file():
            continue
        written = io.BytesIO()
        name = child.rock_ridge.name().decode()
        iso.get_file_from_iso_fp(written, rr_path=f"/{name}")
        found[name] = written.getvalue()
    joliet = [child.file_identifier().decode("utf-16-be") for child in iso.list_children(joliet_path="/") if child.is_file()]
    assert sorted(joliet) == sorted(found)
    iso.close()
    return found


def label(image: bytes) -> str:
    return image[16 * 2048 + 40 : 16 * 2048 + 72].decode().rstrip()


def partitions(image: bytes) -> list[bytes]:
    """The partitions of a disk, as its table has them."""
    assert image[510:512] == b"\x55\xaa"
    found: list[bytes] = []
    for at in range(446, 510, 16):
        status, _, kind, _, start, sectors = struct.unpack("<B3sB3sII", image[at : at + 16])
        if sectors:
            assert (status, kind) == (0, 0x83)
            found.append(image[start * 512 : (start + sectors) * 512])
    return found


def test_the_medium_is_two_in_one():
    medium = context_medium(CONTEXT, CIDATA)
    assert (label(medium), files(medium)) == ("CONTEXT", CONTEXT)
    # Programs that look for a label look at the partitions alone where a disk has some.
    first, second = partitions(medium)
    assert (label(first), files(first)) == ("CONTEXT", CONTEXT)
    assert (label(second), files(second)) == ("cidata", CIDATA)
    assert medium == first + second


@pytest.mark.skipif(shutil.which("blkid") is None, reason="the computer has no blkid")
def test_linux_knows_both_by_their_labels(tmp_path: Path):
    medium = context_medium(CONTEXT, CIDATA)
    for name, content in zip(("CONTEXT", "cidata"), partitions(medium), strict=True):
        (tmp_path / name).write_bytes(content)
        told = subprocess.run(["blkid", "-p", "-o", "export", tmp_path / name], capture_output=True, text=True, check=True)
        assert {f"LABEL={name}", "TYPE=iso9660"} <= set(told.stdout.splitlines())
