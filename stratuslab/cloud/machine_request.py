"""A request for a machine, independent of the server's version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4
from xml.etree.ElementTree import Element

from stratuslab.opennebula.document_values import count, text
from stratuslab.opennebula.template_grammar import Attribute, HasAttributes, Vector


@dataclass(frozen=True)
class ImageDisk:
    """A disk made from an image: one of the server's datastores by ``image_id``, or a ``source`` that its drivers understand
    (a Marketplace metadata URL, ``pdisk:HOST:PORT:UUID``, a URL), of this ``format`` (``raw``, ``qcow2``)."""

    source: str = ""
    image_id: int | None = None
    format: str = "raw"


@dataclass(frozen=True)
class NetworkRequest:
    """A network to attach the machine to: by ``id``, or by ``name`` and ``owner``, and the IP ``address`` to request there."""

    name: str = ""
    owner: str = ""
    id: int | None = None
    address: str = ""

    def nic(self) -> Attribute:
        """The NIC attribute, with the requested address, if any."""
        named = {"NETWORK": self.name, "NETWORK_UNAME": self.owner} if self.id is None else {"NETWORK_ID": str(self.id)}
        return "NIC", {**named, "IP": self.address}


@dataclass(frozen=True)
class MachineTemplate(HasAttributes):
    """A machine template of the cloud. Attributes laid over it replace all attributes of the same name."""

    id: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def read(cls, document: Element) -> MachineTemplate:
        """The template that a VMTEMPLATE document describes (``one.template.info``)."""
        attributes = tuple(
            (element.tag, {child.tag: text(child, ".") for child in element} if len(element) else text(element, "."))
            for element in document.iterfind("TEMPLATE/*")
        )
        return cls(count(text(document, "ID")) or 0, text(document, "NAME"), attributes)

    @property
    def context(self) -> Vector:
        return next(iter(self.vectors("CONTEXT")), {})


@dataclass(frozen=True)
class MachineRequest:
    """One machine to start: from a root disk, or from a template of the cloud with everything else laid over it.

    - ``root``: the disk to boot from; an empty one with a template
    - ``cpu``: virtual CPUs; ``ram`` and ``swap``: MiB. With a template, ``cpu`` and ``ram`` of 0 keep the template's values
    - ``token``: unique to this request, comes back in the machine's document
    - ``template``: the machine template, from ``machine_template``
    - ``cpu_share``: the part of physical CPUs that is guaranteed; None for the server's default
    - ``name``: empty for ``one-ID``
    - ``volatile_disks``: sizes of empty disks in MiB
    - ``persistent_disks``, ``readonly_disks``: disks that keep what is written to them, and data disks
    - ``bus``: ``virtio``, ``scsi`` or ``ide``; empty for the server's default
    - ``networks``: one interface each
    - ``public_keys``: the text of the SSH keys that may log in, one on each line
    - ``context``: context variables; ``cloud_init``: user data, base64 of gzip
    - ``vnc_port``: -1 for one that the server chooses; ``vnc_listen``: its IP address
    - ``requirements``: for the host, in OpenNebula's syntax
    - ``inbound_ports``: ports that the image's metadata asks to be reachable
    - ``labels``: to find it by
    - ``inputs``: the values that the template asks for, by name
    """

    root: ImageDisk
    cpu: int
    ram: int
    swap: int
    token: str = field(default_factory=lambda: str(uuid4()))
    template: MachineTemplate | None = None
    cpu_share: float | None = None
    name: str = ""
    volatile_disks: tuple[int, ...] = ()
    persistent_disks: tuple[ImageDisk, ...] = ()
    readonly_disks: tuple[ImageDisk, ...] = ()
    bus: str = ""
    networks: tuple[NetworkRequest, ...] = (NetworkRequest("public", "oneadmin"),)
    public_keys: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    cloud_init: str = ""
    vnc_port: int = -1
    vnc_listen: str = ""
    requirements: str = ""
    inbound_ports: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
