"""The request for a machine, and the template that says it to each kind of server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from stratuslab.cloud.server import Server
from stratuslab.opennebula.instance import LABELS_ATTRIBUTE, TOKEN_ATTRIBUTE
from stratuslab.opennebula.template import Attribute, render

DISK_PREFIXES = {"ide": "hd", "scsi": "sd", "virtio": "vd"}
"""The first two letters of a disk's target, by the bus that it is attached to."""

_CONTEXT_TARGET = "hdd"  # StratusLab's images look for the contextualisation there, whatever the bus


@dataclass(frozen=True)
class ImageDisk:
    """A disk made of an image: an image of the server's datastores by id, or a source that its drivers understand
    (a Marketplace metadata URL, ``pdisk:HOST:PORT:UUID``, a URL)."""

    source: str = ""
    image_id: int | None = None
    format: str = "raw"


@dataclass(frozen=True)
class Network:
    """A network to attach the machine to: by id, or by name and owner."""

    name: str = ""
    owner: str = ""
    id: int | None = None
    address: str = ""

    def nic(self) -> Attribute:
        """The attribute that says it, with the address that is asked for, if any."""
        if self.id is not None:
            return "NIC", {"NETWORK_ID": str(self.id), "IP": self.address}
        return "NIC", {"NETWORK": self.name, "NETWORK_UNAME": self.owner, "IP": self.address}


@dataclass(frozen=True)
class MachineTemplate:
    """A machine template of the cloud, and what of it has to be said again when something is laid over it: attributes that
    are given replace all of the same name."""

    id: int
    disks: tuple[Mapping[str, str], ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, document: Element) -> MachineTemplate:
        """The template in a VMTEMPLATE document (``one.template.info``)."""

        def vector(element: Element) -> dict[str, str]:
            return {child.tag: (child.text or "").strip() for child in element}

        context = document.find("TEMPLATE/CONTEXT")
        return cls(
            int(document.findtext("ID", "0")),
            tuple(vector(disk) for disk in document.iterfind("TEMPLATE/DISK")),
            {} if context is None else vector(context),
        )


def _new_token() -> str:
    from uuid import uuid4

    return str(uuid4())


@dataclass(frozen=True)
class MachineRequest:
    """One machine to start: from a root disk, or from a template of the cloud with the rest laid over it.

    ``ram`` and ``swap`` are in MiB, ``volatile_disk`` in GiB (0: none), ``cpu_share`` is the part of physical CPUs that is
    guaranteed. With a template ``cpu`` and ``ram`` of 0 leave its own. ``token`` is ours, unique to this request, and comes
    back in listings.
    """

    root: ImageDisk
    cpu: int
    ram: int
    swap: int
    token: str = field(default_factory=_new_token)
    template: MachineTemplate | None = None
    cpu_share: float | None = None
    name: str = ""
    volatile_disk: int = 0
    persistent_disk: str = ""
    readonly_disk: ImageDisk | None = None
    bus: str = ""
    networks: tuple[Network, ...] = (Network("public", "oneadmin"),)
    public_keys: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    cloud_init: str = ""
    vnc_port: int = -1
    vnc_listen: str = ""
    requirements: str = ""
    inbound_ports: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def template(request: MachineRequest, server: Server) -> str:
    """The template text for ``one.vm.allocate``, or what ``one.template.instantiate`` lays over the cloud's template.

    Raises UsageError for values that a template cannot hold.
    """
    if request.template is not None:
        return render(_laid_over(request, request.template))
    return render(_stratuslab(request) if server.is_stratuslab else _opennebula(request))


def _size(request: MachineRequest) -> Iterator[Attribute]:
    share = request.cpu if request.cpu_share is None else request.cpu_share
    yield "CPU", f"{share:g}" if share else ""
    yield "VCPU", str(request.cpu or "")
    yield "MEMORY", str(request.ram or "")


def _stratuslab(request: MachineRequest) -> Iterator[Attribute]:
    """The form of StratusLab's clouds (OpenNebula 3.2), in the order that its client wrote it."""
    prefix = DISK_PREFIXES[request.bus or "ide"]
    spare = (letter for letter in "cdefgh" if prefix + letter != _CONTEXT_TARGET)
    root = request.root
    yield from _size(request)
    yield "RANK", "- RUNNING_VMS"
    yield "REQUIREMENTS", request.requirements
    yield "NAME", request.name
    yield "DISK", {**_origin(root), "TARGET": prefix + "a", "SAVE": "no", "READONLY": "no"}
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
                **_origin(request.readonly_disk),
                "TARGET": prefix + next(spare),
                "READONLY": "no",
                "SAVE": "no",
            },
        )
    yield from (network.nic() for network in request.networks)
    # The guest's network did not start on these clouds without a VNC console, hence always one, on a port of their choice.
    yield (
        "GRAPHICS",
        {"TYPE": "vnc", "PORT": str(request.vnc_port), "LISTEN": request.vnc_listen, "KEYMAP": "en-us"},
    )
    context = {"PUBLIC_KEY": request.public_keys, **_in_capitals(request.context)}
    if request.cloud_init:
        context["CLOUD_INIT_USER_DATA"] = request.cloud_init
    yield "CONTEXT", {**context, "TARGET": _CONTEXT_TARGET}
    yield "INBOUND_PORTS", ",".join(request.inbound_ports)
    yield LABELS_ATTRIBUTE, ",".join(request.labels)
    yield TOKEN_ATTRIBUTE, request.token


def _opennebula(request: MachineRequest) -> Iterator[Attribute]:
    """The form of OpenNebula 4.0 and later: the server gives each disk its target, and chooses ports itself."""
    yield "NAME", request.name
    yield from _size(request)
    yield "SCHED_REQUIREMENTS", request.requirements
    yield "DISK", {**_origin(request.root), **_bus(request)}
    yield from _further_disks(request)
    yield from (network.nic() for network in request.networks)
    yield _console(request)
    yield "CONTEXT", _guest_context(request)
    yield LABELS_ATTRIBUTE, ",".join(request.labels)
    yield TOKEN_ATTRIBUTE, request.token


def _laid_over(request: MachineRequest, base: MachineTemplate) -> Iterator[Attribute]:
    """What the user asked for on top of a machine template. The name is an argument of the call."""
    yield from _size(request)
    yield "SCHED_REQUIREMENTS", request.requirements
    further = list(_further_disks(request))
    if further or request.bus:
        yield from (("DISK", {**disk, **_bus(request)}) for disk in base.disks)
        yield from further
    if request.vnc_port >= 0 or request.vnc_listen:
        yield _console(request)
    yield from (network.nic() for network in request.networks)
    yield "CONTEXT", {**base.context, **_guest_context(request)}
    yield LABELS_ATTRIBUTE, ",".join(request.labels)
    yield TOKEN_ATTRIBUTE, request.token


def _origin(disk: ImageDisk) -> dict[str, str]:
    if disk.image_id is not None:
        return {"IMAGE_ID": str(disk.image_id)}
    return {"SOURCE": disk.source, "DRIVER": disk.format}


def _console(request: MachineRequest) -> Attribute:
    port = str(request.vnc_port) if request.vnc_port >= 0 else ""  # 7.4 refuses the port -1 that StratusLab sends
    return "GRAPHICS", {"TYPE": "vnc", "PORT": port, "LISTEN": request.vnc_listen}


def _bus(request: MachineRequest) -> dict[str, str]:
    return {"DEV_PREFIX": DISK_PREFIXES[request.bus]} if request.bus else {}


def _further_disks(request: MachineRequest) -> Iterator[Attribute]:
    if request.swap:
        yield "DISK", {"TYPE": "swap", "SIZE": str(request.swap), **_bus(request)}
    if request.volatile_disk:
        yield "DISK", {"TYPE": "fs", "FORMAT": "raw", "SIZE": str(request.volatile_disk * 1024), **_bus(request)}
    if request.persistent_disk:
        yield "DISK", {"SOURCE": request.persistent_disk, "TYPE": "block", **_bus(request)}
    if request.readonly_disk:
        yield "DISK", {**_origin(request.readonly_disk), "READONLY": "YES", **_bus(request)}


def _guest_context(request: MachineRequest) -> dict[str, str]:
    """The context in the words of OpenNebula's guest packages and of cloud-init's data source."""
    context = {"SSH_PUBLIC_KEY": request.public_keys, "NETWORK": "YES", **_in_capitals(request.context)}
    if request.cloud_init:
        context |= {"USER_DATA": request.cloud_init, "USER_DATA_ENCODING": "base64"}
    return context


def _in_capitals(context: Mapping[str, str]) -> dict[str, str]:
    """The variables as the server names them: two whose names differ in case only are one, and the later one counts."""
    return {name.upper(): value for name, value in context.items()}
