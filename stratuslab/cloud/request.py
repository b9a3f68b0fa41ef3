"""The request for a machine, and the template that says it to each kind of server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stratuslab.cloud.server import Server
from stratuslab.opennebula.instance import TOKEN_ATTRIBUTE
from stratuslab.opennebula.template import Attribute, render

DISK_PREFIXES = {"ide": "hd", "scsi": "sd", "virtio": "vd"}
"""The first two letters of a disk's target, by the bus that it is attached to."""

NETWORK_OWNER = "oneadmin"
"""Who owns the networks public, local and private on a StratusLab cloud."""

_CONTEXT_TARGET = "hdd"  # StratusLab's images look for the contextualisation there, whatever the bus


@dataclass(frozen=True)
class RootDisk:
    """What the machine boots from: an image of the server's datastores by id, or a source that its drivers understand
    (a Marketplace metadata URL, ``pdisk:HOST:PORT:UUID``, a URL)."""

    source: str = ""
    image_id: int | None = None
    format: str = "raw"


@dataclass(frozen=True)
class MachineRequest:
    """One machine to start. ``ram`` and ``swap`` are in MiB, ``volatile_disk`` in GiB (0: none), ``cpu_share`` is the part of
    physical CPUs that is guaranteed. ``token`` is ours, unique to this request, and comes back in listings."""

    root: RootDisk
    cpu: int
    ram: int
    swap: int
    token: str
    cpu_share: float | None = None
    name: str = ""
    volatile_disk: int = 0
    persistent_disk: str = ""
    readonly_disk: str = ""
    bus: str = "ide"
    network: str = "public"
    address: str = ""
    public_keys: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    cloud_init: str = ""
    vnc_port: int = -1
    vnc_listen: str = ""
    requirements: str = ""
    inbound_ports: tuple[str, ...] = ()


def template(request: MachineRequest, server: Server) -> str:
    """The template text for ``one.vm.allocate``; raises UsageError for values that a template cannot hold."""
    return render(_stratuslab(request) if server.is_stratuslab else _opennebula(request))


def _size(request: MachineRequest) -> Iterator[Attribute]:
    share = request.cpu if request.cpu_share is None else request.cpu_share
    yield "CPU", f"{share:g}"
    yield "VCPU", str(request.cpu)
    yield "MEMORY", str(request.ram)


def _nic(request: MachineRequest) -> Attribute:
    return "NIC", {"NETWORK": request.network, "NETWORK_UNAME": NETWORK_OWNER, "IP": request.address}


def _stratuslab(request: MachineRequest) -> Iterator[Attribute]:
    """The form of StratusLab's clouds (OpenNebula 3.2), in the order that its client wrote it."""
    prefix = DISK_PREFIXES[request.bus]
    spare = (letter for letter in "cdefgh" if prefix + letter != _CONTEXT_TARGET)
    root = request.root
    yield from _size(request)
    yield "RANK", "- RUNNING_VMS"
    yield "REQUIREMENTS", request.requirements
    yield "NAME", request.name
    yield "DISK", {"SOURCE": root.source, "TARGET": prefix + "a", "SAVE": "no", "READONLY": "no", "DRIVER": root.format}
    yield "DISK", {"TYPE": "swap", "SIZE": str(request.swap), "TARGET": prefix + "b", "READONLY": "no"}
    if request.volatile_disk:
        yield (
            "DISK",
            {
                "TYPE": "fs",
                "FORMAT": "ext3",
                "SIZE": str(request.volatile_disk * 1024),
                "TARGET": prefix + next(spare),
                "READONLY": "no",
                "SAVE": "no",
            },
        )
    if request.persistent_disk:
        yield "DISK", {"SOURCE": request.persistent_disk, "TARGET": prefix + next(spare), "TYPE": "block"}
    if request.readonly_disk:
        # READONLY=yes kept StratusLab's libvirt from deploying the machine at all.
        yield (
            "DISK",
            {
                "SOURCE": request.readonly_disk,
                "TARGET": prefix + next(spare),
                "READONLY": "no",
                "SAVE": "no",
                "DRIVER": "raw",
            },
        )
    yield _nic(request)
    # The guest's network did not start on these clouds without a VNC console, hence always one, on a port of their choice.
    yield (
        "GRAPHICS",
        {"TYPE": "vnc", "PORT": str(request.vnc_port), "LISTEN": request.vnc_listen, "KEYMAP": "en-us"},
    )
    context = {"PUBLIC_KEY": request.public_keys, **request.context}
    if request.cloud_init:
        context["CLOUD_INIT_USER_DATA"] = request.cloud_init
    yield "CONTEXT", {**context, "TARGET": _CONTEXT_TARGET}
    yield "INBOUND_PORTS", ",".join(request.inbound_ports)
    yield TOKEN_ATTRIBUTE, request.token


def _opennebula(request: MachineRequest) -> Iterator[Attribute]:
    """The form of OpenNebula 4.0 and later: the server gives each disk its target, and chooses ports itself."""
    prefix = DISK_PREFIXES[request.bus] if request.bus else ""
    root = request.root
    yield "NAME", request.name
    yield from _size(request)
    yield "SCHED_REQUIREMENTS", request.requirements
    if root.image_id is not None:
        yield "DISK", {"IMAGE_ID": str(root.image_id), "DEV_PREFIX": prefix}
    else:
        yield "DISK", {"SOURCE": root.source, "DEV_PREFIX": prefix, "DRIVER": root.format}
    if request.swap:
        yield "DISK", {"TYPE": "swap", "SIZE": str(request.swap), "DEV_PREFIX": prefix}
    if request.volatile_disk:
        size = str(request.volatile_disk * 1024)
        yield "DISK", {"TYPE": "fs", "FORMAT": "raw", "SIZE": size, "DEV_PREFIX": prefix}
    if request.persistent_disk:
        yield "DISK", {"SOURCE": request.persistent_disk, "TYPE": "block", "DEV_PREFIX": prefix}
    if request.readonly_disk:
        yield "DISK", {"SOURCE": request.readonly_disk, "READONLY": "YES", "DEV_PREFIX": prefix}
    yield _nic(request)
    port = str(request.vnc_port) if request.vnc_port >= 0 else ""  # 7.4 refuses the port -1 that StratusLab sends
    yield "GRAPHICS", {"TYPE": "vnc", "PORT": port, "LISTEN": request.vnc_listen}
    context = {"SSH_PUBLIC_KEY": request.public_keys, "NETWORK": "YES", **request.context}
    if request.cloud_init:
        context |= {"USER_DATA": request.cloud_init, "USER_DATA_ENCODING": "base64"}
    yield "CONTEXT", context
    yield TOKEN_ATTRIBUTE, request.token
