"""A request for a machine, independent of the server's version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from stratuslab.opennebula.numeric_constants import is_id
from stratuslab.opennebula.template_grammar import Attribute, Vector


@dataclass(frozen=True)
class ImageDisk:
    """A disk made from an image: one of the server's datastores by id, or a source that its drivers understand
    (a Marketplace metadata URL, ``pdisk:HOST:PORT:UUID``, a URL)."""

    source: str = ""
    image_id: int | None = None
    format: str = "raw"


@dataclass(frozen=True)
class NetworkRequest:
    """A network to attach the machine to: by id, or by name and owner."""

    name: str = ""
    owner: str = ""
    id: int | None = None
    address: str = ""

    def nic(self) -> Attribute:
        """The NIC attribute, with the requested address, if any."""
        if self.id is not None:
            return "NIC", {"NETWORK_ID": str(self.id), "IP": self.address}
        return "NIC", {"NETWORK": self.name, "NETWORK_UNAME": self.owner, "IP": self.address}


@dataclass(frozen=True)
class MachineTemplate:
    """A machine template of the cloud. Attributes laid over it replace all attributes of the same name."""

    id: int
    name: str = ""
    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def read(cls, document: Element) -> MachineTemplate:
        """The template that a VMTEMPLATE document describes (``one.template.info``)."""

        def text(element: Element) -> str:
            return (element.text or "").strip()

        attributes = tuple(
            (element.tag, {child.tag: text(child) for child in element} if len(element) else text(element))
            for element in document.iterfind("TEMPLATE/*")
        )
        number = document.findtext("ID", "").strip()
        return cls(int(number) if is_id(number) else 0, document.findtext("NAME", "").strip(), attributes)

    def text(self, name: str) -> str:
        """A simple value, empty if there is none."""
        return next((value for key, value in self.attributes if key == name and isinstance(value, str)), "")

    def vectors(self, name: str) -> list[Vector]:
        """All vectors of this name."""
        return [value for key, value in self.attributes if key == name and not isinstance(value, str)]

    @property
    def context(self) -> Vector:
        return next(iter(self.vectors("CONTEXT")), {})


def _new_token() -> str:
    from uuid import uuid4

    return str(uuid4())


@dataclass(frozen=True)
class MachineRequest:
    """One machine to start: from a root disk, or from a template of the cloud with everything else laid over it.

    ``ram``, ``swap`` and ``volatile_disks`` are in MiB, ``cpu_share`` is the part of physical CPUs that is
    guaranteed. With a template, ``cpu`` and ``ram`` of 0 keep the template's values, and ``inputs`` are the values that it asks
    for. ``token`` is unique to this request and comes back in the machine's document.
    """

    root: ImageDisk
    cpu: int
    ram: int
    swap: int
    token: str = field(default_factory=_new_token)
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
