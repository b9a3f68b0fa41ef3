"""The context of a guest, as files for OpenNebula's guest packages and for cloud-init's data source NoCloud.

Formats: https://docs.opennebula.io (open cluster deployment, "Contextualization") and
https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from uuid import uuid4

from stratuslab.local.machines.driver import DiskKind, MachineSpec
from stratuslab.local.machines.qemu.context_medium import context_medium

NETWORK = {
    "IP": "10.0.2.15",
    "MASK": "255.255.255.0",
    "NETWORK": "10.0.2.0",
    "GATEWAY": "10.0.2.2",
    "DNS": "10.0.2.3",
}
"""The guest's addresses in QEMU's user network, the same for all guests."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_INTERFACE_NAME = re.compile(r"ETH[0-9]+_")
_BY_ID = "/dev/disk/by-id/virtio-"


def context_disk(spec: MachineSpec, mac: str, serials: Iterable[str]) -> bytes:
    """The content of the disk with the files. ``serials`` are those of the other disks."""
    cloud_init = {
        # By its id, which is kept with the disk, cloud-init tells a new machine from one that was started again.
        "meta-data": meta_data(spec, str(uuid4())).encode("utf-8"),
        "user-data": user_data(spec.context),
        "vendor-data": vendor_data(spec, serials).encode("utf-8"),
    }
    assignments = shell_assignments(spec, mac).encode("utf-8", "replace")
    return context_medium({"context.sh": assignments, **cloud_init}, cloud_init)


def shell_assignments(spec: MachineSpec, mac: str) -> str:
    """``context.sh``: the instance's context, with the addresses that the guest has in QEMU's network."""
    values = {name: value for name, value in spec.context.items() if not _INTERFACE_NAME.match(name)}
    values |= {f"ETH0_{name}": value for name, value in NETWORK.items()} | {"ETH0_MAC": mac}
    values["SET_HOSTNAME"] = spec.host_name
    if spec.authorized_keys:
        values["SSH_PUBLIC_KEY"] = spec.authorized_keys
    lines = (f"{name}={quoted(value)}\n" for name, value in sorted(values.items()) if _NAME.match(name))
    return "# Context variables, as OpenNebula writes them\n" + "".join(lines)


def quoted(value: str) -> str:
    """The value as one word of a POSIX shell, without NULs, which a shell cannot have."""
    return "'" + value.replace("\0", "").replace("'", r"'\''") + "'"


def meta_data(spec: MachineSpec, instance_id: str) -> str:
    """NoCloud's ``meta-data``, as JSON, which is also YAML and is the format that CirrOS reads."""
    return _document({"instance-id": instance_id, "local-hostname": spec.host_name, "public-keys": _keys(spec)})


def user_data(context: Mapping[str, str]) -> bytes:
    """NoCloud's ``user-data`` from the context, decoded as cloud-init does for OpenNebula, but still with gzip."""
    stratuslab = context.get("CLOUD_INIT_USER_DATA", "")
    text = stratuslab or context.get("USER_DATA", "") or context.get("USERDATA", "")
    encoding = context.get("USERDATA_ENCODING", "") or context.get("USER_DATA_ENCODING", "")
    if not text:
        return b"#cloud-config\n{}\n"
    if stratuslab or encoding == "base64":
        try:
            return base64.b64decode(text)
        except ValueError:
            pass
    return text.encode("utf-8", "replace")


def vendor_data(spec: MachineSpec, serials: Iterable[str]) -> str:
    """NoCloud's ``vendor-data``: defaults that make other images behave like StratusLab's.

    Root can log in with the keys, swap is used, and the volatile disk is at /mnt. ``serials`` are those of the disks.
    """
    disks = {DiskKind.SWAP.value: ("swap", "none", "sw"), DiskKind.VOLATILE.value: ("ext4", "/mnt", "defaults")}
    there = {name: disks[name] for name in serials if name in disks}
    config: dict[str, object] = {"disable_root": False, "ssh_pwauth": False, "ssh_authorized_keys": _keys(spec)}
    if there:
        # An existing file system of that type and label is kept.
        config["fs_setup"] = [
            {"device": _BY_ID + name, "filesystem": kind, "label": name, "overwrite": False}
            for name, (kind, _, _) in there.items()
        ]
        config["mounts"] = [
            [_BY_ID + name, place, kind, f"{options},nofail", "0", "0"] for name, (kind, place, options) in there.items()
        ]
    return "#cloud-config\n" + _document(config)


def _keys(spec: MachineSpec) -> list[str]:
    return [line for line in spec.authorized_keys.splitlines() if line.strip()]


def _document(content: Mapping[str, object]) -> str:
    """JSON that is also YAML: without control characters, and lone surrogates, which JSON would escape."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return "".join(character if character in "\n" or character.isprintable() else "?" for character in text) + "\n"
