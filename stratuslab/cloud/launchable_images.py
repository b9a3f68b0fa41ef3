"""What a cloud itself has to start machines from: its images, machine templates, and the appliances of its marketplaces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from stratuslab.cloud import reply
from stratuslab.cloud.resource_lookup import Resource, ResourceKind, documents, entry, names_to_use
from stratuslab.cloud.rpc_caller import Caller
from stratuslab.errors import PermissionDenied
from stratuslab.opennebula.document_values import count, text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_BOOTABLE = ("0", "")  # TYPE of an image with an operating system; 3.2 and later have others for data and files
_SERVICE = "3"  # TYPE of an appliance for OneFlow, which makes no image
# STATE of those that no machine can be started from.
_UNUSABLE = {"image": {"3": "disabled", "5": "in error"}, "appliance": {"3": "in error", "4": "disabled"}}


class MachineSize(NamedTuple):
    """How large a machine a template makes, in its own words (empty: it does not say); the images of its disks, and its
    networks."""

    cpu: str = ""
    memory_mib: str = ""
    disks: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class CloudImage(NamedTuple):
    """An image, template or appliance (``kind``) that the user may use. ``word`` is what stratus-run-instance takes for it, empty
    for an appliance that no image of the cloud was made from; ``created`` is seconds since the epoch; ``bootable`` is not a disk
    for data; ``unusable`` says why the cloud refuses it (empty: it does not)."""

    word: str
    kind: str
    resource: Resource
    description: str = ""
    created: int | None = None
    size_mib: int | None = None
    format: str = ""
    bootable: bool = True
    unusable: str = ""


def cloud_images(calls: Caller) -> Iterator[CloudImage]:
    """The images, then the templates, then the appliances, each in the order of their ids."""
    images = [one for one in _by_id(calls, ResourceKind.IMAGE) if text(one, "TYPE") in _BOOTABLE]
    imported = {}
    for image, document in _named(images, "image", "one:"):
        imported[text(document, "TEMPLATE/FROM_APP")] = image.word
        yield image
    yield from (template for template, _ in _named(_by_id(calls, ResourceKind.TEMPLATE), "template", "template:"))
    with suppress(reply.Fault, reply.Refused, PermissionDenied):  # the call is new in OpenNebula 5.0
        apps = [one for one in _by_id(calls, ResourceKind.APPLIANCE) if text(one, "TYPE") != _SERVICE]
        for appliance, _ in _named(apps, "appliance", ""):
            yield appliance._replace(word=imported.get(str(appliance.resource.id), ""))


def described(document: Element, kind: str, word: str) -> CloudImage:
    """The image or template that a document is about."""
    return _image(entry(document), document, kind, word)


def users(document: Element) -> list[str]:
    """Who may use the image or template."""
    rights = {
        "OWNER_U": f"owner {text(document, 'UNAME')}",
        "GROUP_U": f"group {text(document, 'GNAME')}",
        "OTHER_U": "everybody",
    }
    return [who for name, who in rights.items() if text(document, f"PERMISSIONS/{name}") == "1"]


def machine_size(document: Element) -> MachineSize:
    """How large a machine the template makes."""
    return MachineSize(
        text(document, "TEMPLATE/VCPU") or text(document, "TEMPLATE/CPU"),
        text(document, "TEMPLATE/MEMORY"),
        _named_in(document, "TEMPLATE/DISK", "IMAGE"),
        _named_in(document, "TEMPLATE/NIC", "NETWORK"),
    )


def _named_in(document: Element, path: str, name: str) -> tuple[str, ...]:
    found = (text(one, name) or text(one, f"{name}_ID") for one in document.iterfind(path))
    return tuple(filter(None, found))


def _by_id(calls: Caller, kind: ResourceKind) -> list[Element]:
    return sorted(documents(calls, kind), key=lambda one: int(text(one, "ID")))


def _named(found: list[Element], kind: str, prefix: str) -> Iterator[tuple[CloudImage, Element]]:
    resources = [entry(one) for one in found]
    words = names_to_use(resources)
    for resource, one in zip(resources, found, strict=True):
        yield _image(resource, one, kind, f"{prefix}{words[resource.id]}"), one


def _image(resource: Resource, document: Element, kind: str, word: str) -> CloudImage:
    return CloudImage(
        word,
        kind,
        resource,
        text(document, "DESCRIPTION") or text(document, "TEMPLATE/DESCRIPTION"),
        count(text(document, "REGTIME")),
        count(text(document, "SIZE")),
        text(document, "FORMAT") or text(document, "TEMPLATE/DRIVER") or text(document, "FSTYPE"),
        kind != "image" or text(document, "TYPE") in _BOOTABLE,
        _UNUSABLE.get(kind, {}).get(text(document, "STATE"), ""),
    )
