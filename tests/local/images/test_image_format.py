"""The form of images, and above all qcow2 images that would lead out of their file."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.local.images import ImageError
from stratuslab.local.images.image_format import detect_format, kernel_members, virtual_size

CLUSTER = 1 << 16
needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="there is no qemu-img")


def qcow2(version: int = 3, extensions: bytes = b"", **fields: Any) -> bytes:
    """A whole image of 1 GiB with nothing on it; fields of its header as told."""
    values = {
        "backing": 0,
        "backing_length": 0,
        "cluster_bits": 16,
        "size": 1 << 30,
        "encryption": 0,
        "l1_entries": 2,
        "l1": 3 * CLUSTER,
        "refcounts": CLUSTER,
        "refcount_clusters": 1,
        "snapshots": 0,
        "snapshots_at": 0,
        "features": 0,
        "compatible": 0,
        "autoclear": 0,
        "refcount_order": 4,
        "header_length": 104,
    } | fields
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, *list(values.values())[:11])
    if version == 3:
        header += struct.pack(">QQQII", *list(values.values())[11:])
    return (header + extensions).ljust(4 * CLUSTER, b"\0")


def archive(*members: tuple[str, bytes], kind: int = tarfile.USTAR_FORMAT, **fields: Any) -> bytes:
    """A tar of these files; fields of the last one's header as told."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
        for place, (name, data) in enumerate(members, 1):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for field, value in fields.items() if place == len(members) else ():
                setattr(member, field, value)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def with_size(data: bytes, size: bytes) -> bytes:
    """The tar with another size in its first header, and the checksum that belongs to that."""
    head = data[:124] + size + data[136:148] + b" " * 8 + data[156:512]
    return head[:148] + f"{sum(head):06o}\0 ".encode() + head[156:] + data[512:]


KERNEL, INITRD, CMDLINE = WHOLE = (("vmlinuz", b"K" * 700), ("initrd", b"I" * 512), ("cmdline", b"quiet\n"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


@pytest.mark.parametrize("content", [b"", b"x", bytes(512), b"QFI", b"qcow2" * 1000])
def test_all_else_is_a_raw_disk(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert (detect_format(path), virtual_size(path)) == ("raw", -(-len(content) // 512) * 512)


@pytest.mark.parametrize(("first", "expected"), [("vmlinuz", "kernel"), ("disk.raw", "raw"), ("x/vmlinuz", "raw")])
@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_kernel_in_a_tar(path: Path, first: str, expected: str, kind: int) -> None:
    path.write_bytes(archive((first, b"K"), ("initrd", b"I"), ("cmdline", b""), kind=kind))
    assert detect_format(path) == expected


@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_qcow2(path: Path, version: int) -> None:
    path.write_bytes(qcow2(version))
    assert (detect_format(path), virtual_size(path)) == ("qcow2", 1 << 30)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (qcow2(backing=1024, backing_length=11), "backing file"),
        (qcow2(2, backing=1024, backing_length=11), "backing file"),
        (qcow2(features=4), "external data file"),
        (qcow2(extensions=struct.pack(">II8s", 0x44415441, 7, b"/etc/x\0")), "external data file"),
        (qcow2(extensions=struct.pack(">II8sII8s", 0x6803F857, 8, b"", 0x44415441, 8, b"/etc/x")), "external data file"),
        (qcow2(2, extensions=struct.pack(">II8s", 0x44415441, 7, b"/etc/x")), "external data file"),
        (qcow2(header_length=112, extensions=struct.pack(">QII8s", 0, 0x44415441, 7, b"x")), "external data file"),
        (qcow2(encryption=1), "encrypted"),
        (qcow2(encryption=2), "encrypted"),
        (qcow2(features=1 << 9), "unknown features"),
        (qcow2(features=2), "damaged: it is marked as corrupt"),
        (qcow2(1), "version 1"),
        (qcow2(4), "version 4"),
        (qcow2(size=(16 << 40) + 512), "a disk of 16 TiB; at most 16 are"),
        (qcow2(size=1 << 62), "a disk of 4194304 TiB"),
        (qcow2(cluster_bits=8), "cluster size"),
        (qcow2(cluster_bits=22), "cluster size"),
        (qcow2(cluster_bits=2**32 - 1), "cluster size"),
        (qcow2(size=0), "disk size is 0"),
        (qcow2(size=1 << 43, l1_entries=2), "does not match its size"),
        (qcow2(l1_entries=1), "does not match its size"),
        (qcow2(l1_entries=2**32 - 1), "does not match its size"),
        (qcow2(l1=0), "misplaced"),
        (qcow2(l1=2**62), "beyond the end"),
        (qcow2(l1=3 * CLUSTER + 512), "misplaced"),
        (qcow2(refcounts=2**63), "beyond the end"),
        (qcow2(header_length=100), "its header length is 100 bytes"),
        (qcow2(header_length=2**31), "its header length"),
        (qcow2(extensions=struct.pack(">II", 1, 2**32 - 1)), "extensions are too long"),
        (qcow2()[:3000], "beyond the end"),
        (qcow2()[:105], "truncated"),
        (qcow2()[:90], "truncated"),
        (qcow2()[:71], "truncated"),
        (b"QFI\xfb", "truncated"),
    ],
)
def test_what_is_refused(path: Path, image: bytes, why: str) -> None:
    path.write_bytes(image)
    for ask in (detect_format, virtual_size):
        with pytest.raises(ImageError, match=why):
            ask(path)


@given(st.binary(max_size=200), st.integers(0, 1))
def test_hostile_headers(tmp_path_factory: pytest.TempPathFactory, content: bytes, whole: int) -> None:
    path = tmp_path_factory.mktemp("hostile") / "image"
    path.write_bytes((b"QFI\xfb\0\0\0\3" + content).ljust(whole * 4 * CLUSTER, b"\0"))
    try:
        assert detect_format(path) == "qcow2"
        assert 0 < virtual_size(path) < 2**64
    except ImageError:
        pass


@given(st.lists(st.tuples(st.integers(4, 119), st.integers(0, 255)), max_size=6), st.sampled_from([2, 3]))
def test_damaged_headers(tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], version: int) -> None:
    image = bytearray(qcow2(version))
    for place, byte in changes:
        image[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "image"
    path.write_bytes(image)
    try:
        assert 0 < virtual_size(path) < 2**64
        # What is taken leads nowhere else: no backing file is named, and no data file.
        assert image[8:20] == bytes(12)
        assert version == 2 or not image[79] & 4
    except ImageError:
        pass


def test_the_members_of_a_kernel_image(path: Path) -> None:
    path.write_bytes(archive(*WHOLE))
    assert kernel_members(path) == {"vmlinuz": (512, 700), "initrd": (2048, 512), "cmdline": (3072, 6)}
    path.write_bytes(archive(*WHOLE)[: 3072 + 6])
    assert kernel_members(path)["cmdline"] == (3072, 6)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (archive(KERNEL), "initrd is missing"),
        (archive(KERNEL, INITRD), "cmdline is missing"),
        (archive(KERNEL, CMDLINE, INITRD), "expected initrd, found 'cmdline'"),
        (archive(KERNEL, ("x\n" * 20, b"I"), CMDLINE), r"expected initrd, found 'x\\nx\\n"),
        (archive(KERNEL, (f"{'x' * 80}/{'y' * 90}", b"I"), CMDLINE), "expected initrd, found"),
        (archive(*WHOLE, ("more", b"")), "more than"),
        (archive(KERNEL, INITRD, ("cmdline", b"x" * 2048)), "cmdline is longer than 2047 bytes"),
        (archive(("vmlinuz", b""), INITRD, CMDLINE), "vmlinuz is empty"),
        (archive(KERNEL, ("initrd", b""), CMDLINE), "initrd is empty"),
        (archive(*WHOLE)[: 3072 + 5], "cmdline is truncated"),
        (archive(*WHOLE)[:2000], "truncated|damaged"),
        (archive(*WHOLE)[:600], "truncated|damaged"),
        (with_size(archive(*WHOLE), b"%011o\0" % (1 << 32)), "vmlinuz is truncated"),
        (with_size(archive(*WHOLE), b"\x80" + b"\x01" * 11), "vmlinuz is truncated"),
        (with_size(archive(*WHOLE), b"\xff" * 12), "vmlinuz has no size"),
        (with_size(archive(*WHOLE), b"-0000000512\0"), "vmlinuz has no size"),
        (with_size(archive(*WHOLE), b"none        "), "header of vmlinuz"),
        (archive(*WHOLE).replace(b"0000644", b"0000645", 1), "header of vmlinuz"),
        *(
            (archive(KERNEL, INITRD, CMDLINE, type=kind), "cmdline is not a plain file")
            for kind in (b"1", b"2", b"3", b"5", b"7")
        ),
        *(
            (archive(KERNEL, INITRD, CMDLINE, type=kind), "cmdline is not a plain file")
            for kind in (b"L", b"S", b"x", b"g", b"V")
        ),
        (archive(KERNEL, INITRD, CMDLINE, kind=tarfile.PAX_FORMAT, mtime=0.5), "not a plain file|expected"),
        (archive(KERNEL, INITRD, CMDLINE, kind=tarfile.PAX_FORMAT, pax_headers={"GNU.sparse.major": "1"}), "plain|expected"),
    ],
)
def test_kernel_images_that_are_refused(path: Path, image: bytes, why: str) -> None:
    path.write_bytes(image)
    for ask in (detect_format, kernel_members):
        with pytest.raises(ImageError, match=why) as raised:
            ask(path)
        assert "\n" not in str(raised.value)


@given(
    st.lists(st.tuples(st.integers(0, 3600), st.binary(min_size=1, max_size=20)), max_size=3), st.integers(0, 4096), st.booleans()
)
def test_hostile_kernel_images(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], end: int, summed: bool
) -> None:
    image = bytearray(archive(*WHOLE))
    for place, data in changes:
        image[place : place + len(data)] = data
    content = bytes(image)
    if summed:
        # So that it is not only the checksum that is refused.
        content = with_size(content, content[124:136])
    path = tmp_path_factory.mktemp("hostile") / "image"
    path.write_bytes(content[:end])
    try:
        members = kernel_members(path)
    except ImageError as error:
        assert "\n" not in str(error)
        return
    assert list(members) == ["vmlinuz", "initrd", "cmdline"]
    assert all(0 < begin <= begin + size <= len(content[:end]) for begin, size in members.values())
    assert members["cmdline"][1] <= 2047


@needs_qemu_img
class TestImagesOfQemu:
    def make(self, *arguments: str) -> None:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *arguments], check=True)

    @pytest.mark.parametrize(
        "options", ["compat=0.10", "compat=1.1", "cluster_size=512", "cluster_size=2M", "extended_l2=on", "compression_type=zstd"]
    )
    def test_whole_ones(self, path: Path, options: str) -> None:
        self.make("-o", options, str(path), "3G")
        assert (detect_format(path), virtual_size(path)) == ("qcow2", 3 << 30)

    @pytest.mark.parametrize("compat", ["0.10", "1.1"])
    def test_a_backing_file(self, path: Path, compat: str) -> None:
        base = path.with_name("base")
        base.write_bytes(bytes(1 << 20))
        self.make("-o", f"compat={compat}", "-b", str(base), "-F", "raw", str(path))
        with pytest.raises(ImageError, match="backing file"):
            detect_format(path)

    def test_an_external_data_file(self, path: Path) -> None:
        self.make("-o", f"data_file={path.with_name('data')}", str(path), "1M")
        with pytest.raises(ImageError, match="external data file"):
            detect_format(path)
