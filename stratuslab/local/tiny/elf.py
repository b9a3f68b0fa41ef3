"""Reads ELF files: the libraries that a program needs, and the sections of a kernel module.

Only 64-bit little-endian files, as for x86_64. Field offsets are in chapters 4 and 5 of the System V ABI.
"""

from __future__ import annotations

import struct

_NEEDED = 1  # DT_NEEDED


def sections(content: bytes) -> dict[str, bytes]:
    """The sections by name; of equal names the first. Raises ValueError if it is not such a file."""
    try:
        if content[:6] != b"\x7fELF\x02\x01":
            raise ValueError("not a 64-bit ELF file")
        (offset,) = struct.unpack_from("<Q", content, 0x28)
        size, count, names = struct.unpack_from("<HHH", content, 0x3A)
        headers = [struct.unpack_from("<IIQQQQ", content, offset + size * number) for number in range(count)]
        texts = _part(content, headers[names]) if headers else b""
    except (struct.error, IndexError) as error:
        raise ValueError("a damaged ELF file") from error
    found: dict[str, bytes] = {}
    for header in headers:
        found.setdefault(_text(texts, header[0]), _part(content, header))
    return found


def needed_libraries(content: bytes) -> list[str]:
    """The names of the shared libraries and the interpreter that a program or library needs. Raises like :func:`sections`."""
    parts = sections(content)
    dynamic, texts = parts.get(".dynamic", b""), parts.get(".dynstr", b"")
    entries = struct.iter_unpack("<QQ", dynamic[: len(dynamic) // 16 * 16])
    needed = [_text(texts, value) for tag, value in entries if tag == _NEEDED]
    interpreter = parts.get(".interp", b"").rstrip(b"\0").decode("utf-8", "replace")
    return [*needed, interpreter.rpartition("/")[2]] if interpreter else needed


def _part(content: bytes, header: tuple[int, ...]) -> bytes:
    return content[header[4] : header[4] + header[5]]


def _text(texts: bytes, offset: int) -> str:
    return texts[offset : texts.find(b"\0", offset)].decode("utf-8", "replace")
