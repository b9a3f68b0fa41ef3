"""The kernel's modules: those that the guest loads, with what they need, and the list by which modprobe finds that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stratuslab.local.tiny.elf import sections


class Modules:
    """The modules of a kernel's packages. ``files`` has their files by path, compressed (.gz, .xz, .zst) or not."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = {module_name(path): (path, content) for path, content in files.items()}
        self._plain: dict[str, bytes] = {}

    def content(self, name: str) -> bytes:
        """A module's uncompressed content. Raises KeyError where there is none, ValueError where it is damaged."""
        if name not in self._plain:
            self._plain[name] = _plain(*self._files[name])
        return self._plain[name]

    def order(self, wanted: Iterable[str]) -> list[str]:
        """The wanted modules and all that they need, each behind what it needs. Raises ValueError for a damaged one.

        What is not there is left out: it is part of the kernel itself.
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
        """The file ``modules.dep`` (see modules.dep(5)) for modules that lie beside it: what is loaded first comes last."""
        lines = []
        for name in names:
            *below, _ = self.order([name])
            lines.append(f"{name}.ko:" + "".join(f" {other}.ko" for other in reversed(below)) + "\n")
        return "".join(lines)


def module_name(path: str) -> str:
    """The name of the module in a file: ``kernel/drivers/char/hw_random/virtio-rng.ko.xz`` is ``virtio_rng``."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _needs(module: bytes) -> list[str]:
    """The names of the modules that a module needs, as its section ``.modinfo`` has them."""
    for entry in sections(module).get(".modinfo", b"").split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == b"depends":
            return [word.replace("-", "_") for word in value.decode("ascii", "replace").split(",") if word]
    return []


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
    except Exception as error:  # lzma's own error is none of the usual ones, and zstd's library may not be there
        raise ValueError(f"{path} cannot be uncompressed: {error}") from error
    return content


def _zstd(content: bytes) -> bytes:
    """By the library that dpkg itself is linked with: Python has none before 3.14."""
    import ctypes

    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong
    zstd.ZSTD_decompress.restype = ctypes.c_size_t
    zstd.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    size = zstd.ZSTD_getFrameContentSize(content, ctypes.c_size_t(len(content)))
    if size > 1 << 28:  # the largest numbers mean that it is not known, or that this is no frame
        raise ValueError("its size is not known")
    plain = ctypes.create_string_buffer(size)
    if zstd.ZSTD_decompress(plain, size, content, len(content)) != size:
        raise ValueError("the data are damaged")
    return plain.raw[:size]
