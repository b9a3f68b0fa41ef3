"""Whether a guest has come up beyond its firmware: asked while the accelerator is not trusted yet."""

from __future__ import annotations

import socket

from stratuslab.local.qemu.emulator import Emulator
from stratuslab.local.qemu.monitor import MonitorError

_FIRMWARE_READS = 1 << 20
"""Bytes: firmware reads a few sectors of each disk, a boot loader or a kernel much more."""

_FIRMWARE_SAYS = (b"SeaBIOS", b"iPXE", b"Booting from", b"Press ", b"Machine UUID")

_BANNER_SECONDS = 0.5


def shows_life(said: bytes, qemu: Emulator, forward: tuple[str, int] | None) -> bool:
    """``said`` is what was added to the console's log since the start, ``forward`` where the SSH server is to answer."""
    return _beyond_firmware(said) or _has_read(qemu) or (forward is not None and _has_banner(forward))


def _beyond_firmware(said: bytes) -> bool:
    """Whether there is a line that is not the firmware's, nor one of ours, which begin with the date."""
    lines = (line.strip() for line in said.replace(b"\x1bc", b"").splitlines())
    return any(_is_speech(line) for line in lines)


def _is_speech(line: bytes) -> bool:
    printed = bytes(byte for byte in line if 32 <= byte < 127)
    ours = printed[:2] == b"20" and printed[4:5] == b"-" and printed[10:11] == b"T"
    return len(printed) > 8 and not ours and not any(words in printed for words in _FIRMWARE_SAYS)


def _has_read(qemu: Emulator) -> bool:
    try:
        devices = qemu.ask("query-blockstats")
        return sum(int(device["stats"]["rd_bytes"]) for device in devices) > _FIRMWARE_READS
    except (MonitorError, LookupError, TypeError, ValueError):
        return False


def _has_banner(place: tuple[str, int]) -> bool:
    # QEMU accepts before the guest listens: only the banner proves something.
    try:
        with socket.create_connection(place, _BANNER_SECONDS) as connection:
            return connection.recv(4).startswith(b"SSH-")
    except OSError:
        return False
