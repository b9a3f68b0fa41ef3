"""The disk with a guest's context, for OpenNebula's guest packages and for cloud-init.

The first look for a file system labelled CONTEXT, cloud-init for one labelled cidata, and an ISO 9660 image has one label. So
this is a hybrid, like the CDs of Linux distributions: an ISO image labelled CONTEXT, with a partition table in its first
sector, which ISO 9660 leaves free (ECMA-119, 6.2.1, System Area). One partition is that same image, as blkid and udev ignore the
label of a device with partitions; the other is an ISO image labelled cidata.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

_SECTOR = 512
_TABLE = 446
_LINUX = 0x83
_BEYOND_CHS = b"\xfe\xff\xff"


def context_medium(context: Mapping[str, bytes], cidata: Mapping[str, bytes]) -> bytes:
    """The content of the disk; both arguments are files by name."""
    images = [_iso("CONTEXT", context), _iso("cidata", cidata)]
    table, start = b"", 0
    for image in images:
        sectors = len(image) // _SECTOR
        table += struct.pack("<B3sB3sII", 0, _BEYOND_CHS, _LINUX, _BEYOND_CHS, start, sectors)
        start += sectors
    medium = bytearray().join(images)
    medium[_TABLE : _TABLE + len(table)] = table
    medium[_SECTOR - 2 : _SECTOR] = b"\x55\xaa"
    return bytes(medium)


def _iso(label: str, files: Mapping[str, bytes]) -> bytes:
    """An ISO 9660 image with Rock Ridge and Joliet, which allow any names."""
    import pycdlib

    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident=label, sys_ident="LINUX", rock_ridge="1.09", joliet=3)
    for number, (name, content) in enumerate(files.items()):
        image.add_fp(io.BytesIO(content), len(content), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    written = io.BytesIO()
    image.write_fp(written)
    image.close()
    return written.getvalue()
