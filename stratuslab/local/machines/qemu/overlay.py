"""Writes empty qcow2 files, the copy-on-write disks over an image that machines share.

The file does not name the image; QEMU's command line does (:mod:`stratuslab.local.machines.qemu.command_line`). It is written
here, as qemu-img is not installed everywhere QEMU is. QEMU's ``docs/interop/qcow2.txt`` explains the fields.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_VERSION = 3
_CLUSTER_BITS = 16
_CLUSTER = 1 << _CLUSTER_BITS
_COVERED = _CLUSTER * _CLUSTER // 8
"""Bytes of the disk per entry of the L1 table: each points to a cluster of 8-byte entries, each for one cluster."""

_REFCOUNT_ORDER = 4  # 16 bits per cluster


def make_overlay(path: Path, size: int) -> None:
    """Create an empty qcow2 of ``size`` bytes. Raises OSError."""
    entries = max(1, -(-size // _COVERED))
    refcount_table, refcounts, l1 = _CLUSTER, 2 * _CLUSTER, 3 * _CLUSTER
    clusters = 3 + -(-entries * 8 // _CLUSTER)
    header = (b"QFI\xfb", _VERSION, 0, 0, _CLUSTER_BITS, size, 0, entries, l1, refcount_table, 1, 0, 0)
    features = (0, 0, 0, _REFCOUNT_ORDER, _HEADER.size)
    with path.open("wb") as file:
        file.write(_HEADER.pack(*header, *features))
        file.seek(refcount_table)
        file.write(struct.pack(">Q", refcounts))
        file.seek(refcounts)
        file.write(struct.pack(">H", 1) * clusters)
        file.truncate(clusters * _CLUSTER)
