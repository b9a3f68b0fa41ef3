"""What is read of ELF files: which libraries a program needs, and what a kernel module says of itself.

Only the 64-bit little-endian form, that of x86_64; field offsets are those of the System V ABI's chapters 4 and 5.
"""

from __future__ import annotations

import struct

_NEEDED = 1  # DT_NEEDED


def sections(content: bytes) -> dict[str, bytes]:
    """The contents of the sections by name, of equal names the first. Raises ValueError for what is no such file."""
    try:
        if content[:6] != b"\x7fELF\x02\x01":
            raise ValueError("no 64-bit ELF file")
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
    """The names of the shared libraries that a program or library needs, and of the program interpreter.

    Raises ValueError for what is no ELF file."""
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
