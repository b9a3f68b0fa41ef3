"""Kernel modules: their content, their dependencies, and the list of these for modprobe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from stratuslab.local.tiny.elf import sections


class Modules:
    """The modules in the kernel's packages. ``files`` are by path, and may be compressed (.gz, .xz, .zst)."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {module_name(path): (path, content) for path, content in files.items()}

    def content(self, name: str) -> bytes:
        """A module's uncompressed content. Raises KeyError if there is none, ValueError if it is damaged."""
        return _plain(*self._files[name])

    def order(self, wanted: Iterable[str]) -> list[str]:
        """The wanted modules and their dependencies, each after those that it needs. Raises ValueError for a damaged one.

        Missing modules are skipped, as they are built into the kernel.
        """
        order: dict[str, None] = {}
        begun: set[str] = set()

        def add(name: str) -> None:
            if name in begun or name not in self._files:
                return
            begun.add(name)
            for other in _needs(self.content(name)):
                add(other)
            order[name] = None

        for name in wanted:
            add(name)
        return list(order)

    def list_for_modprobe(self, names: Iterable[str]) -> str:
        """The file ``modules.dep`` (see modules.dep(5)) for modules in the same directory: what is loaded first comes last."""
        lines = []
        for name in names:
            *below, _ = self.order([name])
            lines.append(f"{name}.ko:" + "".join(f" {other}.ko" for other in reversed(below)) + "\n")
        return "".join(lines)


def module_name(path: str) -> str:
    """The name of a module by its path: ``kernel/drivers/char/hw_random/virtio-rng.ko.xz`` is ``virtio_rng``."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _needs(module: bytes) -> list[str]:
    for entry in sections(module).get(".modinfo", b"").split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == b"depends":
            return [word.replace("-", "_") for word in value.decode("ascii", "replace").split(",") if word]
    return []


@cache
def _plain(path: str, content: bytes) -> bytes:
    suffix = path.rpartition(".")[2]
    try:
        if suffix == "gz":
            import gzip

            return gzip.decompress(content)
        if suffix == "xz":
            import lzma

            return lzma.decompress(content)
        if suffix == "zst":
            return _zstd(content)
    except Exception as error:  # libraries have their own exceptions, and zstd's may be missing
        raise ValueError(f"cannot uncompress {path}: {error}") from error
    return content


def _zstd(content: bytes) -> bytes:
    """Uncompress with dpkg's library, as Python has none before 3.14."""
    import ctypes

    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    zstd.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    size = zstd.ZSTD_getFrameContentSize(content, ctypes.c_size_t(len(content)))
    if size > 1 << 28:  # the largest numbers mean an unknown size or invalid data
        raise ValueError("unknown size")
    plain = ctypes.create_string_buffer(size)
    if zstd.ZSTD_decompress(plain, size, content, len(content)) != size:
        raise ValueError("damaged data")
    return plain.raw[:size]
