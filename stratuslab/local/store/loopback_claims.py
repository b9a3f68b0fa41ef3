"""Claims a block of loopback addresses that no other embedded cloud of this computer leases.

A block is three ranges of 254 addresses, one per network: the first is 127.101.0.x, 127.102.0.x and 127.103.0.x. A claim is a
file in a directory that all users of the computer share, in which only its owner can remove it. It names the cloud's
directory, so it is valid as long as that exists. Whatever other users put there is neither read nor waited for: at worst two
clouds lease the same addresses, and the SSH server of the second machine gets a port of 127.0.0.1.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import chain, islice
from pathlib import Path

from stratuslab.local.store.database import DATABASE
from stratuslab.private_files import locked

SHARED = Path("/var/tmp/stratuslab-addresses")
"""The directory of claims unless $STRATUSLAB_LOCAL_ADDRESSES is set. Like the stores it survives a restart of the computer."""

SIZE = 254
_NETWORKS = 3
_BLOCKS = (254 - 101) // _NETWORKS * 256


def first_address(block: int, network: int) -> int:
    """The first address, as a number, of a block's range for a network."""
    row, column = divmod(block, 256)
    return (127 << 24) + ((101 + _NETWORKS * row + network) << 16) + (column << 8) + 1


def block_of(first: int, size: int, network: int) -> int | None:
    """The block with exactly this range for the network, None for a range that was configured."""
    block = ((first >> 16 & 255) - 101 - network) // _NETWORKS * 256 + (first >> 8 & 255)
    same = 0 <= block < _BLOCKS and size == SIZE and first_address(block, network) == first
    return block if same else None


def claimed(cloud: Path, preferred: int) -> int:
    """The block of the cloud in a directory, claimed now if it has none: the preferred one if that is free."""
    path = os.fsencode(os.path.realpath(cloud))
    try:
        shared = _shared_directory()
        return preferred if _owner(shared / _name(preferred)) == path else _claim(shared, path, preferred)
    except OSError:
        # Without a shared directory each cloud takes a block that another one is unlikely to take.
        from zlib import crc32

        return 1 + crc32(b"%d %s" % (os.geteuid(), path)) % (_BLOCKS - 1)


def _claim(shared: Path, path: bytes, preferred: int) -> int:
    # Other users can only add claims; our own processes also remove them, one process at a time.
    with locked(shared / f"{os.geteuid()}"):
        # Others can add any number of files.
        claims = (Path(entry.path) for entry in islice(os.scandir(shared), 4 * _BLOCKS))
        owners = {claim.name: owner for claim in claims if (owner := _owner(claim)) is not None}
        for block in chain([preferred], range(_BLOCKS)):
            if owners.get(_name(block)) == path:
                return block
        for block in chain([preferred], range(_BLOCKS)):
            claim = shared / _name(block)
            if claim.name in owners and not _is_cloud(owners[claim.name]):
                claim.unlink()
            try:
                # Through one descriptor: before a second one the directory's owner could put a link there.
                with open(claim, "xb", opener=partial(os.open, mode=0o600)) as file:
                    file.write(path)
            except FileExistsError:
                continue  # perhaps by another user just now
            return block
    raise OSError("all blocks are claimed")


def _name(block: int) -> str:
    return ".".join(str(first_address(block, 0) >> shift & 255) for shift in (24, 16, 8))


def _owner(claim: Path) -> bytes | None:
    """The directory of the cloud that a claim of this user names, None for other users' claims."""
    try:
        descriptor = os.open(claim, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(65536) if os.fstat(descriptor).st_uid == os.geteuid() else None


def _is_cloud(directory: bytes) -> bool:
    # A claim is empty if its process was killed before it wrote the name.
    return bool(directory) and Path(os.fsdecode(directory), DATABASE).exists()


def _shared_directory() -> Path:
    given = os.environ.get("STRATUSLAB_LOCAL_ADDRESSES")
    shared = Path(given) if given else SHARED
    try:
        shared.mkdir(mode=0o1777, parents=bool(given))
        shared.chmod(0o1777)
    except FileExistsError:
        if shared.is_symlink() and not given:
            raise
    return shared
