"""Describes the machine of an instance to its driver."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from stratuslab.local.engine.disk_allocation import image_of
from stratuslab.local.machines.driver import DiskKind, DiskSpec, MachineSpec
from stratuslab.local.store.stored_records import ADMINISTRATOR, Record
from stratuslab.local.store.volumes import volume_file, volume_of

_EMPTY = {"swap": DiskKind.SWAP, "fs": DiskKind.VOLATILE}


def machine_spec(record: Record, directory: Path) -> MachineSpec:
    """What a driver needs to know; ``directory`` is for the machine's files."""
    context = {key: value for vector in record.vectors("CONTEXT") for key, value in vector.items()}
    return MachineSpec(
        id=record.id,
        name=record.name,
        vcpu=int(record.text("VCPU") or 1),
        memory_mib=record.memory_mib,
        addresses=tuple(nic["IP"] for nic in record.vectors("NIC") if nic.get("IP")),
        authorized_keys=_authorized_keys(context),
        context=context,
        image=record.image,
        hypervisor=record.hypervisor,
        stranger=record.uid != ADMINISTRATOR.id,
        directory=directory,
        disks=tuple(_disks(record.vectors("DISK"), directory.parents[1])),
    )


def _disks(disks: list[dict[str, str]], cloud: Path) -> Iterator[DiskSpec]:
    for disk in disks:
        read_only = disk.get("READONLY", "").upper() == "YES"
        volume = volume_of(disk)
        if volume:
            yield DiskSpec(DiskKind.VOLUME, int(disk["SIZE"]), file=volume_file(cloud, volume), read_only=read_only)
        elif disk.get("TYPE") in _EMPTY:
            # The original client requests a swap disk of size 0 for no swap.
            if int(disk["SIZE"]):
                yield DiskSpec(_EMPTY[disk["TYPE"]], int(disk["SIZE"]))
        else:
            source = disk.get("SOURCE", "")
            elsewhere = source if source.startswith(("http:", "https:")) else ""
            size = int(disk.get("SIZE") or 0)
            grown = size if size > int(disk.get("ORIGINAL_SIZE") or size) else 0
            yield DiskSpec(DiskKind.IMAGE, grown, image=image_of(disk), metadata_url=elsewhere, read_only=read_only)


def _authorized_keys(context: Mapping[str, str]) -> str:
    """The public keys in a context, each once, one per line."""
    texts = [context.get(name, "") for name in ("PUBLIC_KEY", "SSH_PUBLIC_KEY")]
    with suppress(ValueError):
        texts.append(base64.b64decode(context.get("CLOUD_INIT_AUTHORIZED_KEYS", "")).decode("utf-8", "replace"))
    lines = (line.strip() for text in texts for line in text.splitlines())
    return "\n".join(dict.fromkeys(line for line in lines if line))
