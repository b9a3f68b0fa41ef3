"""The kernel's modules, and what is read of ELF files."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab.local.tiny.elf import needed_libraries, sections
from stratuslab.local.tiny.kernel_modules import Modules, module_name


def elf(parts: dict[str, bytes]) -> bytes:
    """A file of sections only, as the System V ABI has it."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*parts, ".shstrtab"])
    body, headers = b"", [bytes(64)]
    for name, content in {**parts, ".shstrtab": names}.items():
        place = names.index(b"\0" + name.encode() + b"\0") + 1
        headers.append(struct.pack("<IIQQQQ24x", place, 1, 0, 0, 64 + len(body), len(content)))
        body += content
    start = b"\x7fELF\x02\x01\x01".ljust(40, b"\0") + struct.pack("<Q", 64 + len(body))
    return start.ljust(58, b"\0") + struct.pack("<HHH", 64, len(headers), len(headers) - 1) + body + b"".join(headers)


def program(*needed: str, interpreter: str = "") -> bytes:
    texts = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    dynamic = b"".join(struct.pack("<QQ", 1, texts.index(name.encode())) for name in needed) + bytes(16)
    return elf(
        {".dynamic": dynamic, ".dynstr": texts, **({".interp": interpreter.encode() + b"\0"} if interpreter else {})},
    )


def module(*needed: str) -> bytes:
    return elf({".text": b"code", ".modinfo": b"license=GPL\0depends=" + ",".join(needed).encode() + b"\0name=x\0"})


MODULES = {
    "lib/modules/6.1/kernel/drivers/virtio/virtio_pci.ko": module("virtio_ring", "virtio"),
    "lib/modules/6.1/kernel/drivers/virtio/virtio_ring.ko.xz": lzma.compress(module()),
    "lib/modules/6.1/kernel/drivers/virtio/virtio.ko.gz": gzip.compress(module("virtio-ring")),
    "lib/modules/6.1/kernel/drivers/char/hw_random/virtio-rng.ko": module("virtio_ring", "built_in"),
}


def test_modules_come_behind_what_they_need():
    modules = Modules(MODULES)
    assert modules.order(["virtio_pci", "ext4", "virtio_rng"]) == ["virtio_ring", "virtio", "virtio_pci", "virtio_rng"]
    assert modules.order([]) == []
    assert (
        modules.list_for_modprobe(["virtio_pci", "virtio_ring"]) == "virtio_pci.ko: virtio.ko virtio_ring.ko\nvirtio_ring.ko:\n"
    )
    assert modules.content("virtio_ring") == module()


def test_modules_that_need_each_other_end():
    assert set(Modules({"a.ko": module("b"), "b.ko": module("a")}).order(["a"])) == {"a", "b"}


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3)))
def test_the_order_of_any_modules(needs: dict[str, list[str]]):
    order = Modules({f"{name}.ko": module(*below) for name, below in needs.items()}).order(needs)
    assert sorted(order) == sorted(needs)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="there is no zstd")
def test_a_module_by_zstd():
    content = module("virtio") * 100
    packed = subprocess.run(
        ["zstd", "-q", "-c", "--stream-size", str(len(content))], input=content, capture_output=True, check=False
    ).stdout
    assert Modules({"a.ko.zst": packed}).content("a") == content


@pytest.mark.parametrize(("suffix", "content"), [("xz", b"no"), ("gz", b"no"), ("zst", b"no"), ("zst", b"")])
def test_a_damaged_module(suffix: str, content: bytes):
    with pytest.raises(ValueError, match=f"cannot uncompress .*a.ko.{suffix}"):
        Modules({f"lib/a.ko.{suffix}": content}).order(["a"])
    with pytest.raises(ValueError, match="not a 64-bit ELF file"):
        Modules({"lib/a.ko": b"text"}).order(["a"])


def test_names_of_modules():
    assert module_name("kernel/drivers/char/hw_random/virtio-rng.ko.zst") == "virtio_rng"


def test_libraries_that_a_program_needs():
    content = program("libz.so.1", "libc.so.6", interpreter="/lib64/ld-linux-x86-64.so.2")
    assert needed_libraries(content) == ["libz.so.1", "libc.so.6", "ld-linux-x86-64.so.2"]
    assert needed_libraries(elf({})) == []


@given(st.binary(max_size=200), st.integers(0, 400))
def test_hostile_files_are_refused_or_read(noise: bytes, place: int):
    content = program("libc.so.6")
    for damaged in (noise, content[:place], content[:place] + noise + content[place + len(noise) :]):
        try:
            assert all(isinstance(part, bytes) for part in sections(damaged).values())
            needed_libraries(damaged)
        except ValueError:
            pass
