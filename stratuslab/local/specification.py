"""The machine that an instance's record describes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stratuslab.local.machine import MachineSpec
from stratuslab.local.record import Record

_KEYS = ("PUBLIC_KEY", "SSH_PUBLIC_KEY")
_ENCODED_KEYS = "CLOUD_INIT_AUTHORIZED_KEYS"


def machine_spec(record: Record, directory: Path) -> MachineSpec:
    """What a hypervisor needs to know; ``directory`` is where the machine may keep files."""
    context = {key: value for vector in record.vectors("CONTEXT") for key, value in vector.items()}
    disks = record.vectors("DISK")
    return MachineSpec(
        id=record.id,
        name=record.name,
        vcpu=int(record.text("VCPU") or 1),
        memory_mib=record.memory_mib,
        swap_mib=_total(disks, "swap"),
        volatile_mib=_total(disks, "fs"),
        addresses=tuple(nic["IP"] for nic in record.vectors("NIC") if nic.get("IP")),
        authorized_keys=_authorized_keys(context),
        context=context,
        image=record.image,
        directory=directory,
    )


def _total(disks: list[dict[str, str]], kind: str) -> int:
    return sum(int(disk["SIZE"]) for disk in disks if disk.get("TYPE") == kind)


def _authorized_keys(context: Mapping[str, str]) -> str:
    """The public keys in a context, each once, one a line."""
    texts = [context.get(name, "") for name in _KEYS]
    with suppress(ValueError):
        texts.append(base64.b64decode(context.get(_ENCODED_KEYS, "")).decode("utf-8", "replace"))
    lines = (line.strip() for text in texts for line in text.splitlines())
    return "\n".join(dict.fromkeys(line for line in lines if line))
