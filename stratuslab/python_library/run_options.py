"""What a program can ask of the machines that it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TypedDict


class RunOptions(TypedDict, total=False):
    """The keyword arguments of ``run``, all optional. What is not given comes from the configuration, as for
    ``stratus-run-instance``; each is checked as that command checks its option."""

    type: str
    """Instance type, such as ``"m1.small"``."""
    cpu: int
    """Virtual CPUs, instead of the type's."""
    ram: int | str
    """Memory in MiB, or with a unit (``"2G"``), instead of the type's."""
    swap: int | str
    """Swap space, the same."""
    cpu_share: float
    """Guaranteed share of physical CPUs, such as 0.5."""
    name: str
    """Name; by default ``one-ID``."""
    name_prefix: str
    """Name several machines PREFIX1, PREFIX2 and so on."""
    labels: Sequence[str]
    """Labels to find them by."""
    requirements: str
    """Host requirements in OpenNebula's syntax."""
    hypervisor: str
    """Of the embedded cloud: ``"qemu"`` or ``"simulated"``."""
    volatile_disks: Sequence[int | str]
    """Sizes of empty disks in GiB, or with a unit (``"500M"``)."""
    persistent_disks: Sequence[str]
    """Persistent disks: their UUIDs, or images of OpenNebula."""
    readonly_disks: Sequence[str]
    """Images to attach as data disks."""
    disk_bus: str
    """``"virtio"``, ``"scsi"`` or ``"ide"``; by default the image's."""
    networks: Sequence[str]
    """Networks by name, id or ``USER/NAME``; by default the public one."""
    local_ip: bool
    """Use the local network."""
    private_ip: bool
    """Use the private network."""
    address: str
    """IP address to request."""
    vnc_port: int
    """Port of the VNC console."""
    vnc_listen: str
    """IP address of the VNC console."""
    keys: Sequence[str | PathLike[str]]
    """Files of public SSH keys that may log in; by default the user's."""
    context: Mapping[str, str]
    """Context variables; names have letters, digits and ``_``."""
    context_files: Sequence[str | PathLike[str]]
    """Files of context variables, a KEY=VALUE on each line."""
    cloud_init: Sequence[str]
    """Cloud-init user data: ``"TYPE,FILE"`` each."""
    inputs: Mapping[str, str]
    """Values of the inputs of a machine template."""
    no_check_image_url: bool
    """Do not look the image up in the Marketplace."""
    allow_expired: bool
    """Start an image that has expired or is deprecated, too."""
    verify_image: bool
    """Start the image only if a trusted endorser has signed its metadata; False in spite of the setting."""
    all_or_nothing: bool
    """Kill what was started if one of several machines cannot be."""
